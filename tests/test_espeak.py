"""espeak-ng says what it is asked to, the same every time, and cannot take us down."""

import importlib.metadata
import importlib.util
import os
import time
from pathlib import Path

import numpy as np
import pytest

from synesthete.data import espeak
from synesthete.data.espeak import Utterance, Waveform, speak, voices
from synesthete.errors import UserError

installed = pytest.mark.skipif(
    importlib.util.find_spec("espeakng_loader") is None,
    reason="the extra is not installed: pip install 'synesthete[speech]'",
)


def fundamental(wave: Waveform, rate: int) -> float:
    """The frequency in Hz, 60 to 300, at which the whole word agrees most with itself."""
    spectrum = np.abs(np.fft.rfft(wave, 2 * len(wave))) ** 2
    lags = np.arange(rate // 300, rate // 60)
    return float(rate / lags[np.fft.irfft(spectrum)[lags].argmax()])


def worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    """Put a script in the place of the process that speaks."""
    script = tmp_path / "worker.py"
    script.write_text(code)
    monkeypatch.setattr(espeak, "WORKER", script)
    monkeypatch.setattr(espeak, "package_version", lambda: "0")


@installed
def test_a_word_lasts_as_long_as_a_word_and_is_loud() -> None:
    (wave,), rate = speak([Utterance("seven")])
    heard = np.flatnonzero(np.abs(wave) > 0.01)
    assert wave.dtype == np.float32
    assert 0.2 < (heard[-1] - heard[0]) / rate < 0.8
    assert 0.1 < np.abs(wave).max() <= 1


@installed
def test_every_voice_listed_speaks_and_no_two_alike() -> None:
    found = voices()
    names = [*found.accents, *(f"en-us+{variant}" for variant in found.variants)]
    waves, _ = speak([Utterance("seven", name) for name in names])
    assert {"en-gb", "en-us"} <= set(found.accents)
    assert {"m1", "f1", "whisper"} <= set(found.variants)
    assert len({wave.tobytes() for wave in waves}) == len(names) > 100
    assert all(np.abs(wave).max() > 0.05 for wave in waves)


@installed
def test_a_woman_speaks_higher_than_a_man_in_every_accent() -> None:
    names = [f"{accent}+{who}" for accent in voices().accents for who in ("f2", "m3")]
    waves, rate = speak([Utterance("nine", name) for name in names])
    pitches = dict(zip(names, (fundamental(wave, rate) for wave in waves), strict=True))
    for woman, man in zip(names[::2], names[1::2], strict=True):
        assert pitches[woman] > 1.3 * pitches[man], pitches


@installed
def test_a_higher_rate_is_shorter_and_a_higher_pitch_is_higher() -> None:
    slow, fast = speak([Utterance("nine", rate=rate) for rate in (100, 300)])[0]
    assert len(fast) < 0.6 * len(slow)
    waves, rate = speak([Utterance("nine", pitch=pitch, range=20) for pitch in (10, 50, 90)])
    low, middle, high = (fundamental(wave, rate) for wave in waves)
    assert 1.2 * low < middle < high / 1.2


@installed
def test_a_wider_range_moves_the_pitch_more() -> None:
    waves, rate = speak([Utterance("nine", range=value) for value in (0, 100)])

    def spread(wave: Waveform) -> float:
        loud = np.flatnonzero(np.abs(wave) > 0.05)
        pieces = np.array_split(wave[loud[0] : loud[-1]], 5)[1:4]
        return float(np.ptp([fundamental(piece, rate) for piece in pieces]))

    assert spread(waves[1]) > 2 * spread(waves[0])


@installed
def test_the_same_sequence_gives_the_same_samples_in_another_process() -> None:
    said = [
        Utterance(word, f"en-us+{variant}") for variant in ("f2", "m3") for word in ("one", "two")
    ]
    first, second = speak(said)[0], speak(said)[0]
    time.sleep(1.1)  # the library would seed its breath noise with the second it starts in
    third = speak(said)[0]
    for a, b, c in zip(first, second, third, strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(a, c)


@installed
def test_nothing_to_say_is_no_sound() -> None:
    assert speak([]) == ([], 22_050)


@installed
@pytest.mark.parametrize("voice", ["xx", "en-us+nobody", "en-us+", "", "fr", "en-shaw", "+f2"])
def test_an_unknown_voice_is_named(voice: str) -> None:
    with pytest.raises(UserError, match=f"no voice '{voice}'".replace("+", r"\+")):
        speak([Utterance("one", voice)])


@installed
def test_the_library_is_found_below_a_path_longer_than_it_can_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = importlib.util.find_spec("espeakng_loader")
    assert spec is not None
    assert spec.origin is not None
    far = tmp_path / ("x" * 200)
    far.mkdir()
    (far / "espeakng_loader").symlink_to(Path(spec.origin).parent, target_is_directory=True)
    monkeypatch.setenv("PYTHONPATH", str(far))
    assert len(speak([Utterance("one")])[0]) == 1


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"text": " "}, "at least one word"),
        ({"text": "one\0two"}, "at least one word"),
        ({"rate": 79}, "rate 79 is not within 80 to 450"),
        ({"pitch": 101}, "pitch 101 is not within 0 to 100"),
        ({"range": -1}, "range -1 is not within 0 to 100"),
    ],
)
def test_what_espeak_would_clip_is_refused(values: dict[str, object], said: str) -> None:
    with pytest.raises(UserError, match=said):
        Utterance(**({"text": "one"} | values))  # type: ignore[arg-type]


def test_without_the_extra_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", missing)
    for call in (voices, lambda: speak([Utterance("one")])):
        with pytest.raises(UserError, match=r"pip install 'synesthete\[speech\]'"):
            call()


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import ctypes; ctypes.string_at(0)", "ended by SIGSEGV"),
        ("import os; os.abort()", "ended by SIGABRT"),
        (
            "import sys; sys.exit('Wrong version of espeak-ng-data')",
            "Wrong version of espeak-ng-data",
        ),
        ("import no_such_library", "No module named 'no_such_library'"),
        ("raise SystemExit(1)", "without a word"),
        ("pass", "without a word"),
    ],
)
def test_a_crash_of_the_process_is_an_error_that_says_why(
    code: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker(tmp_path, monkeypatch, code)
    with pytest.raises(UserError, match=said):
        speak([Utterance("one")])


def test_a_process_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    note = tmp_path / "pid"
    code = f"import os, time; open({str(note)!r}, 'w').write(str(os.getpid())); time.sleep(100)"
    worker(tmp_path, monkeypatch, code)
    monkeypatch.setattr(espeak, "PATIENCE", 3.0)
    with pytest.raises(UserError, match=r"no answer in 3.03 seconds"):
        speak([Utterance("one")])
    with pytest.raises(ProcessLookupError):
        os.kill(int(note.read_text()), 0)
