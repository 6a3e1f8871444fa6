"""Turn any recording (file, bytes or array) into a mono waveform, trimmed of silence."""

import errno
import io
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import soundfile
import soxr  # type: ignore[import-untyped]

from synesthete.data import containers
from synesthete.errors import UserError
from synesthete.files import read_whole

RATE = 8_000
"""Samples per second unless told otherwise, Hz: FSDD's own rate, and enough to tell words apart."""

TRIM_FRAMES = 100
"""Frames a second (10 ms each), the grain of trimming: about one period of a low voice."""
TRIM_DB = 40.0
"""Frames this far below the loudest one are silence. FSDD comes trimmed, and 96% of it is left
untouched; the rest loses the room noise at its ends."""
TRIM_MARGIN = 5
"""Frames (50 ms) kept on either side, as a weak f, s or t beside a vowel can be fainter still."""
ROOM = 40
"""Frames (0.4 s) of steady level at an end of a clip that are a room, not a drawn-out consonant."""
ROOM_DB = 4.0
"""How steady. Of FSDD's 2,000 recordings none has such an end."""
EMPHASIS = 0.8
"""Of the high frequencies where a room's level is measured, as rumble is not steady."""

SUFFIXES = frozenset(
    ".wav .flac .ogg .oga .opus .mp3 .aif .aiff .au .caf .w64 .m4a .aac .webm".split()
)
"""What a folder is searched for."""

Wave = npt.NDArray[np.float32]
Sound = tuple[npt.NDArray[Any], float]  # samples [T, channels] and their rate, Hz


@dataclass(frozen=True)
class Limits:
    """What is accepted as a recording; anything else is refused with a typed `AudioError`."""

    min_seconds: float = 0.1
    """Shortest clip, before and after trimming, s. The shortest word of FSDD takes 0.14 s."""
    max_seconds: float = 30.0
    """Longest clip, s, by its header, before anything is decoded: a word amid generous silence,
    not a recorder left running."""
    silence_dbfs: float = -60.0
    """A clip whose peak is below this is silent, dB below full scale. FSDD's quietest: -40."""
    min_rate: float = 4_000.0
    """Lowest sample rate, Hz: below it, the sounds that tell words apart are gone."""
    max_rate: float = 192_000.0
    """Highest sample rate, Hz: the highest in common use."""
    max_channels: int = 32
    """Most channels. Also catches arrays of [channels, samples], the wrong way round."""
    max_samples: int = 50_000_000
    """Most samples of all channels together: 30 s of 8 channels at 192 kHz. Silence packs well."""
    max_bytes: int = 100_000_000
    """Largest file, bytes, before it is read into memory: 30 s of 64-bit stereo at 192 kHz."""
    max_amplitude: float = 2.0**31
    """Largest sample value, where full scale is 1: integers stored as floats pass, but squares
    of anything much larger overflow."""


LIMITS = Limits()


class AudioError(UserError):
    """A recording that cannot be used; the message names it, what was found and what wanted."""


class Unreadable(AudioError):
    """The path cannot be read: missing, forbidden, a directory, a device."""


class NotAudio(AudioError):
    """Not a file that libsndfile or PyAV can decode, or not an array of samples."""


class Empty(AudioError):
    """No bytes, or no samples."""


class Silent(AudioError):
    """Nothing audible is left of it in mono at the rate asked for."""


class TooShort(AudioError):
    """Fewer seconds than `Limits.min_seconds`, as it came or once trimmed."""


class TooLong(AudioError):
    """More seconds than `Limits.max_seconds`, or more bytes than `Limits.max_bytes`."""


class NotFinite(AudioError):
    """A sample is NaN, infinite, or beyond `Limits.max_amplitude`."""


class UnsupportedSampleRate(AudioError):
    """The sample rate is outside the limits, missing for an array, or given for a file."""


class TooManyChannels(AudioError):
    """More channels than `Limits.max_channels`."""


def load(
    source: str | os.PathLike[str] | bytes | npt.NDArray[Any],
    sample_rate: float | None = None,
    limits: Limits = LIMITS,
    *,
    trim: bool = True,
    rate: int = RATE,
) -> Wave:
    """Load a recording as float32[T] at `rate`: mono, resampled, trimmed, not normalised in gain.

    `source` is a path or the bytes of anything libsndfile reads (wav, flac, ogg, mp3, aiff, ...)
    or, where PyAV is installed, browsers and telephones record (webm, m4a, aac); or an array [T] or
    [T, channels] with its `sample_rate` in Hz: floats are taken as they are (full scale is 1),
    integers scaled to -1..1 by the range of their type.

    Mono is the mean of the channels, less its mean over time (a microphone's offset is no sound);
    resampling is soxr's HQ, band-limited and without delay; see `trim_silence` for the ends. Of a
    truncated file, what can be decoded counts if it is long enough. Raises an `AudioError`.
    """
    name = _name(source)
    if isinstance(source, np.ndarray):
        samples, own_rate = _from_array(source, sample_rate, limits)
    elif sample_rate is not None:
        raise UnsupportedSampleRate(
            f"{name}: sample_rate={sample_rate} given; wanted none, a file states its own"
        )
    else:
        samples, own_rate = _from_file(source, limits)
    wave = resample(_mono(name, samples, limits), own_rate, rate)
    _check_audible(name, wave, rate, limits)
    if trim:
        wave = trim_silence(wave, rate)
    _check_seconds(name, len(wave) / rate, limits)
    return wave


def resample(waveform: Wave, rate: float, wanted: float) -> Wave:
    """float32[T] at `rate` Hz to `wanted` Hz: soxr's HQ, band-limited and without delay."""
    return np.asarray(soxr.resample(waveform, rate, wanted, quality="HQ"), np.float32)


def trim_silence(waveform: Wave, rate: int = RATE) -> Wave:
    """Cut from both ends of float32[T] what is silent, and what is a room's steady noise.

    Silent are 10 ms frames whose power is more than `TRIM_DB` below the loudest one's. Noise is
    an end of `ROOM` frames or more over which the level, averaged over 50 ms, stays within
    `ROOM_DB`: it goes, up to the first moment that is more than `ROOM_DB` louder than all of them.
    `TRIM_MARGIN` frames around are kept. Gain plays no part; trimming twice changes nothing.
    """
    size = rate // TRIM_FRAMES
    while True:
        before = len(waveform)
        frames = np.pad(waveform, (0, -len(waveform) % size)).reshape(-1, size)
        power = np.square(frames, dtype=np.float64).mean(axis=1)
        loud = np.flatnonzero(power >= power.max() * 10 ** (-TRIM_DB / 10))
        start, stop = max(0, loud[0] - TRIM_MARGIN), loud[-1] + 1 + TRIM_MARGIN
        waveform = waveform[start * size : stop * size]
        waveform = waveform[_room(waveform, size) :]
        waveform = waveform[::-1][_room(waveform[::-1], size) :][::-1]
        if len(waveform) == before:
            return waveform


def _room(waveform: Wave, size: int) -> int:
    """Samples at the start of float32[T] that are a room's noise; frames are of `size`."""
    whole = len(waveform) // size
    if whole <= ROOM:
        return 0
    wave = waveform[: whole * size].astype(np.float64)
    wave[1:] -= EMPHASIS * wave[:-1]
    power = np.square(wave).reshape(-1, size).sum(axis=1)
    level = np.lib.stride_tricks.sliding_window_view(power, TRIM_MARGIN).sum(axis=1)
    start = level[: ROOM - TRIM_MARGIN + 1]
    most = start.max() * 10 ** (ROOM_DB / 10)
    if start.min() * 10 ** (ROOM_DB / 10) < start.max() or not (level > most).any():
        return 0
    return max(0, int(np.argmax(level > most)) - 1) * size


def _name(source: object) -> str:
    held = "the array" if isinstance(source, np.ndarray) else "the bytes"
    return held if isinstance(source, np.ndarray | bytes) else str(source)


def _from_array(array: npt.NDArray[Any], rate: float | None, limits: Limits) -> Sound:
    """Scale integers; the offset of unsigned ones goes with the mean, later."""
    if rate is None:
        raise UnsupportedSampleRate("the array: no sample rate; wanted sample_rate= in Hz")
    if array.ndim not in (1, 2) or array.dtype.kind not in "iuf":
        raise NotAudio(
            f"the array: {array.dtype} of shape {array.shape}; "
            "wanted integers or floats of shape [samples] or [samples, channels]"
        )
    samples = array[:, None] if array.ndim == 1 else array
    _check_layout("the array", len(samples), samples.shape[1], rate, limits)
    full_scale = 1 if array.dtype.kind == "f" else 2.0 ** (8 * array.dtype.itemsize - 1)
    return samples / full_scale, rate


def _from_file(source: str | os.PathLike[str] | bytes, limits: Limits) -> Sound:
    """Decode the bytes of a file, or the file at a path."""
    name = _name(source)
    data = source if isinstance(source, bytes) else _read(Path(source), limits)
    if not data:
        raise Empty(f"{name}: 0 bytes; wanted a sound file")
    try:
        with soundfile.SoundFile(_Bytes(data)) as file:
            _check_layout(name, file.frames, file.channels, file.samplerate, limits)
            return file.read(file.frames, dtype="float32", always_2d=True), file.samplerate
    except soundfile.SoundFileError as error:
        reason = str(error).rpartition(": ")[2].rstrip(".")
        return _from_container(name, data, limits, reason)


def _from_container(name: str, data: bytes, limits: Limits, reason: str) -> Sound:
    """Decode what libsndfile did not, for the `reason` it gave; stop at what is too long."""

    def check(frames: int, channels: int, rate: float) -> None:
        fewest = math.ceil(limits.min_seconds * rate)
        _check_layout(name, max(frames, fewest), channels, rate, limits)

    try:
        samples, rate = containers.decode(data, check)
    except containers.Undecodable as error:
        raise NotAudio(
            f"{name}: not a sound file that can be decoded ({reason}; {error}); wanted wav, flac, "
            "ogg, mp3, aiff, webm, m4a or another format of libsndfile, whole"
        ) from error
    _check_layout(name, len(samples), samples.shape[1], rate, limits)
    return samples, rate


def _read(path: Path, limits: Limits) -> bytes:
    try:
        return read_whole(path, limits.max_bytes)
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        reason = getattr(error, "strerror", None) or error
        if getattr(error, "errno", None) == errno.EFBIG:
            raise TooLong(f"{path}: {reason}") from error
        raise Unreadable(f"{path}: cannot be read ({reason}); wanted a sound file") from error


class _Bytes(io.BytesIO):
    """Bytes for libsndfile's callbacks, from which an exception would only be printed."""

    def seek(self, offset: int, whence: int = 0) -> int:
        """Stay put where a damaged header asks for a place before the start."""
        try:
            return super().seek(offset, whence)
        except (ValueError, OverflowError):
            return self.tell()


def _check_layout(name: str, frames: int, channels: int, rate: float, limits: Limits) -> None:
    """Refuse by the header alone, before memory is spent on samples."""
    if not limits.min_rate <= rate <= limits.max_rate:
        raise UnsupportedSampleRate(
            f"{name}: {rate} Hz; wanted {limits.min_rate:g} to {limits.max_rate:g} Hz"
        )
    if channels > limits.max_channels:
        raise TooManyChannels(
            f"{name}: {channels} channels of {frames} samples; wanted at most "
            f"{limits.max_channels} channels (an array is [samples, channels])"
        )
    if frames * channels > limits.max_samples and frames / rate <= limits.max_seconds:
        raise TooLong(
            f"{name}: {channels} channels of {frames} samples; wanted at most "
            f"{limits.max_samples} samples in all"
        )
    if frames < 1 or channels < 1:
        raise Empty(f"{name}: no samples; wanted at least {limits.min_seconds:g} s of sound")
    _check_seconds(name, frames / rate, limits)


def _check_seconds(name: str, seconds: float, limits: Limits) -> None:
    if seconds < limits.min_seconds:
        raise TooShort(f"{name}: {seconds:.3g} s; wanted at least {limits.min_seconds:g} s")
    if seconds > limits.max_seconds:
        raise TooLong(f"{name}: {seconds:.6g} s; wanted at most {limits.max_seconds:g} s")


def _mono(name: str, samples: npt.NDArray[Any], limits: Limits) -> Wave:
    """Average the channels and take off the mean over time; refuse what is none or not finite."""
    if not samples.size:  # though its header declares some
        raise Empty(f"{name}: no sample can be decoded; wanted {limits.min_seconds:g} s of sound")
    if not float(np.abs(samples).max()) <= limits.max_amplitude:  # so that NaN is refused too
        raise NotFinite(
            f"{name}: holds NaN, infinity or values beyond {limits.max_amplitude:.3g}; "
            "wanted finite samples, full scale being 1"
        )
    mono = samples.mean(axis=1, dtype=np.float64)
    return np.asarray(mono - mono.mean(), np.float32)


def _check_audible(name: str, wave: Wave, rate: int, limits: Limits) -> None:
    peak = 20 * math.log10(max(np.abs(wave).max(), np.finfo(np.float32).tiny))
    if peak < limits.silence_dbfs:
        raise Silent(
            f"{name}: its peak, in mono at {rate} Hz, is {peak:.0f} dBFS; "
            f"wanted at least {limits.silence_dbfs:g} dBFS"
        )
