"""Turn any recording (file, bytes or array) into a mono 8 kHz waveform, trimmed of silence."""

import io
import math
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import soundfile
import soxr  # type: ignore[import-untyped]

from synesthete.errors import UserError

RATE = 8_000
"""Samples per second of every waveform, Hz: FSDD's own rate, and enough to tell words apart."""

TRIM_FRAME = 80
"""Samples (10 ms), the grain of trimming: about one period of a low voice."""
TRIM_DB = 40.0
"""Frames this far below the loudest one are silence. FSDD comes trimmed, and 96% of it is left
untouched; the rest loses the room noise at its ends."""
TRIM_MARGIN = 5
"""Frames (50 ms) kept on either side, as a weak f, s or t beside a vowel can be fainter still."""

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
    """Not a file that libsndfile can decode, or not an array of samples."""


class Empty(AudioError):
    """No bytes, or no samples."""


class Silent(AudioError):
    """Nothing audible is left of it in mono at 8 kHz."""


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
) -> Wave:
    """Load a recording as float32[T] at 8 kHz: mono, resampled, trimmed, not normalised in gain.

    `source` is a path or the bytes of anything libsndfile reads (wav, flac, ogg, mp3, aiff, ...),
    or an array [T] or [T, channels] with its `sample_rate` in Hz: floats are taken as they are
    (full scale is 1), integers scaled to -1..1 by the range of their type.

    Mono is the mean of the channels, less its mean over time (a microphone's offset is no sound);
    resampling is soxr's HQ, band-limited and without delay; see `trim_silence` for the ends. Of a
    truncated file, what can be decoded counts if it is long enough. Raises an `AudioError`.
    """
    name = _name(source)
    if isinstance(source, np.ndarray):
        samples, rate = _from_array(source, sample_rate, limits)
    elif sample_rate is not None:
        raise UnsupportedSampleRate(
            f"{name}: sample_rate={sample_rate} given; wanted none, a file states its own"
        )
    else:
        samples, rate = _from_file(source, limits)
    wave: Wave = soxr.resample(_mono(name, samples, limits), rate, RATE, quality="HQ")
    _check_audible(name, wave, limits)
    if trim:
        wave = trim_silence(wave)
    _check_seconds(name, len(wave) / RATE, limits)
    return wave


def trim_silence(waveform: Wave) -> Wave:
    """Cut from both ends of float32[T] what is silent relative to the clip's own loudest moment.

    Keeps everything from the first to the last 10 ms frame whose power is within `TRIM_DB` of the
    loudest, and `TRIM_MARGIN` frames around. Gain plays no part; trimming twice changes nothing.
    """
    frames = np.pad(waveform, (0, -len(waveform) % TRIM_FRAME)).reshape(-1, TRIM_FRAME)
    power = np.square(frames, dtype=np.float64).mean(axis=1)
    loud = np.flatnonzero(power >= power.max() * 10 ** (-TRIM_DB / 10))
    start, stop = max(0, loud[0] - TRIM_MARGIN), loud[-1] + 1 + TRIM_MARGIN
    return waveform[start * TRIM_FRAME : stop * TRIM_FRAME]


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
        raise NotAudio(
            f"{name}: not a sound file that can be decoded ({reason}); wanted wav, flac, ogg, mp3, "
            "aiff or another format of libsndfile, whole"
        ) from error


def _read(path: Path, limits: Limits) -> bytes:
    """Read a regular file; a pipe or device, which might never end, is not opened."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise Unreadable(f"{path}: a directory or device; wanted a sound file")
        if status.st_size > limits.max_bytes:
            raise TooLong(f"{path}: {status.st_size} bytes; wanted at most {limits.max_bytes}")
        return path.read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise Unreadable(f"{path}: cannot be read ({reason}); wanted a readable file") from error


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
    """Average the channels and take off the mean over time; refuse what is not finite."""
    if not float(np.abs(samples).max()) <= limits.max_amplitude:  # so that NaN is refused too
        raise NotFinite(
            f"{name}: holds NaN, infinity or values beyond {limits.max_amplitude:.3g}; "
            "wanted finite samples, full scale being 1"
        )
    mono = samples.mean(axis=1, dtype=np.float64)
    return np.asarray(mono - mono.mean(), np.float32)


def _check_audible(name: str, wave: Wave, limits: Limits) -> None:
    peak = 20 * math.log10(max(np.abs(wave).max(), np.finfo(np.float32).tiny))
    if peak < limits.silence_dbfs:
        raise Silent(
            f"{name}: its peak, in mono at {RATE} Hz, is {peak:.0f} dBFS; "
            f"wanted at least {limits.silence_dbfs:g} dBFS"
        )
