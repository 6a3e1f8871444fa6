"""What the page answers, without the page: the same functions, on an untrained model."""

import base64
import io
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray
from PIL import Image

from synesthete import matching
from synesthete.answers import ALONE, MORPH, SPEAK, Answers
from synesthete.artefact import write
from synesthete.data.audio import AudioError, TooLong
from synesthete.errors import UserError
from synesthete.generate import Model
from synesthete.retrieve import Gallery
from synesthete.viewer import LIMITS, RealImages, Viewer, split
from tiny import artefact_of, untrained

Images = NDArray[np.uint8]


@pytest.fixture(scope="module")
def real() -> Images:
    return np.random.default_rng(1).integers(0, 256, (50, 28, 28), np.uint8)


@pytest.fixture(scope="module")
def viewer(real: Images) -> Viewer:
    models = {name: untrained(name) for name in ("archetype", "vae-gan")}
    return Viewer(models, real=RealImages(real))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("sounds")
    time = np.arange(4_000) / 8_000
    for name, hertz in (("low", 300), ("high", 900)):
        soundfile.write(place / f"{name}.wav", 0.5 * np.sin(2 * np.pi * hertz * time), 8_000)
    (place / "letter.wav").write_text("Dear Sir or Madam, " * 20)
    return place


def drawn(html: str) -> Images:
    """The images uint8[n, H, W] in a piece of the page."""
    found = re.findall(r'class="ink" src="data:image/png;base64,([^"]+)"', html)
    inks = [Image.open(io.BytesIO(base64.b64decode(data))) for data in found]
    return np.stack([np.asarray(image)[..., 1] for image in inks])


def test_a_recording_is_seen_at_once_and_real_images_follow(viewer: Viewer, folder: Path) -> None:
    low = str(folder / "low.wav")
    first, second = list(Answers(viewer).see(low, 0.7))
    sound, told, real = first
    expected = viewer.model().generate(low, 16, diversity=0.7)
    assert np.array_equal(drawn(told), expected)
    assert "0.50 s" in sound
    assert real is None
    assert second[:2] == (sound, told)
    assert viewer.real is not None
    assert np.array_equal(drawn(second[2] or ""), viewer.real.nearest(expected[:8]))


def test_the_captions_are_what_the_judge_reads(viewer: Viewer, folder: Path) -> None:
    low = str(folder / "low.wav")
    told = next(Answers(viewer).see(low, 1.0))[1]
    reading = viewer.read(viewer.model().generate(low, 16))
    assert reading is not None
    captions = re.findall(r"<figcaption>(\d) · (\d+)%</figcaption>", told)
    assert [int(digit) for digit, _ in captions] == reading.digits.tolist()
    assert [int(sure) for _, sure in captions] == [
        round(100 * float(c)) for c in reading.confidence
    ]
    most = int(np.bincount(reading.digits, minlength=10).argmax())
    assert f"<b>{most}</b>" in told
    assert f"reads in {(reading.digits == most).sum()} of 16 images" in told


def test_the_nearest_real_image_is_the_least_distant(viewer: Viewer, real: Images) -> None:
    assert viewer.real is not None
    asked = np.random.default_rng(2).integers(0, 256, (9, 28, 28), np.uint8)
    distance = ((asked[:, None].astype(float) - real) ** 2).sum((2, 3))
    assert np.array_equal(viewer.real.nearest(asked), real[distance.argmin(1)])
    assert np.array_equal(viewer.real.nearest(real), real)


def test_a_matcher_finds_real_images_by_the_sound(real: Images, folder: Path) -> None:
    model = matching.Model(artefact_of("ave"))
    gallery = Gallery(tuple("abcde" * 10), model.embed_image(real[:, None]), real)
    viewer = Viewer({"archetype": untrained("archetype")}, matcher=(model, gallery))
    low = str(folder / "low.wav")
    found = viewer.found(low, np.zeros((3, 28, 28), np.uint8))
    query = model.embed_audio(model.spectrogram([viewer.hear(low, model.rate)]))
    scores = model.match(query, gallery.embedding)[0]
    assert found is not None
    assert np.array_equal(found, real[np.argsort(-scores)[:3]])


def test_without_real_images_the_page_says_what_brings_them(folder: Path) -> None:
    viewer = Viewer({"archetype": untrained("archetype")})
    last = list(Answers(viewer).see(str(folder / "low.wav"), 1.0))[-1]
    assert "synesthete fetch mnist" in (last[2] or "")
    assert len(drawn(last[1])) == 16


def test_every_model_draws_the_same_sound(viewer: Viewer, folder: Path) -> None:
    low = str(folder / "low.wav")
    images = drawn(Answers(viewer).compare(low, 1.0))
    expected = [model.generate(low, 8) for model in viewer.models.values()]
    assert np.array_equal(images, np.concatenate(expected))


def test_every_model_hears_at_its_own_rate(folder: Path) -> None:
    fine = Model(artefact_of("archetype", spectrogram={"rate": 16_000, "high_hz": 7_600.0}))
    answers = Answers(Viewer({"fine": fine, "archetype": untrained("archetype")}))
    low, high = (str(folder / f"{name}.wav") for name in ("low", "high"))
    sound, told, _ = next(answers.see(low, 1.0))
    assert "0.50 s" in sound
    assert np.array_equal(drawn(told), fine.generate(low, 16))
    expected = [model.generate(low, 8) for model in answers.viewer.models.values()]
    assert np.array_equal(drawn(answers.compare(low, 1.0)), np.concatenate(expected))
    assert np.array_equal(answers.generate(high, 2, 1.0, 0, "fine")[0], fine.generate(high, 2))
    assert np.array_equal(
        answers.between(low, high, 1.0, 2, 1.0, 0, "fine")[0], fine.generate(high, 2)
    )


def test_a_morph_begins_at_one_recording_and_ends_at_the_other(
    viewer: Viewer, folder: Path
) -> None:
    low, high = (str(folder / f"{name}.wav") for name in ("low", "high"))
    answers = Answers(viewer)
    for position, end in ((0.0, low), (1.0, high)):
        images = drawn(answers.morph(low, high, position, 1.0))
        assert len(images) == 9 + 8
        assert np.array_equal(images[9:], viewer.model().generate(end, 8))
    between = answers.between(low, high, 0.5, 4, 1.0, 0, "vae-gan")[0]
    ends = [viewer.model("vae-gan").generate(end, 4) for end in (low, high)]
    assert all(not np.array_equal(between, images) for images in ends)


def test_one_model_alone_is_compared_with_nothing(folder: Path) -> None:
    viewer = Viewer({"archetype": untrained("archetype")})
    assert ALONE in Answers(viewer).compare(str(folder / "low.wav"), 1.0)


def test_nothing_said_is_no_fault_and_a_bad_file_is_a_sentence(
    viewer: Viewer, folder: Path
) -> None:
    answers, letter = Answers(viewer), str(folder / "letter.wav")
    assert SPEAK in next(answers.see(None, 1.0))[1]
    assert SPEAK in answers.compare(None, 1.0)
    assert MORPH in answers.morph(str(folder / "low.wav"), None, 0.5, 1.0)
    for told in (
        next(answers.see(letter, 1.0))[1],
        answers.compare(letter, 1.0),
        answers.morph(letter, letter, 0.5, 1.0),
    ):
        assert 'role="alert"' in told
        assert "letter.wav: not a sound file" in told
        assert str(folder) not in told
        assert "<img" not in told


def test_a_file_name_is_no_markup(viewer: Viewer, folder: Path) -> None:
    path = folder / "<img onerror=alert(1)>.wav"
    path.write_text("no sound")
    told = next(Answers(viewer).see(str(path), 1.0))[1]
    assert "<img" not in told
    assert "&lt;img onerror" in told


def test_a_stranger_s_file_is_refused_by_its_size(viewer: Viewer, folder: Path) -> None:
    path = folder / "large.wav"
    with path.open("wb") as file:
        file.truncate(LIMITS.max_bytes + 1)
    with pytest.raises(TooLong):
        viewer.hear(str(path), 8_000)


def test_programs_get_arrays_and_errors(viewer: Viewer, folder: Path, real: Images) -> None:
    low, answers = str(folder / "low.wav"), Answers(viewer)
    images, reading = answers.generate(low, 3, 0.5, 7, "vae-gan")
    expected = viewer.model("vae-gan").generate(low, 3, seed=7, diversity=0.5)
    assert np.array_equal(images, expected)
    told = viewer.read(expected)
    assert told is not None
    assert reading["digits"] == told.digits.tolist()
    nearest = answers.nearest(low, 2)
    assert np.array_equal(nearest, RealImages(real).nearest(viewer.model().generate(low, 2)))
    for wrong, message in (
        ((low, 0, 1.0, 0, None), "n is 0"),
        ((low, 65, 1.0, 0, None), "n is 65, wanted at most 64"),
        ((low, 1, 2.0, 0, None), "diversity is 2"),
        ((low, 1, 1.0, 0, "other"), "no model 'other' here; there are: archetype, vae-gan"),
        ((None, 1, 1.0, 0, None), "no recording"),
    ):
        with pytest.raises(UserError, match=message):
            answers.generate(*wrong)
    with pytest.raises(UserError, match=r"position is 1\.1, wanted 0 to 1"):
        answers.between(low, low, 1.1, 1, 1.0, 0, None)
    with pytest.raises(AudioError):
        answers.nearest(str(folder / "letter.wav"), 2)


def test_models_are_told_apart_by_what_they_do(tmp_path: Path) -> None:
    for preset in ("archetype", "ave", "image-vae"):
        write(artefact_of(preset), tmp_path / preset)
    drawing, matching_, images = (str(tmp_path / n) for n in ("archetype", "ave", "image-vae"))
    models, matcher = split([matching_, drawing, "digits"])
    assert list(models) == [drawing, "digits"]
    assert matcher is not None
    assert matcher.artefact.name == matching_
    with pytest.raises(UserError, match="image_vae has no use for sound"):
        split([images])
    with pytest.raises(UserError, match="none of these draws"):
        split([matching_])
