"""Record a clip anew for training: another voice's pitch, room, microphone, noise and trimming."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import soxr  # type: ignore[import-untyped]

from synesthete.data import degrade
from synesthete.data.audio import RATE, TRIM_FRAMES, Wave, trim_silence

HIGHEST_SNR = 45.0
"""The quietest noise that is added, dB below the clip."""
LOWEST_TRIM = 60.0
"""A threshold that cuts nothing off, dB below the loudest moment of a clip."""
PADDING = 0.3
"""The longest stretch of the room alone before and after a clip, s."""


@dataclass(frozen=True)
class SceneConfig:
    """How far the re-recordings of a clip go; 0 (or an `snr` of `HIGHEST_SNR`) leaves one out."""

    copies: int = 0
    """Re-recordings of each clip, made once before training; 0: the clip alone, as it is."""
    speed: float = 0.0
    """Largest relative change of speed. Pitch and formants move with it (vocal-tract length); the
    picture's columns stretch with the clip, so nothing else does."""
    tilt: float = 0.0
    """Largest slope over the spectrum, dB an octave around 1 kHz (voice, microphone)."""
    clean: float = 0.0
    """Share of the re-recordings that `room`, `snr`, `overdrive` and `clicks` leave alone."""
    room: float = 0.0
    """Longest reverberation time, s; the echo has up to twice the voice's own energy."""
    snr: float = HIGHEST_SNR
    """Loudest noise, dB below the clip: white, pink or brown, or between."""
    trim: float = LOWEST_TRIM
    """The hardest trimming by level, dB below the loudest moment: what is weaker at either end,
    a soft s or f first of all, is cut off, as thresholds in recorders do."""
    overdrive: float = 0.0
    """How far the loudest moments go beyond a recorder's full scale, which cuts them off, dB."""
    clicks: int = 0
    """Most single samples that are struck to the clip's own peak."""


def again(wave: Wave, config: SceneConfig, rng: np.random.Generator, rate: int = RATE) -> Wave:
    """A clip float32[T] at `rate`, recorded anew, and trimmed as every clip is."""
    if config.speed:
        wave = soxr.resample(wave, rate, rate * _log_uniform(1 + config.speed, rng), quality="MQ")
    if config.tilt:
        wave = _tilted(wave, rng.uniform(-config.tilt, config.tilt), rate)
    undisturbed = config.clean and rng.random() < config.clean
    if config.room and not undisturbed:
        wave = degrade.reverberant(wave, rng.uniform(0, config.room), rng.uniform(0, 2), rng, rate)
    if config.trim < LOWEST_TRIM:
        start_db, end_db = rng.uniform(config.trim, LOWEST_TRIM, size=2)
        wave = _trimmed(wave, start_db, end_db, rate)
    if config.snr < HIGHEST_SNR and not undisturbed:
        margins = rng.integers(0, int(PADDING * rate), size=2)
        snr = rng.uniform(config.snr, HIGHEST_SNR)
        wave = degrade.disturbed(np.pad(wave, margins), _noise(len(wave) + margins.sum(), rng), snr)
    if config.overdrive and not undisturbed:
        wave = _overdriven(wave, rng.uniform(-config.overdrive, config.overdrive))
    if config.clicks and not undisturbed:
        wave = degrade.struck(wave, int(rng.integers(config.clicks + 1)), rng)
    return trim_silence(np.asarray(wave, np.float32), rate)


def _log_uniform(most: float, rng: np.random.Generator) -> float:
    """A factor between 1 / most and most."""
    return float(np.exp(rng.uniform(-1, 1) * np.log(most)))


def _tilted(wave: Wave, slope: float, rate: int) -> Wave:
    """The spectrum turned around 1 kHz by `slope` dB an octave."""
    spectrum = np.fft.rfft(wave)
    hertz = np.fft.rfftfreq(len(wave), 1 / rate)
    octaves = np.log2(np.clip(hertz, 60, None) / 1_000)
    turned = np.fft.irfft(spectrum * 10 ** (slope * octaves / 20), len(wave))
    return np.asarray(turned, np.float32)


def _trimmed(wave: Wave, start: float, end: float, rate: int = RATE) -> Wave:
    """From the first moment within `start` dB of the loudest to the last within `end` dB."""
    moment = rate // TRIM_FRAMES
    power = np.square(np.pad(wave, (0, -len(wave) % moment)).reshape(-1, moment)).mean(1)
    level = 10 * np.log10(power / power.max() + 1e-12)
    first, last = np.flatnonzero(level >= -start)[0], np.flatnonzero(level >= -end)[-1]
    return wave[first * moment : (last + 1) * moment] if first <= last else wave


def _overdriven(wave: Wave, decibels: float) -> Wave:
    """The clip with its peak `decibels` beyond where it is cut off; below 0 it is left alone."""
    full_scale = np.abs(wave).max() * 10 ** (-max(0.0, decibels) / 20)
    return np.clip(wave, -full_scale, full_scale)


def _noise(length: int, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Noise float64[length] whose power falls by up to 6 dB an octave."""
    spectrum = np.fft.rfft(rng.normal(size=length))
    spectrum /= np.maximum(np.arange(len(spectrum)), 1) ** rng.uniform(0, 1)
    return np.fft.irfft(spectrum, length)
