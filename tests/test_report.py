"""Tests of the report: one file that needs nothing else and says what it was given, no more."""

import base64
import dataclasses
import functools
import io
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from synesthete import report
from synesthete.report import Example, ReportData

DIGITS = [str(d) for d in range(10)]
SPEAKERS = ["jackson", "nicolas", "theo", "yweweler"]


def digit_image(digit: str, rng: np.random.Generator) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """A printed digit, a little out of place: uint8[28, 28]."""
    image = Image.new("L", (28, 28))
    place = (14 + rng.uniform(-2, 2), 14 + rng.uniform(-2, 2))
    font = ImageFont.load_default(rng.uniform(18, 26))
    ImageDraw.Draw(image).text(place, digit, 255, font, anchor="mm")
    return np.asarray(image)


def example(label: str, speaker: str, judged: str, rng: np.random.Generator) -> Example:
    """A recording of a rising tone, with six drawings of what the judge reads."""
    bands, frames = np.mgrid[:48, :48]
    return Example(
        label=label,
        speaker=speaker,
        judged=judged,
        spectrogram=np.exp(-((bands - frames / 2 - 2 * int(label)) ** 2) / 20),
        waveform=np.sin(np.linspace(0, 60, 3_000)) * np.hanning(3_000),
        generated=np.stack([digit_image(judged, rng) for _ in range(6)]),
        real=digit_image(label, rng),
    )


def scorecard(**changes: Any) -> dict[str, Any]:
    """A whole scorecard, each of its numbers unlike any other."""
    estimate = {"value": 0.9173, "ci95": [0.8241, 0.9732], "n": 23}
    return {
        "model": "archetype",
        "audio_source": "FSDD v1.0.10",
        "split": "random",
        "seed": 0,
        "n_pairs": 9_998,
        "n_recordings": 197,
        "agreement": 0.9861,
        "agreement_ci95": [0.9712, 0.9963],
        "agreement_per_class": dict.fromkeys(DIGITS, estimate),
        "agreement_per_speaker": {name: estimate | {"value": 0.8888} for name in SPEAKERS},
        "second_judge_agreement": 0.9843,
        "judge_accuracy": 0.9924,
        "consistency": 0.9655,
        "fld": 387.4,
        "fld_floor": 1.31,
        "kid": 0.412,
        "precision": 0.7131,
        "recall": 0.0021,
        "density": 1.62,
        "coverage": 0.0414,
        "coverage_floor": 0.9426,
        "diversity_ratio": 0.118,
        "diversity_within_recording": 0.0213,
        "memorised_fraction": 0.0007,
        "parameters": 2_013_441,
        "seconds_per_image": 0.00084,
        **changes,
    }


NOTHING: dict[str, Any] = dict.fromkeys(scorecard())


def filled(**changes: Any) -> ReportData:
    """A report with every part there is."""
    rng = np.random.default_rng(0)
    data = ReportData(
        title="Hear a digit, see a digit",
        command="synesthete demo --seed 0",
        created="2020-01-08",
        scorecard=scorecard(),
        rows=[example(d, SPEAKERS[int(d) % 4], d, rng) for d in DIGITS],
        model={"preset": "archetype", "parameters": 2_013_441, "seconds": 83.7, "seed": 0},
        origins=[
            {
                "name": "FSDD v1.0.10",
                "place": "directory",
                "detail": "/home/ada/recordings",
                "sha256": "ab" * 32,
                "verified": True,
                "notes": ("1,000 further recordings, unverified",),
            }
        ],
        counts={
            "train": {"recordings": 1_800, "images": 60_000, "pairs": 60_001},
            "test": {"recordings": 197, "images": 10_000, "pairs": 9_998},
        },
        protocol="90/10 at random, by recording",
        baselines={
            "Real test images (ceiling)": scorecard(agreement=0.9924, agreement_ci95=None),
            "Shuffled pairs (floor)": NOTHING | {"agreement": 0.1012},
        },
        deck={"agreement": 0.937, "judge_accuracy": 0.987},
        grid={d: np.stack([digit_image(d, rng) for _ in range(16)]) for d in DIGITS},
        real_grid={d: np.stack([digit_image(d, rng) for _ in range(16)]) for d in DIGITS},
        classes=DIGITS,
        confusion=np.diag(np.arange(501, 511)) + np.eye(10, k=3, dtype=int) * 37,
        curves=[{"step": s, "loss": 100 / (s + 1), "kl": float(s)} for s in range(60)],
        latent=rng.normal(size=(40, 2)),
        latent_labels=[DIGITS[i % 10] for i in range(40)],
        latent_speakers=[SPEAKERS[i % 4] for i in range(40)],
        failures=[example("3", "theo", "8", rng)],
        unseen_speakers={"theo": {"value": 0.7171, "ci95": [0.66, 0.77], "n": 511}},
    )
    return dataclasses.replace(data, **changes)


def short(**changes: Any) -> ReportData:
    """The same without what takes time to draw."""
    few: dict[str, Any] = {"rows": filled().rows[:2], "grid": {}, "curves": (), "latent": None}
    return filled(**(few | changes))


def bare(**changes: Any) -> ReportData:
    """A report about data without labels, scored by nobody."""
    pixels = np.random.default_rng(0).integers(0, 256, (4, 28, 28, 3)).astype(np.uint8)
    row = Example(label="", spectrogram=np.zeros((48, 48)), generated=pixels)
    data = ReportData(
        title="Videos",
        command="synesthete train vae",
        created="2020-01-08",
        scorecard=NOTHING,
        rows=[row],
        model={"preset": "vae", "seed": None},
    )
    return dataclasses.replace(data, **changes)


class Page(HTMLParser):
    """What a browser would find in the page: tags with attributes, and the words shown."""

    VOID = frozenset({"meta", "img", "br", "path", "use", "rect", "link"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not {"style", "script"} & {*self.open}:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.tags if name == tag]


@functools.cache
def rendered(kind: str) -> str:
    """The page of a whole, an unlabelled or a synthetic report."""
    synthetic = functools.partial(short, synthetic=True, baselines={}, deck={})
    kinds: dict[str, Callable[[], ReportData]]
    kinds = {"filled": filled, "bare": bare, "synthetic": synthetic}
    return report.render(kinds[kind]())


@pytest.fixture
def html() -> str:
    return rendered("filled")


@pytest.fixture
def page() -> Page:
    return Page(rendered("filled"))


every_page = pytest.mark.parametrize("kind", ["filled", "bare", "synthetic"])


@every_page
def test_every_tag_is_closed_and_no_id_is_given_twice(kind: str) -> None:
    page = Page(rendered(kind))
    names = [
        attributes["id"] for tag, attributes in page.tags if "id" in attributes and tag != "path"
    ]
    assert page.open == []
    assert len(names) == len(set(names))
    targets = {attributes["href"][1:] for attributes in page.all("a")}
    assert targets <= set(names)


@every_page
def test_the_page_asks_for_nothing_from_elsewhere(kind: str) -> None:
    html = rendered(kind)
    page = Page(html)
    addresses = [
        value
        for _, attributes in page.tags
        for name, value in attributes.items()
        if name in {"src", "href", "xlink:href", "srcset", "action", "data", "poster", "background"}
    ]
    assert addresses
    assert all(re.match(r"#|data:image/png;base64,", address) for address in addresses)
    assert not {"link", "script", "iframe", "object", "embed", "base"} & {
        tag for tag, _ in page.tags
    }
    assert all(target.startswith("#") for target in re.findall(r"url\(([^)]*)\)", html))
    assert "@import" not in html
    assert "://" not in html


@every_page
def test_nothing_missing_is_printed_as_a_word_of_python(kind: str) -> None:
    text = Page(rendered(kind)).text
    assert not re.search(r"\b(None|nan|NaN|inf|Undefined|array)\b|np\.|Mapping", text)


def test_every_picture_has_words_for_those_who_do_not_see_it(page: Page) -> None:
    assert len(page.all("img")) > 50
    assert all(attributes["alt"].strip() for attributes in page.all("img"))
    pictures = [a for a in page.all("div") if a.get("role") == "img"]
    assert len(pictures) == 4  # two curves, two maps
    assert all(attributes["aria-label"] for attributes in pictures)


def test_every_header_of_a_table_says_what_it_heads(page: Page) -> None:
    assert all("scope" in attributes for attributes in page.all("th"))
    assert len(page.all("caption")) == len(page.all("table"))


def test_every_number_of_the_scorecard_is_on_the_page_as_a_reader_would_write_it(
    page: Page,
) -> None:
    shown = """98.6% 97.1–99.6% 98.4% 99.2% 96.5% 387 1.31 0.412 71.3% 0.2% 1.62 4.1% 94.3% 0.118
        0.0213 0.1% 2,013,441 0.84 9,998 197 91.7% 82.4–97.3% 88.9% 23 archetype random"""
    assert not [number for number in shown.split() if number not in page.text.replace(" ms", "")]


def test_the_headline_carries_its_interval_its_n_and_its_source(page: Page) -> None:
    assert (
        "98.6% of the pictures drawn for recordings that the model had never heard show the digit "
        "that was said. 95% interval 97.1–99.6%. n = 197 test recordings, 9,998 pairs. "
        "Audio: FSDD v1.0.10." in page.text
    )


def test_baselines_and_the_talk_stand_beside_the_model(page: Page) -> None:
    for words in [
        "This model",
        "Real test images (ceiling)",
        "Shuffled pairs (floor)",
        "2020 talk",
    ]:
        assert words in page.text
    for figure in ["10.1%", "93.7%", "98.7%"]:
        assert figure in page.text


def test_sources_counts_recipe_and_papers_are_named(page: Page) -> None:
    for words in [
        "/home/ada/recordings", "ab" * 32, "1,000 further recordings, unverified", "60,001",
        "90/10 at random, by recording", "synesthete demo --seed 0", "1 min 24 s",
        "arXiv:2109.13354", "Żelaszczyk", "71.7%", "66.0–77.0%", "511",
    ]:  # fmt: skip
        assert words in page.text


def test_the_confusion_matrix_counts_pairs(html: str) -> None:
    body = html.split('<table class="confusion">')[1].split("</table>")[0]
    cells = [re.findall(r"<td[^>]*>([^<]*)</td>", row) for row in body.split("<tr>")[2:]]
    assert [[0 if c == "·" else int(c) for c in row] for row in cells] == np.asarray(
        filled().confusion
    ).tolist()


def test_the_pictures_are_the_models_own_pixels(html: str) -> None:
    data = filled()
    found = re.findall(r'alt="Drawn for “7”" src="data:image/png;base64,([^"]*)"', html)
    opening, gallery = (
        np.asarray(Image.open(io.BytesIO(base64.b64decode(found[i])))) for i in (0, 2)
    )
    assert np.array_equal(opening[..., 1], data.rows[7].generated[0])
    assert gallery.shape == (56, 224, 2)
    assert np.array_equal(gallery[28:, 28:56, 1], data.grid["7"][9])


@pytest.mark.parametrize("synthetic", [True, False])
def test_synthetic_voices_are_announced_before_all_else_and_only_then(synthetic: bool) -> None:
    card = scorecard(audio_source="synthetic speakers (espeak-ng 1.52)")
    text = Page(report.render(short(synthetic=synthetic, scorecard=card))).text
    assert ("The voices here are synthetic" in text) == synthetic
    assert ("numbers are not FSDD’s" in text) == synthetic
    if synthetic:
        assert text.index("voices here are synthetic") < text.index("Images from sound")
        assert text.index("espeak-ng 1.52") < text.index("Images from sound")


def test_whatever_users_name_is_text_and_never_markup() -> None:
    evil = '<script>alert("1")</script>&'
    row = dataclasses.replace(filled().rows[0], speaker=evil, label=evil, judged=evil)
    one = {evil: {"value": 0.5, "ci95": [0.4, 0.6], "n": 3}}
    data = filled(
        title=evil,
        command=evil,
        protocol=evil,
        noun=evil,
        rows=[row],
        failures=[row],
        model={evil: evil},
        origins=[{**filled().origins[0], "name": evil, "detail": evil, "notes": (evil,)}],
        counts={evil: {"pairs": 1}},
        baselines={evil: scorecard()},
        grid={evil: row.generated},
        classes=[evil],
        confusion=np.array([[1]]),
        curves=[{"step": s, evil: 1.0} for s in range(3)],
        latent=np.eye(2),
        latent_labels=[evil, "$x^$"],
        latent_speakers=[evil, "b"],
        unseen_speakers=one,
        scorecard=scorecard(audio_source=evil, agreement_per_class=one, agreement_per_speaker=one),
    )
    page = Page(report.render(data))
    assert "script" not in {tag for tag, _ in page.tags}
    assert page.text.count(evil) > 20
    assert page.open == []


def test_what_was_not_measured_leaves_no_empty_part_behind() -> None:
    page = Page(report.render(bare()))
    assert "No judge has scored it" in page.text
    for words in ["The numbers", "Agreement", "Failures", "Training", "SHA-256", "Said", "Judge "]:
        assert words not in page.text


def test_a_measure_without_value_is_a_dash_beside_those_with_one_and_else_left_out() -> None:
    card = scorecard(kid=None, fld=None, density=float("nan"))
    text = Page(
        report.render(short(scorecard=card, baselines={"other": {"kid": 0.25}}, deck={}))
    ).text
    assert re.search(r"Kernel distance.{0,60}– 0\.250", text)
    assert "Fréchet" not in text
    assert "Density" not in text


def test_failures_are_shown_and_their_absence_is_said(page: Page) -> None:
    assert "read as 8 ✗" in page.text
    none = Page(report.render(short(failures=()))).text
    assert "None: the judge read every drawing" in none.replace("✗", "")


def test_colour_images_are_kept_as_they_are(tmp_path: Path) -> None:
    data = bare()
    html = report.render(data)
    found = re.search(
        r'<img class="px" alt="Drawn for this recording" src="data:[^,]*,([^"]*)"', html
    )
    assert found is not None
    shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(found[1]))))
    assert np.array_equal(shown, data.rows[0].generated[0])


def test_writing_makes_the_folder_and_writes_the_page_as_utf_8(tmp_path: Path) -> None:
    target = tmp_path / "runs" / "demo" / "report.html"
    report.write(bare(), target)
    assert target.read_text(encoding="utf-8") == report.render(bare())
    assert [path.name for path in target.parent.iterdir()] == ["report.html"]


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.98607, "98.6%"), (1, "100.0%"), (0.0, "0.0%"), (None, "–"), (float("nan"), "–")],
)
def test_a_share_is_a_percentage_with_one_decimal(value: float | None, text: str) -> None:
    assert report.percent(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(20_950_529, "20,950,529"), (387.4, "387"), (1.306, "1.31"), (1.0, "1.00"),
     (-0.00021, "−0.0002"), (0.0, "0"), (np.int64(1_200), "1,200"),
     (np.float32(0.25), "0.250"), (None, "–")],
)  # fmt: skip
def test_a_number_has_three_digits_that_count(value: Any, text: str) -> None:
    assert report.number(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.00084, "0.84 ms"),
        (0.5, "500 ms"),
        (58.3, "58 s"),
        (83.7, "1 min 24 s"),
        (7_380, "2 h 3 min"),
    ],
)
def test_a_duration_is_in_the_unit_a_reader_would_choose(seconds: float, text: str) -> None:
    assert report.duration(seconds) == text


def test_an_axis_starts_at_a_round_share_below_all_it_shows() -> None:
    tables: list[report.Estimates] = [
        {"a": {"value": 0.93, "ci95": [0.81, 0.99]}},
        {"b": {"value": None}},
    ]
    assert report.axis_start(tables) == pytest.approx(0.8)
    assert report.axis_start([{"a": {"value": 0.0, "ci95": None}}]) == 0
    assert report.axis_start([]) == pytest.approx(0.8)
