"""The page without a server: in a real browser it hears, draws, and asks nobody for anything."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr  # type: ignore[import-untyped]
from numpy.typing import NDArray
from playwright.sync_api import Page, expect

import browser
from synesthete.data import audio, espeak
from synesthete.generate import load
from synesthete.judges import load_judge, read

ROOT = Path(__file__).parents[1]
WEB = ROOT / "web"
PLACE = "some/where"
SLOW = 240_000  # ms, on a machine that is busy with other things

TRIM = """import { trim } from %s;
import { readFileSync } from "node:fs";
const clips = JSON.parse(readFileSync(0, "utf8")).map((clip) => Float32Array.from(clip));
console.log(JSON.stringify(clips.map((clip) => [...trim(clip, %d)])));"""


def bursts(rng: np.random.Generator) -> audio.Wave:
    """Noise as loud as a room, and a burst in it that swells and fades."""
    room = rng.normal(0, 10 ** rng.uniform(-5, -2), rng.integers(800, 20_000))
    start, length = rng.integers(0, len(room) - 400), rng.integers(100, 6_000)
    burst = rng.normal(0, 0.3, length) * np.hanning(length) ** 2
    room[start : start + length] += burst[: len(room) - start]
    return room.astype(np.float32)


def recordings() -> list[audio.Wave]:
    """Every 40th recording of FSDD, if it is at hand, in a quiet room and in a noisy one."""
    rng = np.random.default_rng(1)
    folder = Path(os.environ.get("SYNESTHETE_DATA", "nowhere")) / "fsdd" / "recordings"
    waves = [audio.load(file, trim=False) for file in sorted(folder.glob("*.wav"))[::40]]
    padded = [np.pad(wave, (3_000, 5_000)) for wave in waves]
    return [
        (w + rng.normal(0, level, len(w))).astype(np.float32)
        for w in padded
        for level in (1e-4, 0.01)
    ]


@pytest.mark.parametrize("rate", [audio.RATE, 16_000])
def test_the_page_trims_as_python_does(rate: int) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("no node on this machine")
    rng = np.random.default_rng(0)
    clips = [*recordings(), *(bursts(rng) for _ in range(40))]
    found = subprocess.run(
        [node, "--input-type=module", "-e", TRIM % (json.dumps((WEB / "sound.js").as_uri()), rate)],
        input=json.dumps([clip.tolist() for clip in clips]), check=True, capture_output=True,
        text=True,
    )  # fmt: skip
    trimmed = [np.array(clip, np.float32) for clip in json.loads(found.stdout)]
    assert sum(len(wave) < len(clip) for wave, clip in zip(trimmed, clips, strict=True)) > 20
    for wave, clip in zip(trimmed, clips, strict=True):
        np.testing.assert_array_equal(wave, audio.trim_silence(clip, rate))


@pytest.fixture(scope="module")
def word(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A synthetic voice that says seven, at 8 kHz."""
    pytest.importorskip("espeakng_loader")
    (wave,), rate = espeak.speak([espeak.Utterance("seven", "en-us+f2", 165, 45)])
    path = tmp_path_factory.mktemp("word") / "seven.wav"
    soundfile.write(path, audio.load(wave, rate, trim=False), audio.RATE)
    return path


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A static host of what `make web` builds, in a subfolder; yields the host's URL."""
    browser.chromium()
    if shutil.which("npm") is None:
        pytest.skip("no npm on this machine")
    root = tmp_path_factory.mktemp("host")
    subprocess.run(
        ["make", "web", f"WEB={root / PLACE}"], cwd=ROOT, check=True, capture_output=True
    )
    with browser.served(root) as url:
        assert sum(file.stat().st_size for file in (root / PLACE).iterdir()) <= 25e6
        yield url


@pytest.fixture
def page(host: str, word: Path, tmp_path: Path) -> Iterator[Page]:
    """The page, ready, on a phone; all that it asks for is its own host's, and goes well."""
    wave, rate = soundfile.read(word, dtype="float32")
    heard = browser.spoken(wave, rate, tmp_path / "microphone.wav")
    asked: list[str] = []
    wrong: list[str] = []
    with browser.launched(heard) as chromium:
        page = chromium.new_page(viewport={"width": 360, "height": 740})
        page.on("request", lambda request: asked.append(request.url))
        page.on("requestfailed", lambda r: wrong.append(f"{r.url}: {r.failure}"))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda message: wrong.append(message.text))
        page.goto(f"{host}{PLACE}/")
        expect(page.locator("#status")).to_have_text("Ready.", timeout=SLOW)
        yield page
    assert {url for url in asked if not url.startswith((host, "data:"))} == set()
    assert f"{host}{PLACE}/model.onnx" in asked  # what its worker asks for is seen, too
    assert wrong == []


def drawn(page: Page) -> NDArray[np.uint8]:
    """The pixels uint8[16, 28, 28] of the images, once they are what was asked for."""
    expect(page.locator("#status")).to_have_text(re.compile(r"^Heard \d\.\d s\.$"), timeout=SLOW)
    expect(page.locator("#grid")).to_have_attribute("aria-busy", "false", timeout=SLOW)
    pixels = page.evaluate(
        "() => [...document.querySelectorAll('#grid canvas')].map((canvas) =>"
        "[...canvas.getContext('2d').getImageData(0, 0, 28, 28).data].filter((_, i) => i % 4 == 0))"
    )
    return np.array(pixels, np.uint8).reshape(16, 28, 28)


def sevens(images: NDArray[np.uint8]) -> float:
    """The share of images that the judge calls 7."""
    return float((read(load_judge("lenet5"), images)[1].argmax(1) == 7).mean())


@pytest.mark.slow
@pytest.mark.timeout(1_200)
def test_what_the_microphone_hears_is_drawn(page: Page) -> None:
    page.click("#record")
    expect(page.locator("#record")).to_have_text("Stop")
    expect(page.locator("#record")).to_have_text("Record", timeout=SLOW)  # stops by itself
    first = drawn(page)
    assert sevens(first) > 0.7
    assert len(np.unique(first.reshape(16, -1), axis=0)) == 16
    page.click("#again")
    others = drawn(page)
    assert (others != first).any(axis=(1, 2)).all()
    assert sevens(others) > 0.7
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


@pytest.mark.slow
@pytest.mark.timeout(1_200)
def test_a_file_is_drawn_as_python_draws_it_and_the_dial_redraws(page: Page, word: Path) -> None:
    """At no diversity there is one image, and it is the one of `Model.generate`."""
    page.set_input_files("#file", word)
    various = drawn(page)
    dial = page.locator("#diversity")
    dial.fill("0")
    expect(page.locator("#value")).to_have_text("0.00")
    archetype = drawn(page)
    assert (archetype == archetype[:1]).all()
    wanted = load("digits").generate(word, 1, diversity=0.0)[0]
    assert np.abs(archetype[0].astype(int) - wanted).max() <= 4  # the weights are half precision
    dial.fill("0.8")
    np.testing.assert_array_equal(drawn(page), various)


@pytest.mark.slow
@pytest.mark.timeout(1_200)
def test_other_formats_are_read_and_what_is_no_sound_is_told(
    page: Page, word: Path, tmp_path: Path
) -> None:
    wave, _ = soundfile.read(word, dtype="float32")
    fast = soxr.resample(np.pad(wave, 8_000), 8_000, 44_100)
    soundfile.write(tmp_path / "stereo.ogg", np.stack([fast, fast], axis=1), 44_100)
    page.set_input_files("#file", tmp_path / "stereo.ogg")
    assert sevens(drawn(page)) > 0.7
    soundfile.write(tmp_path / "silence.wav", np.zeros(8_000), 8_000)
    soundfile.write(tmp_path / "long.wav", np.tile(wave, 320_000 // len(wave)), 8_000)
    (tmp_path / "text.wav").write_text("seven")
    for name, told in (
        ("silence.wav", "Nothing can be heard in this."),
        ("long.wav", "This is longer than 30 seconds."),
        ("text.wav", "This is not a sound file that the browser can play."),
    ):
        page.set_input_files("#file", tmp_path / name)
        expect(page.locator("#status")).to_have_text(told, timeout=SLOW)


@pytest.mark.slow
@pytest.mark.timeout(1_200)
def test_the_keyboard_is_enough(page: Page) -> None:
    focused = "document.activeElement.id"
    page.keyboard.press("Tab")
    assert page.evaluate(focused) == "record"
    page.keyboard.press("Enter")
    first = drawn(page)
    page.keyboard.press("Tab")
    assert page.evaluate(focused) == "file"
    page.keyboard.press("Tab")
    assert page.evaluate(focused) == "diversity"
    page.keyboard.press("Home")
    expect(page.locator("#value")).to_have_text("0.00")
    still = drawn(page)
    assert (still == still[:1]).all()
    assert not (first == first[:1]).all()
    assert page.get_by_role("slider", name="Diversity").count() == 1
    assert page.get_by_role("img", name="16 drawings of what was heard").count() == 1
