"""The page in a real browser and for programs: heard, drawn, and nothing leaves the machine."""

import base64
import io
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Locator, Page, expect

import synesthete
from browser import PHONE, browser, hosts, spoken
from loopback import Server
from served import Served, served
from synesthete import artefact
from synesthete.data import audio, speech
from tiny import artefact_of

gradio_client: Any = pytest.importorskip(
    "gradio_client", reason="needs Gradio: pip install 'synesthete[app]'"
)
pytest.importorskip("espeakng_loader", reason="the voices of these tests need espeak-ng")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1_500)]

Images = NDArray[np.uint8]


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An untrained model to compare with."""
    place = tmp_path_factory.mktemp("runs") / "archetype"
    artefact.write(artefact_of("archetype"), place)
    return str(place)


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory, other: str) -> Iterator[Served]:
    """One page for all tests; when it ends, what visitors sent is gone."""
    with served(tmp_path_factory.mktemp("app"), "digits", other) as running:
        yield running
    assert running.process.returncode == 130
    assert running.files() == []


@pytest.fixture(scope="module")
def voices(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Recordings of synthetic voices: zero.wav to nine.wav, and a file that is none."""
    folder = tmp_path_factory.mktemp("voices")
    for word, data in speech.examples().items():
        (folder / f"{word}.wav").write_bytes(data)
    (folder / "letter.wav").write_text("Dear Sir or Madam, " * 20)
    return folder


def shown(pictures: Locator) -> Images:
    """The images uint8[n, H, W] of a grid, read from the page itself."""
    expect(pictures.first).to_be_visible()
    sources = pictures.evaluate_all("images => images.map(image => image.src)")
    found = [Image.open(io.BytesIO(base64.b64decode(s.partition(",")[2]))) for s in sources]
    return np.stack([np.asarray(image)[..., -1] for image in found])


def drawn(page: Page) -> Images:
    return shown(page.locator("#drawn .grid img"))


def open_page(page: Page, app: Served) -> None:
    page.goto(app.url)
    expect(page.get_by_role("button", name="Record", exact=True).first).to_be_visible()


def say(page: Page, word: str) -> None:
    """Pick an example for the first recording."""
    page.get_by_role("button", name=word, exact=True).first.click()
    expect(page.locator("#drawn .verdict")).to_be_visible()


def upload(page: Page, path: Path) -> None:
    page.locator("#first").get_by_role("button", name="Upload file").click()
    page.locator("#first input[type=file]").set_input_files(path)


def close_to(images: Images, others: Images) -> bool:
    """Equal but for the rounding of another number of threads."""
    return bool(np.abs(images.astype(int) - others.astype(int)).max() <= 1)


def test_what_is_said_into_the_microphone_is_drawn(
    app: Served, voices: Path, tmp_path: Path
) -> None:
    seven = audio.load(voices / "seven.wav")
    with browser(spoken(seven, audio.RATE, tmp_path / "microphone.wav")) as page:
        open_page(page, app)
        page.get_by_role("button", name="Record", exact=True).first.click()
        page.wait_for_timeout(2_000)  # while the word is said
        page.get_by_role("button", name="Stop", exact=True).first.click()
        assert len(drawn(page)) == 16
        expect(page.locator("#drawn .verdict b")).to_have_text("7")
        captions = page.locator("#drawn .grid figcaption").all_inner_texts()
        assert sum(caption.startswith("7") for caption in captions) >= 13
        expect(page.locator("#sound svg.wave")).to_be_visible()
        expect(page.locator("#sound img.mel")).to_be_visible()


def test_no_request_leaves_the_machine(app: Served) -> None:
    """Not from the browser, nor from the server behind it."""
    with browser() as page:
        requested: list[str] = []
        page.on("request", lambda request: requested.append(request.url))
        page.on("websocket", lambda socket: requested.append(socket.url))
        open_page(page, app)
        say(page, "three")
        page.get_by_role("button", name="Use via API").click()
        expect(page.get_by_text("/generate").first).to_be_visible()
        assert len(requested) > 50
        assert hosts(requested) == {"127.0.0.1"}
        blocked = page.evaluate(
            "fetch('http://127.0.0.2:9/').then(() => 'sent', error => error.message)"
        )
        assert blocked == "Failed to fetch"  # by the policy, whatever a script may try
    assert app.machines() <= {"127.0.0.1", "localhost"}


def test_an_uploaded_file_is_drawn_as_python_draws_it(app: Served, voices: Path) -> None:
    expected = synesthete.load("digits").generate(voices / "four.wav", 16)
    with browser() as page:
        open_page(page, app)
        upload(page, voices / "four.wav")
        images = drawn(page)
        assert close_to(images, expected)
        with page.expect_download() as download:
            page.get_by_role("link", name="Download as files").click()
        with zipfile.ZipFile(download.value.path()) as archive:
            files = [Image.open(archive.open(name)) for name in archive.namelist()]
            assert np.array_equal(np.stack([np.asarray(file) for file in files]), images)
        with page.expect_download() as download:
            page.get_by_role("link", name="Download as one picture").click()
        with Image.open(download.value.path()) as sheet:
            assert sheet.size == (4 * (4 * 28 + 3),) * 2


def test_the_slider_redraws_at_once(app: Served) -> None:
    with browser() as page:
        open_page(page, app)
        say(page, "five")
        assert len(np.unique(drawn(page), axis=0)) == 16
        slider = page.get_by_role("slider", name="Diversity").first
        slider.focus()
        slider.press("Home")
        page.wait_for_function(
            "new Set([...document.querySelectorAll('#drawn .grid img')].map(i => i.src)).size == 1"
        )
        slider.press("End")
        page.wait_for_function(
            "new Set([...document.querySelectorAll('#drawn .grid img')].map(i => i.src)).size == 16"
        )


def test_a_bad_file_gets_a_clear_sentence_and_the_page_goes_on(app: Served, voices: Path) -> None:
    with browser() as page:
        open_page(page, app)
        upload(page, voices / "letter.wav")
        alert = page.locator("#drawn").get_by_role("alert")
        expect(alert).to_contain_text("letter.wav: not a sound file that can be decoded")
        assert str(app.folder) not in alert.inner_text()
        say(page, "one")
        expect(page.locator("#drawn .verdict b")).to_have_text("1")


def test_the_keyboard_is_enough(app: Served, voices: Path, tmp_path: Path) -> None:
    """Record and stop, pick an example and change tabs, by Tab and Enter alone."""
    nine = audio.load(voices / "nine.wav")
    with browser(spoken(nine, audio.RATE, tmp_path / "microphone.wav")) as page:
        open_page(page, app)
        reach(page, "Record")
        page.keyboard.press("Enter")
        expect(page.get_by_role("button", name="Stop", exact=True).first).to_be_visible()
        page.wait_for_timeout(2_000)
        reach(page, "Stop")
        page.keyboard.press("Enter")
        expect(page.locator("#drawn .verdict b")).to_have_text("9")
        reach(page, "two")
        page.keyboard.press("Enter")
        expect(page.locator("#drawn .verdict b")).to_have_text("2")
        for tab in ("Compare", "Morph", "Draw"):
            reach(page, tab)
            page.keyboard.press("Enter")
            expect(page.get_by_role("tab", name=tab)).to_have_attribute("aria-selected", "true")


def reach(page: Page, name: str) -> None:
    """Press Tab until the element of that name has the focus."""
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.innerText?.trim()") == name:
            return
    raise AssertionError(f"{name} cannot be reached by Tab")


def test_a_telephone_needs_no_sideways_scrolling(app: Served) -> None:
    with browser(size=PHONE) as page:
        open_page(page, app)
        say(page, "eight")
        for tab in ("Draw", "Compare", "Morph"):
            page.get_by_role("tab", name=tab).click()
            assert page.evaluate("document.scrollingElement.scrollWidth") <= PHONE["width"]
        page.get_by_role("tab", name="Draw").click()
        assert page.locator("#drawn .grid img").first.bounding_box()["width"] > 60  # type: ignore[index]


def test_models_are_compared_on_the_same_sound(app: Served, voices: Path, other: str) -> None:
    with browser() as page:
        open_page(page, app)
        say(page, "six")
        page.get_by_role("tab", name="Compare").click()
        expect(page.get_by_role("heading", name=other)).to_be_visible()
        expected = [synesthete.load(m).generate(voices / "six.wav", 8) for m in ("digits", other)]
        assert close_to(shown(page.locator("#compared .grid img")), np.concatenate(expected))


def test_a_morph_goes_from_one_recording_to_the_other(app: Served, voices: Path) -> None:
    with browser() as page:
        open_page(page, app)
        say(page, "zero")
        page.get_by_role("tab", name="Morph").click()
        page.get_by_role("tabpanel").get_by_role("button", name="seven", exact=True).click()
        model = synesthete.load("digits")
        slider = page.get_by_role("slider", name="From the first to the second").first
        for key, word in (("Home", "zero"), ("End", "seven")):
            slider.focus()
            slider.press(key)
            place = ":first-child" if key == "Home" else ":last-child"
            expect(page.locator(f"#morphed .strip .here{place}")).to_be_visible()
            expected = model.generate(voices / f"{word}.wav", 8)
            assert close_to(shown(page.locator("#morphed .grid img")), expected)


def test_programs_get_what_the_page_shows(app: Served, voices: Path, tmp_path: Path) -> None:
    client = gradio_client.Client(app.url, verbose=False, download_files=str(tmp_path))
    endpoints = client.view_api(return_format="dict")["named_endpoints"]
    assert set(endpoints) == {"/generate", "/morph", "/nearest"}
    six = gradio_client.handle_file(voices / "six.wav")
    seven = gradio_client.handle_file(voices / "seven.wav")
    model = synesthete.load("digits")
    gallery, reading = client.predict(six, n=5, diversity=0.8, seed=3, api_name="/generate")
    expected = model.generate(voices / "six.wav", 5, diversity=0.8, seed=3)
    assert close_to(pictures(gallery), expected)
    assert reading["digit"] == 6
    assert len(reading["digits"]) == len(reading["confidence"]) == 5
    gallery, _ = client.predict(six, seven, position=1.0, n=4, api_name="/morph")
    assert close_to(pictures(gallery), model.generate(voices / "seven.wav", 4))
    for wrong, told in (
        (
            {"recording": gradio_client.handle_file(voices / "letter.wav")},
            "letter.wav: not a sound",
        ),
        ({"recording": six, "n": 65}, "n is 65, wanted at most 64"),
        ({"recording": six, "model": "other"}, "no model 'other' here; there are: digits,"),
    ):
        with pytest.raises(Exception, match=told):
            client.predict(**wrong, api_name="/generate")


def pictures(gallery: list[dict[str, Any]]) -> Images:
    found = [Image.open(item["image"]) for item in gallery]
    return np.stack([np.asarray(image.convert("L")) for image in found])


def test_the_server_fetches_no_address_for_a_visitor(app: Served) -> None:
    client = gradio_client.Client(app.url, verbose=False)
    with Server({"/six.wav": b"RIFF"}) as elsewhere:
        there = {"path": elsewhere.url("/six.wav"), "meta": {"_type": "gradio.FileData"}}
        with pytest.raises(Exception, match="address"):
            client.predict(there, api_name="/generate")
        assert elsewhere.asked == []


def test_a_port_that_is_taken_is_named(app: Served) -> None:
    port = app.url.rstrip("/").rpartition(":")[2]
    command = [sys.executable, "-m", "synesthete.cli", "app", "--no-browser", "--port", port]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert f"127.0.0.1: cannot listen on port {port}; choose another --port\n" in done.stderr
    assert "Traceback" not in done.stderr
