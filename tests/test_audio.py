"""Loading audio: whatever comes in, a mono 8 kHz waveform or one typed, helpful error comes out."""

import dataclasses
import io
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import soundfile
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from synesthete.data import audio
from synesthete.errors import UserError

Samples = npt.NDArray[np.float64]


def tone(hz: float, rate: float, seconds: float = 0.5, peak: float = 0.5) -> Samples:
    wave: Samples = peak * np.sin(2 * np.pi * hz * np.arange(int(seconds * rate)) / rate)
    return wave


def encoded(samples: Samples, rate: int, format: str = "WAV", subtype: str = "PCM_16") -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format=format, subtype=subtype)
    return buffer.getvalue()


def patched(data: bytes, offset: int, layout: str, value: int) -> bytes:
    return data[:offset] + struct.pack(layout, value) + data[offset + struct.calcsize(layout) :]


WAV = encoded(tone(440, 8_000), 8_000)
REAL_FILES = [
    WAV,
    encoded(np.stack([tone(300, 44_100), tone(500, 44_100)], 1), 44_100, "FLAC"),
    encoded(tone(440, 16_000), 16_000, "OGG", "VORBIS"),
    encoded(tone(440, 22_050), 22_050, "AIFF", "PCM_24"),
    encoded(tone(440, 8_000), 8_000, "WAV", "DOUBLE"),
    encoded(tone(440, 8_000), 8_000, "AU", "FLOAT"),
    encoded(tone(440, 16_000), 16_000, "CAF", "ALAC_16"),
    encoded(tone(440, 8_000), 8_000, "WAV", "IMA_ADPCM"),
]


def wave_or_error(load: Callable[[], audio.Wave]) -> audio.Wave | audio.AudioError:
    try:
        return load()
    except audio.AudioError as error:
        return error


def assert_wave_or_audio_error(load: Callable[[], audio.Wave]) -> None:
    outcome = wave_or_error(load)
    if isinstance(outcome, audio.AudioError):
        assert type(outcome) is not audio.AudioError
        assert "wanted" in str(outcome)
        assert "\n" not in str(outcome)
    else:
        assert outcome.dtype == np.float32
        assert outcome.ndim == 1
        assert np.isfinite(outcome).all()
        seconds = len(outcome) / audio.RATE
        assert audio.LIMITS.min_seconds <= seconds <= audio.LIMITS.max_seconds


numbers = st.one_of(
    hnp.integer_dtypes(endianness="?"),
    hnp.unsigned_integer_dtypes(endianness="?"),
    hnp.floating_dtypes(endianness="?"),
)
not_numbers = st.sampled_from([np.dtype(kind) for kind in ("?", "c8", "U3", "M8[s]")])


@st.composite
def sounds(draw: st.DrawFn) -> tuple[npt.NDArray[Any], float]:
    """Noise of any real type, 1 to 3 channels, up to 0.5 s, at any rate that is supported."""
    rate = draw(st.one_of(st.sampled_from([8_000, 44_100, 48_000]), st.floats(4_000, 192_000)))
    samples, dtype = int(draw(st.floats(0.08, 0.5)) * rate), draw(numbers)
    shape = (samples,) if draw(st.booleans()) else (samples, draw(st.integers(1, 3)))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    if dtype.kind == "f":
        peak = draw(st.sampled_from([1e-9, 1e-3, 1.0, 1e3]))
        return rng.normal(0, peak, shape).astype(dtype), rate
    raw = rng.bytes(dtype.itemsize * int(np.prod(shape)))
    return np.frombuffer(raw, dtype).reshape(shape), rate


@given(sounds())
@settings(max_examples=100)
@example((np.full(4_000, 6e4, np.float16), 8_000))
@example((np.full(4_000, 1e300), 8_000))
@example((np.array([0.1] * 4_000 + [np.nan]), 8_000))
@example((tone(440, 8_000)[::-2], 8_000))
def test_any_sound_gives_a_waveform_or_a_typed_error(
    sound: tuple[npt.NDArray[Any], float],
) -> None:
    assert_wave_or_audio_error(lambda: audio.load(*sound))


@given(
    hnp.arrays(st.one_of(numbers, not_numbers), hnp.array_shapes(min_dims=0, min_side=0)),
    st.one_of(st.integers(), st.floats()),
)
@settings(max_examples=100)
def test_any_other_array_gives_a_typed_error(array: npt.NDArray[Any], rate: float) -> None:
    assert isinstance(wave_or_error(lambda: audio.load(array, rate)), audio.AudioError)


@given(st.binary(max_size=400), st.sampled_from([b"", *(file[:48] for file in REAL_FILES)]))
@settings(max_examples=100)
def test_garbage_bytes_give_a_typed_error(garbage: bytes, start: bytes) -> None:
    assert_wave_or_audio_error(lambda: audio.load(start + garbage))


@given(st.sampled_from(REAL_FILES), st.data())
@settings(max_examples=120)
def test_a_damaged_file_gives_a_waveform_or_a_typed_error(file: bytes, data: st.DataObject) -> None:
    damaged = bytearray(file)
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, 120))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.one_of(st.none(), st.integers(0, len(file))))
    assert_wave_or_audio_error(lambda: audio.load(bytes(damaged[:cut])))


@pytest.mark.parametrize("rate", [4_000, 8_000, 11_025, 22_050, 44_100, 48_000, 192_000])
def test_a_sine_stays_the_sine_at_any_rate(rate: int) -> None:
    wave = audio.load(tone(1_000, rate), rate)
    expected = tone(1_000, audio.RATE)
    assert len(wave) == len(expected)
    inner = slice(400, -400)
    np.testing.assert_allclose(wave[inner], expected[inner], atol=1e-4)


def test_what_lies_above_4_khz_disappears_rather_than_folding_back() -> None:
    fade = np.hanning(24_000)
    with pytest.raises(audio.Silent, match="in mono at 8000 Hz"):
        audio.load(tone(6_000, 48_000) * fade, 48_000)
    both = audio.load((tone(6_000, 48_000) + tone(1_000, 48_000)) * fade, 48_000, trim=False)
    alone = audio.load(tone(1_000, 48_000) * fade, 48_000, trim=False)
    np.testing.assert_allclose(both, alone, atol=1e-4)


def test_mono_is_the_mean_of_the_channels_without_its_offset() -> None:
    left, right = tone(300, 8_000), tone(700, 8_000) + 0.2
    wave = audio.load(np.stack([left, right], axis=1), 8_000)
    expected = (left + right) / 2
    np.testing.assert_allclose(wave, expected - expected.mean(), atol=1e-6)


def test_channels_that_cancel_or_do_not_vary_are_silent() -> None:
    left = tone(300, 8_000)
    with pytest.raises(audio.Silent):
        audio.load(np.stack([left, -left], axis=1), 8_000)
    with pytest.raises(audio.Silent):
        audio.load(np.full(8_000, 0.3), 8_000)


@pytest.mark.parametrize("dtype", ["int8", "int16", "int32", "int64", "uint8", "uint16", ">i2"])
def test_integers_mean_what_the_same_floats_mean(dtype: str) -> None:
    floats = tone(440, 8_000)
    half = 2.0 ** (8 * np.dtype(dtype).itemsize - 1)
    offset = half if np.dtype(dtype).kind == "u" else 0
    integers = np.floor(floats * half + offset).astype(dtype)
    np.testing.assert_allclose(
        audio.load(integers, 8_000), audio.load(floats, 8_000), atol=2 / min(half, 2**20)
    )


@pytest.mark.parametrize(
    ("format", "subtype", "tolerance"),
    [
        ("WAV", "PCM_16", 1e-4),
        ("WAV", "PCM_U8", 1e-2),
        ("WAV", "FLOAT", 1e-6),
        ("FLAC", "PCM_24", 1e-6),
        ("AIFF", "PCM_16", 1e-4),
        ("OGG", "VORBIS", 5e-2),
        ("MP3", "MPEG_LAYER_III", 5e-2),
    ],
)
def test_every_format_brings_the_sound_back(
    format: str, subtype: str, tolerance: float, tmp_path: Path
) -> None:
    samples = np.stack([tone(440, 16_000), tone(800, 16_000)], axis=1)
    data = encoded(samples, 16_000, format, subtype)
    path = tmp_path / "sound.anything"
    path.write_bytes(data)
    wave = audio.load(data)
    np.testing.assert_array_equal(audio.load(path), wave)
    np.testing.assert_array_equal(audio.load(str(path)), wave)
    inner = slice(400, 3_600)
    expected = audio.load(samples, 16_000)
    np.testing.assert_allclose(wave[inner], expected[inner], atol=tolerance)


def test_silence_around_a_sound_goes_and_the_sound_stays() -> None:
    sound, hush = tone(440, 8_000), np.zeros(16_000)
    noise = np.random.default_rng(0).normal(0, 1e-3, 2 * len(hush) + len(sound))
    wave = audio.load(np.concatenate([hush, sound, hush]) + noise, 8_000)
    margin, frame = audio.TRIM_MARGIN * 80, 80
    assert 0 <= len(wave) - len(sound) - 2 * margin <= 2 * frame
    energy = float(np.square(wave, dtype=np.float64).sum())
    assert energy == pytest.approx(float(np.square(sound).sum()), rel=1e-3)


@given(st.integers(-20, 20), st.integers(0, 99))
@settings(max_examples=50)
def test_trimming_ignores_gain_and_twice_is_once(power_of_two: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    moment = int(rng.choice([100, 2_000]))  # of 12 ms, or of 0.25 s, which a room may last
    envelope = np.repeat(10 ** rng.uniform(-3, 0, 30), moment)
    wave = (rng.normal(0, 1, len(envelope)) * envelope).astype(np.float32)
    trimmed, gain = audio.trim_silence(wave), np.float32(2.0**power_of_two)
    np.testing.assert_array_equal(audio.trim_silence(gain * wave), gain * trimmed)
    np.testing.assert_array_equal(audio.trim_silence(trimmed), trimmed)


@pytest.mark.parametrize("colour", [0.0, 0.5])
@pytest.mark.parametrize("snr", [30, 20, 15])
def test_a_room_s_noise_around_a_word_goes_and_the_word_stays(snr: float, colour: float) -> None:
    """White or pink, a second of it before and after."""
    rng = np.random.default_rng(0)
    word = tone(440, 8_000, 0.5)
    spectrum = np.fft.rfft(rng.normal(size=len(word) + 16_000))
    noise = np.fft.irfft(spectrum / np.maximum(np.arange(len(spectrum)), 1) ** colour)
    noise *= np.sqrt(np.square(word).mean() / np.square(noise).mean()) * 10 ** (-snr / 20)
    noise[8_000:-8_000] += word
    wave = audio.trim_silence(noise.astype(np.float32))
    margin = audio.TRIM_MARGIN * 80
    assert len(word) <= len(wave) <= len(word) + 2 * margin
    start = int(np.argmax(np.correlate(noise, wave, "valid")))
    assert 8_000 - margin <= start <= 8_000


def test_a_drawn_out_consonant_and_a_steady_sound_stay() -> None:
    """0.3 s of a steady s before a vowel is none of a room's; nor is a hum, or noise alone."""
    rng = np.random.default_rng(0)
    vowel = tone(200, 8_000, 0.3)
    hiss = rng.normal(0, 0.1 * np.abs(vowel).max(), 2_400)
    for wave in (np.concatenate([hiss, vowel]), tone(440, 8_000, 2.0), rng.normal(0, 0.1, 16_000)):
        assert len(audio.trim_silence(wave.astype(np.float32))) == len(wave)


def test_real_recordings_come_trimmed_and_barely_change() -> None:
    root = os.environ.get("SYNESTHETE_DATA")
    if not root:
        pytest.skip("SYNESTHETE_DATA is not set: no real recordings")
    files = sorted((Path(root) / "fsdd" / "recordings").glob("*.wav"))[::10]
    whole = [audio.load(file, trim=False) for file in files]
    trimmed = [audio.trim_silence(wave) for wave in whole]
    kept = np.array(
        [len(after) / len(before) for after, before in zip(trimmed, whole, strict=True)]
    )
    assert (kept == 1).mean() > 0.9
    for after, before in zip(trimmed, whole, strict=True):
        assert np.square(after).sum() > 0.999 * np.square(before).sum()


def test_no_real_recording_ends_in_a_room(monkeypatch: pytest.MonkeyPatch) -> None:
    root = os.environ.get("SYNESTHETE_DATA")
    if not root:
        pytest.skip("SYNESTHETE_DATA is not set: no real recordings")
    files = sorted((Path(root) / "fsdd" / "recordings").glob("*.wav"))
    whole = [audio.load(file, trim=False) for file in files]
    trimmed = [audio.trim_silence(wave) for wave in whole]
    monkeypatch.setattr(audio, "ROOM", 10**6)
    for after, wave in zip(trimmed, whole, strict=True):
        np.testing.assert_array_equal(after, audio.trim_silence(wave))


REFUSED: dict[str, tuple[type[audio.AudioError], str, Any, float | None]] = {
    "no bytes": (audio.Empty, "the bytes: 0 bytes", b"", None),
    "no samples": (audio.Empty, "the array: no samples", np.zeros(0), 8_000),
    "no channels": (audio.Empty, "the array: no samples", np.zeros((9_000, 0)), 8_000),
    "a header alone": (audio.Empty, "the bytes: no samples", WAV[:44], None),
    "text": (audio.NotAudio, "the bytes: not a sound file", b"seven" * 99, None),
    "text array": (audio.NotAudio, "the array: <U5", np.array(["seven"]), 8_000),
    "a cube": (audio.NotAudio, r"shape \(2, 2, 2\)", np.zeros((2, 2, 2)), 8_000),
    "zeros": (audio.Silent, "wanted at least -60 dBFS", np.zeros(8_000), 8_000),
    "a whisper": (audio.Silent, "is -66 dBFS", tone(440, 8_000, peak=5e-4), 8_000),
    "short": (audio.TooShort, "0.05 s; wanted at least 0.1 s", tone(440, 8_000, 0.05), 8_000),
    "a click": (audio.TooShort, "0.06 s; wanted", np.eye(1, 8_000)[0], 8_000),
    "long": (audio.TooLong, "31 s; wanted at most 30 s", tone(440, 8_000, 31), 8_000),
    "nan": (audio.NotFinite, "the array: holds NaN", np.full(8_000, np.nan), 8_000),
    "infinity": (audio.NotFinite, "the array: holds", np.full(8_000, -np.inf), 8_000),
    "huge": (audio.NotFinite, "beyond 2.15e\\+09", tone(440, 8_000, peak=1e30), 8_000),
    "no rate": (audio.UnsupportedSampleRate, "wanted sample_rate=", tone(440, 8_000), None),
    "zero rate": (audio.UnsupportedSampleRate, "0 Hz; wanted 4000", tone(440, 8_000), 0),
    "a rate twice": (audio.UnsupportedSampleRate, "sample_rate=8000 given", WAV, 8_000),
    "wrong way round": (audio.TooManyChannels, "8000 channels", np.zeros((2, 8_000)), 8_000),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_used_is_refused_by_name(case: str) -> None:
    error, message, source, rate = REFUSED[case]
    with pytest.raises(error, match=message):
        audio.load(source, rate)
    assert issubclass(error, UserError)


def test_paths_that_cannot_be_read_are_refused_by_name(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    for name in (".", "missing.wav", "pipe", "loop", "null\0byte", "x" * 5_000):
        with pytest.raises(audio.Unreadable, match="wanted a"):
            audio.load(tmp_path / name)
    (tmp_path / "notes.raw").write_text("not sound")
    with pytest.raises(audio.NotAudio, match=r"notes\.raw: not a sound file .*; wanted wav"):
        audio.load(tmp_path / "notes.raw")


def test_a_forbidden_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbid(path: Path, mode: str) -> object:
        raise PermissionError(13, "Permission denied", str(path))  # as root, chmod forbids nothing

    (tmp_path / "secret.wav").write_bytes(WAV)
    monkeypatch.setattr(Path, "open", forbid)
    with pytest.raises(
        audio.Unreadable, match=r"secret\.wav: cannot be read \(Permission denied\)"
    ):
        audio.load(tmp_path / "secret.wav")


def test_a_large_file_is_refused_before_it_is_read(tmp_path: Path) -> None:
    with (tmp_path / "huge.wav").open("wb") as file:
        file.truncate(10**12)
    with pytest.raises(audio.TooLong, match="1,000,000,000,000 bytes, wanted at most 100,000,000"):
        audio.load(tmp_path / "huge.wav")


def test_a_header_that_declares_100_hours_is_refused_before_decoding(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def decode(*_: object, **__: object) -> None:
        pytest.fail("decoded")

    monkeypatch.setattr(soundfile.SoundFile, "read", decode)
    flac = encoded(tone(440, 8_000), 8_000, "FLAC")
    streaminfo = flac.index(b"fLaC") + 8
    hundred_hours = patched(flac, streaminfo + 14, ">I", 100 * 3600 * 8_000)
    with pytest.raises(audio.TooLong, match="360000 s; wanted at most 30 s"):
        audio.load(hundred_hours)


def test_of_a_truncated_file_what_is_there_counts_if_it_is_enough() -> None:
    half = audio.load(WAV[: len(WAV) // 2], trim=False)
    assert len(half) == pytest.approx(2_000, abs=50)
    np.testing.assert_allclose(half, tone(440, 8_000)[: len(half)], atol=2e-3)
    with pytest.raises(audio.TooShort):
        audio.load(WAV[:500])
    flac = encoded(tone(440, 8_000), 8_000, "FLAC")
    with pytest.raises(audio.NotAudio, match="whole"):
        audio.load(flac[: len(flac) // 2])


def test_a_damaged_header_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    aiff = encoded(tone(440, 8_000), 8_000, "AIFF")
    with pytest.raises(audio.NotAudio):
        audio.load(aiff[:44])  # libsndfile seeks to -1
    assert capfd.readouterr() == ("", "")


def test_limits_are_the_callers_to_set() -> None:
    strict = dataclasses.replace(audio.LIMITS, max_seconds=0.4)
    with pytest.raises(audio.TooLong, match=r"0\.5 s; wanted at most 0\.4 s"):
        audio.load(WAV, limits=strict)
    lenient = dataclasses.replace(audio.LIMITS, silence_dbfs=-120.0)
    assert len(audio.load(tone(440, 8_000, peak=1e-5), 8_000, lenient)) == 4_000


def test_the_callers_array_is_neither_changed_nor_shared() -> None:
    array = tone(440, 8_000).astype(np.float32)
    before = array.copy()
    wave = audio.load(array, 8_000)
    wave[:] = 0
    np.testing.assert_array_equal(array, before)


def test_any_rate_can_be_asked_for() -> None:
    samples = tone(1_000, 48_000)
    wave = audio.load(samples, 48_000, rate=24_000)
    assert len(wave) == len(samples) // 2
    np.testing.assert_allclose(wave[500:-500], samples[::2][500:-500], atol=2e-3)
    hush = np.zeros(24_000, np.float32)
    trimmed = audio.trim_silence(np.concatenate([hush, wave, hush]), 24_000)
    assert 0 <= len(trimmed) - len(wave) - 2 * audio.TRIM_MARGIN * 240 <= 2 * 240
