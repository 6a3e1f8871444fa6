"""Do to a clean clip what microphones, rooms and codecs do, by a named amount."""

import io
from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
import numpy.typing as npt
import soundfile
import soxr  # type: ignore[import-untyped]

from synesthete.data.audio import RATE, Wave

Degraded = tuple[Wave, float] | bytes
"""Samples [T] and their rate in Hz, or a whole sound file."""

Degradation = Callable[[Wave, np.random.Generator], Degraded]

ROOM_DECAY = 13.8
"""Of a reverberation's amplitude over its 60 dB time: ln(10^3) x 2."""


def noise(wave: Wave, rng: np.random.Generator, *, snr: float) -> Degraded:
    """White noise, `snr` dB below the clip's mean power."""
    return disturbed(wave, rng.normal(size=len(wave)), snr), RATE


def pink(wave: Wave, rng: np.random.Generator, *, snr: float) -> Degraded:
    """Noise whose power falls by 3 dB an octave, as of rooms and traffic, `snr` dB below."""
    spectrum = np.fft.rfft(rng.normal(size=len(wave)))
    spectrum /= np.sqrt(np.maximum(np.arange(len(spectrum)), 1))
    return disturbed(wave, np.fft.irfft(spectrum, len(wave)), snr), RATE


def sampled(wave: Wave, rng: np.random.Generator, *, rate: float) -> Degraded:
    """The clip at another sample rate, Hz."""
    return soxr.resample(wave, RATE, rate, quality="HQ"), rate


def mu_law(wave: Wave, rng: np.random.Generator) -> Degraded:
    """A telephone's 8 bits (ITU-T G.711)."""
    return _file(wave, RATE, "WAV", "ULAW")


def mp3(wave: Wave, rng: np.random.Generator, *, compression: float) -> Degraded:
    """An MP3 file; `compression` is libsndfile's, 0 to 0.99 (the lowest bit rate)."""
    return _file(wave, RATE, "MP3", "MPEG_LAYER_III", compression)


def opus(wave: Wave, rng: np.random.Generator, *, compression: float) -> Degraded:
    """An Opus file, as browsers record; `compression` as for `mp3`."""
    return _file(wave, RATE, "OGG", "OPUS", compression)


def telephone(wave: Wave, rng: np.random.Generator) -> Degraded:
    """A telephone's band alone, 300 to 3,400 Hz (ITU-T G.712)."""
    spectrum, hertz = np.fft.rfft(wave), np.fft.rfftfreq(len(wave), 1 / RATE)
    spectrum[(hertz < 300) | (hertz > 3_400)] = 0
    return np.asarray(np.fft.irfft(spectrum, len(wave)), np.float32), RATE


def hum(wave: Wave, rng: np.random.Generator, *, snr: float) -> Degraded:
    """Mains hum, 50 Hz and nine harmonics, 6 dB less an octave, `snr` dB below the clip."""
    harmonics = np.arange(1, 11)[:, None]
    phases = rng.uniform(0, 2 * np.pi, harmonics.shape)
    time = np.arange(len(wave)) / RATE
    mains = (np.sin(2 * np.pi * 50 * harmonics * time + phases) / harmonics).sum(0)
    return disturbed(wave, mains, snr), RATE


def cut(wave: Wave, rng: np.random.Generator, *, start: float, end: float) -> Degraded:
    """The clip between two shares of its length: the microphone was opened late, closed early."""
    return wave[round(start * len(wave)) : round(end * len(wave))], RATE


def silence(
    wave: Wave, rng: np.random.Generator, *, before: float, after: float, snr: float = 50
) -> Degraded:
    """Seconds of a room around the clip, its noise, throughout, `snr` dB below its mean power."""
    room = rng.normal(size=int((before + after) * RATE) + len(wave))
    start = int(before * RATE)
    padded = np.pad(wave, (start, len(room) - len(wave) - start))
    level = np.sqrt(np.square(wave, dtype=np.float64).mean()) * 10 ** (-snr / 20)
    return np.asarray(padded + level * room, np.float32), RATE


def gain(wave: Wave, rng: np.random.Generator, *, decibels: float) -> Degraded:
    """Louder or quieter, in 16 bits: what is beyond full scale is clipped."""
    louder = np.clip(wave * 10 ** (decibels / 20), -1, 1 - 2**-15)
    return np.asarray((louder * 2**15).round() / 2**15, np.float32), RATE


def room(wave: Wave, rng: np.random.Generator, *, seconds: float) -> Degraded:
    """A reverberation that falls by 60 dB in `seconds`, as loud as the voice itself."""
    return reverberant(wave, seconds, 1.0, rng), RATE


def clicks(wave: Wave, rng: np.random.Generator, *, count: int) -> Degraded:
    """Single samples at the clip's own peak, at random places."""
    return struck(wave, count, rng), RATE


CONDITIONS: Mapping[str, Degradation] = {
    "clean": lambda wave, rng: (wave, RATE),
    **{f"white noise, {snr} dB": partial(noise, snr=snr) for snr in (20, 15, 10, 5, 0)},
    **{f"pink noise, {snr} dB": partial(pink, snr=snr) for snr in (20, 15, 10, 5, 0)},
    **{f"{rate / 1_000:g} kHz": partial(sampled, rate=rate) for rate in (16_000, 44_100, 48_000)},
    "mu-law": mu_law,
    "mp3, middle": partial(mp3, compression=0.5),
    "mp3, smallest": partial(mp3, compression=0.99),
    "opus, middle": partial(opus, compression=0.5),
    "opus, smallest": partial(opus, compression=0.99),
    "0.5 s before": partial(silence, before=0.5, after=0.0),
    "1 s before": partial(silence, before=1.0, after=0.0),
    "1 s after": partial(silence, before=0.0, after=1.0),
    "1 s around": partial(silence, before=1.0, after=1.0),
    **{
        f"1 s around, noise at {snr} dB": partial(silence, before=1.0, after=1.0, snr=snr)
        for snr in (30, 20, 15)
    },
    "20 dB louder": partial(gain, decibels=20),
    "20 dB quieter": partial(gain, decibels=-20),
    "room, 0.3 s": partial(room, seconds=0.3),
    "room, 0.6 s": partial(room, seconds=0.6),
    "3 clicks": partial(clicks, count=3),
    "telephone's band": telephone,
    "mains hum, 15 dB": partial(hum, snr=15),
    "first third lost": partial(cut, start=1 / 3, end=1),
    "last third lost": partial(cut, start=0, end=2 / 3),
}
"""What a robustness table asks, by its name there."""


def reverberant(
    wave: Wave, seconds: float, energy: float, rng: np.random.Generator, rate: int = RATE
) -> Wave:
    """`wave` and an echo of decaying noise, -60 dB after `seconds`, of `energy` times its own."""
    time = np.arange(max(1, int(seconds * rate))) / rate
    echo = rng.normal(size=len(time)) * np.exp(-ROOM_DECAY / 2 * time / max(seconds, 1 / rate))
    echo *= np.sqrt(energy / np.square(echo).sum())
    echo[0] += 1
    length = len(wave) + len(echo) - 1
    size = 1 << (length - 1).bit_length()
    heard = np.fft.irfft(np.fft.rfft(wave, size) * np.fft.rfft(echo, size), size)
    return np.asarray(heard[:length], np.float32)


def disturbed(wave: Wave, disturbance: npt.NDArray[np.float64], snr: float) -> Wave:
    """`wave` and a disturbance `snr` dB below it in mean power."""
    ours = np.square(wave, dtype=np.float64).mean()
    theirs = np.square(disturbance).mean()
    return np.asarray(wave + disturbance * np.sqrt(ours / theirs * 10 ** (-snr / 10)), np.float32)


def struck(wave: Wave, count: int, rng: np.random.Generator) -> Wave:
    """`wave` with `count` single samples, at random places, at its own peak."""
    clicking = wave.copy()
    places = rng.integers(0, len(wave), count)
    clicking[places] = rng.choice([-1.0, 1.0], count) * np.abs(wave).max()
    return clicking


def _file(
    wave: Wave, rate: int, container: str, subtype: str, compression: float | None = None
) -> bytes:
    """The clip as a sound file, with 0.1 s of nothing around it, which codecs may smear."""
    file = io.BytesIO()
    padded = np.pad(np.clip(wave, -1, 1), rate // 10)
    soundfile.write(
        file, padded, rate, format=container, subtype=subtype, compression_level=compression
    )
    return file.getvalue()
