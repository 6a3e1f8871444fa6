"""The synthetic speakers are a deck-shaped stand-in for FSDD: distinct, varied, reproducible."""

import importlib.util
import io
import os
import zipfile
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import soundfile
from sklearn.svm import SVC

from synesthete.data import audio, espeak, fsdd, sources, speech
from synesthete.data.fsdd import Recordings
from synesthete.errors import UserError

TAKES = 4  # instead of 50, so that the tests are quick

installed = pytest.mark.skipif(
    importlib.util.find_spec("espeakng_loader") is None,
    reason="the extra is not installed: pip install 'synesthete[speech]'",
)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch, cache: Path) -> Recordings:
    """A tenth of the recordings; later tests find them in the cache."""
    monkeypatch.setattr(speech, "TAKES", TAKES)
    return speech.synthesise(cache)


def break_espeak(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have every call of espeak-ng fail from now on."""
    (tmp_path / "worker.py").write_text("raise SystemExit('not to be asked')")
    monkeypatch.setattr(espeak, "WORKER", tmp_path / "worker.py")


def features(waves: list[audio.Wave]) -> npt.NDArray[np.float64]:
    """(clips,) waveforms -> (clips, 24 * 16): log power over time and frequency, levels removed."""
    rows = []
    for wave in waves:
        starts = np.linspace(0, len(wave) - 256, 24).astype(int)
        frames = wave[starts[:, None] + np.arange(256)] * np.hanning(256)
        power = np.abs(np.fft.rfft(frames))[:, 1:] ** 2
        bands = np.add.reduceat(power, np.unique(np.geomspace(2, 127, 20).astype(int)), axis=1)
        level = np.log10(bands / bands.max() + 1e-4)
        row = level - level.mean(axis=0)
        rows.append((row / row.std()).ravel())
    return np.array(rows)


def nearest(centroids: npt.NDArray[np.float64], rows: npt.NDArray[np.float64]) -> list[int]:
    return [int(np.square(centroids - row).sum(axis=1).argmin()) for row in rows]


def by_digit(
    rows: npt.NDArray[np.float64], digits: npt.NDArray[np.int_]
) -> npt.NDArray[np.float64]:
    return np.array([rows[digits == digit].mean(axis=0) for digit in range(10)])


@installed
def test_recordings_are_shaped_like_the_decks(few: Recordings) -> None:
    names = [item.name for item in few.items]
    assert few.synthetic
    assert names == sorted(names)
    assert len(names) == len(set(names)) == 4 * 10 * TAKES
    assert set(Counter((r.digit, r.speaker) for r in few.items).values()) == {TAKES}
    for item in few.items:
        assert item.name == f"{item.digit}_{item.speaker}_{item.index}"
        assert fsdd.NAME.fullmatch(f"{item.name}.wav")
        assert not item.verified
    real = {name.split("_")[1] for name in fsdd.release().sha256}
    assert not real & {item.speaker for item in few.items}


@installed
def test_the_origin_says_that_nobody_spoke(few: Recordings) -> None:
    assert few.origin.name.startswith("synthetic speakers (espeak-ng 1.")
    assert few.origin.place == "synthesised"
    assert "synth-anna (en-us+f2)" in few.origin.detail
    assert not few.origin.verified
    files = {f"{item.name}.wav": item.data for item in few.items}
    assert few.origin.sha256 == sources.digest(files)


@installed
def test_each_is_a_16_bit_mono_wav_of_one_word_at_8_khz(few: Recordings) -> None:
    for item in few.items:
        info = soundfile.info(io.BytesIO(item.data))
        assert (info.format, info.subtype) == ("WAV", "PCM_16")
        assert (info.samplerate, info.channels) == (8_000, 1)
        wave = audio.load(item.data)
        assert 0.15 < len(wave) / audio.RATE < 1.0
        assert 0.02 < np.abs(wave).max() < 0.96
        assert info.frames - len(wave) < 0.15 * audio.RATE  # hardly a silence left to trim


@installed
def test_ten_digits_can_be_told_apart_and_takes_differ(few: Recordings) -> None:
    rows = features([audio.load(item.data, trim=False) for item in few.items])
    digits = np.array([item.digit for item in few.items])
    even = np.array([item.index % 2 == 0 for item in few.items])
    for speaker in speech.SPEAKERS:
        own = np.array([item.speaker == speaker.name for item in few.items])
        centroids = by_digit(rows[own & even], digits[own & even])
        right = nearest(centroids, rows[own & ~even]) == digits[own & ~even]
        assert right.mean() > 0.8, speaker.name
    assert len({item.data for item in few.items}) == len(few.items)
    lengths = {len(item.data) for item in few.items if item.speaker == "synth-anna"}
    assert len(lengths) > 5 * TAKES


@installed
def test_a_speaker_is_heard_through_its_room_and_microphone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = speech.Speaker("plain", "en-us", 175, 50, peak=0.3, tilt=0.0, echo=1e-9, noise=90)
    people = {
        "plain": plain,
        "quiet": replace(plain, peak=0.1),
        "bright": replace(plain, tilt=0.5),
        "noisy": replace(plain, noise=20),
        "far": replace(plain, echo=1),
    }
    speakers = tuple(replace(who, name=name) for name, who in people.items())
    monkeypatch.setattr(speech, "TAKES", 2)
    monkeypatch.setattr(speech, "SPEAKERS", speakers)
    waves: dict[str, list[audio.Wave]] = {name: [] for name in people}
    for item in speech.synthesise(tmp_path).items:
        waves[item.speaker].append(audio.load(item.data, trim=False))
    for wave in waves["plain"]:
        loud = np.flatnonzero(np.abs(wave) > 0.005 * np.abs(wave).max())
        ends = np.array([loud[0], len(wave) - 1 - loud[-1]]) / audio.RATE
        assert (ends >= 0.003).all()  # seconds
        assert (ends < 0.045).all()
    assert middle(waves["plain"], peak) == pytest.approx(0.3, rel=0.3)
    assert middle(waves["quiet"], peak) == pytest.approx(0.1, rel=0.3)
    assert middle(waves["noisy"], onset_decibels) == pytest.approx(-20, abs=3)
    assert middle(waves["plain"], onset_decibels) < -50
    assert middle(waves["bright"], centroid) > 1.2 * middle(waves["plain"], centroid)
    assert middle(waves["far"], tail_decibels) > middle(waves["plain"], tail_decibels) + 10


def middle(waves: list[audio.Wave], measure: Callable[[audio.Wave], float]) -> float:
    return float(np.median([measure(wave) for wave in waves]))


def peak(wave: audio.Wave) -> float:
    return float(np.abs(wave).max())


def decibels(part: audio.Wave, whole: audio.Wave) -> float:
    """The power of a part over that of the whole; a 16-bit step stands for silence."""
    return float(10 * np.log10((np.mean(part**2) + 2.0**-30) / np.mean(whole**2)))


def onset_decibels(wave: audio.Wave) -> float:
    return decibels(wave[:40], wave)


def tail_decibels(wave: audio.Wave) -> float:
    return decibels(wave[-40:], wave)


def centroid(wave: audio.Wave) -> float:
    power = np.abs(np.fft.rfft(wave)) ** 2
    return float(np.average(np.fft.rfftfreq(len(wave)), weights=power))


@installed
def test_who_learns_the_digits_from_real_people_understands_the_synthetic_ones(
    few: Recordings,
) -> None:
    if "SYNESTHETE_DATA" not in os.environ:
        pytest.skip("SYNESTHETE_DATA does not name a directory with FSDD")
    real = [item for item in fsdd.load().items if item.index < 25]
    rows = features([audio.load(item.data) for item in real])
    listener = SVC(C=5).fit(rows, [item.digit for item in real])
    heard = listener.predict(features([audio.load(item.data) for item in few.items]))
    # A real speaker that it never heard it understands to 0.74 to 0.90.
    assert np.mean(heard == [item.digit for item in few.items]) > 0.75


@installed
def test_a_seed_gives_the_same_bytes_in_another_cache_and_another_seed_others(
    few: Recordings, tmp_path: Path
) -> None:
    assert speech.synthesise(tmp_path) == few
    other = speech.synthesise(tmp_path, seed=1)
    assert not {item.data for item in other.items} & {item.data for item in few.items}


@installed
def test_a_second_call_is_served_from_the_cache(
    few: Recordings, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_espeak(tmp_path, monkeypatch)
    assert speech.synthesise(cache) == few


def halve(kept: Path) -> None:
    kept.write_bytes(kept.read_bytes()[: kept.stat().st_size // 2])


def flip(kept: Path) -> None:
    data = bytearray(kept.read_bytes())
    data[len(data) // 2] ^= 1
    kept.write_bytes(data)


def shrink(kept: Path) -> None:
    """Put a sound archive with one recording in the place of all."""
    with zipfile.ZipFile(kept) as archive:
        comment, name = archive.comment, archive.namelist()[0]
        data = archive.read(name)
    with zipfile.ZipFile(kept, "w") as archive:
        archive.comment = comment
        archive.writestr(name, data)


@installed
def test_a_damaged_cache_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speech, "TAKES", 1)
    made = speech.synthesise(tmp_path)
    (kept,) = (tmp_path / "speech").iterdir()
    good = kept.read_bytes()
    for damage in (halve, flip, shrink):
        damage(kept)
        assert speech.synthesise(tmp_path) == made, damage
        assert kept.read_bytes() == good, damage


@installed
def test_a_failure_leaves_nothing_in_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_espeak(tmp_path, monkeypatch)
    with pytest.raises(UserError, match="not to be asked"):
        speech.synthesise(tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


@installed
def test_a_cache_that_cannot_be_written_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(speech, "TAKES", 1)
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="SYNESTHETE_CACHE"):
        speech.synthesise(tmp_path / "file")


@installed
@pytest.mark.slow
def test_the_whole_is_2000_recordings_50_of_each_digit_by_4_speakers(tmp_path: Path) -> None:
    whole = speech.synthesise(tmp_path)
    counts = Counter((item.digit, item.speaker) for item in whole.items)
    assert len(whole.items) == len({item.data for item in whole.items}) == 2_000
    assert set(counts.values()) == {50}
    assert len(counts) == 40


@installed
def test_every_spelling_is_of_ten_words_that_its_language_speaks() -> None:
    for language, spelling in speech.SPELLINGS.items():
        words = spelling.split()
        assert len(words) == len(speech.WORDS)
        spoken, _ = espeak.speak([espeak.Utterance(word, language) for word in words])
        assert all(np.abs(wave).max() > 0.1 for wave in spoken)
        assert all(0.1 < len(wave) / 22_050 < 1.5 for wave in spoken)


@installed
def test_a_crowd_is_many_voices_and_its_first_speakers_stay(tmp_path: Path) -> None:
    three, four = speech.crowd(3, tmp_path), speech.crowd(4, tmp_path)
    assert three.synthetic
    assert len(four.items) == 4 * 10 * speech.CROWD_TAKES
    assert {r.speaker for r in four.items} == {f"crowd-{i:04}" for i in range(4)}
    assert min(len(r.data) for r in speech.crowd(4, tmp_path).items) > 2 * 0.1 * 8_000
    kept = {r.name: r.data for r in four.items}
    assert all(kept[r.name] == r.data for r in three.items)
    assert len(set(kept.values())) == len(kept)
    assert speech.crowd(4, tmp_path) == four
    known = espeak.voices()
    voices = {speech._stranger(number, known, 0).voice for number in range(300)}
    accents = {voice.partition("+")[0] for voice in voices}
    assert accents == {*known.accents, *speech.SPELLINGS}
    assert len(voices) > 80
    with pytest.raises(UserError, match="crowd of 0 speakers"):
        speech.crowd(0, tmp_path)


@installed
def test_examples_say_each_digit_once_and_repeat() -> None:
    said = speech.examples()
    assert tuple(said) == speech.WORDS
    for data in said.values():
        assert speech.SHORTEST <= soundfile.info(io.BytesIO(data)).duration < 1.5
        assert len(audio.load(data)) > 0
    assert said == speech.examples()
