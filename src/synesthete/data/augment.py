"""Vary spectrograms the way voices and rooms do, drawn from a generator that is an argument."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812


@dataclass(frozen=True)
class AugmentationConfig:
    """How far each variation goes; 0 leaves it out. All act on 48x48 log-mel pictures in 0..1."""

    time_shift: float = 0.0
    """Largest shift along time, as a share of the clip (sloppy trimming)."""
    time_scale: float = 0.0
    """Largest relative stretch along time (speaking rate)."""
    band_shift: float = 0.0
    """Largest shift along frequency, as a share of the mel axis (vocal-tract length)."""
    band_scale: float = 0.0
    """Largest relative stretch along frequency."""
    gain: float = 0.0
    """Standard deviation of an offset to the whole picture (level), in its 0..1 units."""
    tilt: float = 0.0
    """Standard deviation of a slope over the bands (microphone, room), in 0..1 units."""
    noise: float = 0.0
    """Standard deviation of white noise added to the picture."""
    masks: int = 0
    """Bars along time, and as many along frequency, that are blanked (SpecAugment, Park 2019)."""
    mask_width: int = 8
    """Largest width of a bar, in columns or bands."""


def augment(audio: Tensor, config: AugmentationConfig, rng: torch.Generator) -> Tensor:
    """Vary each of float32[A, 1, bands, columns] on its own; the same shape, clipped to 0..1."""
    if config == AugmentationConfig():
        return audio
    audio = _affine(audio, config, rng)
    count, _, bands, columns = audio.shape
    slope = torch.linspace(-1, 1, bands).view(1, 1, bands, 1)
    audio = audio + config.gain * _normal((count, 1, 1, 1), rng)
    audio = audio + config.tilt * _normal((count, 1, 1, 1), rng) * slope
    if config.noise:
        audio = audio + config.noise * _normal(tuple(audio.shape), rng)
    keep = torch.ones_like(audio)
    for _ in range(config.masks):
        keep = keep * _bar(count, columns, config.mask_width, rng).view(count, 1, 1, columns)
        keep = keep * _bar(count, bands, config.mask_width, rng).view(count, 1, bands, 1)
    return (audio.clamp(0, 1)) * keep


def _affine(audio: Tensor, config: AugmentationConfig, rng: torch.Generator) -> Tensor:
    """Shift and stretch along both axes in one bilinear resampling; outside is silence."""
    count = len(audio)
    theta = torch.zeros(count, 2, 3)
    theta[:, 0, 0] = 1 + config.time_scale * _uniform(count, rng)
    theta[:, 0, 2] = 2 * config.time_shift * _uniform(count, rng)
    theta[:, 1, 1] = 1 + config.band_scale * _uniform(count, rng)
    theta[:, 1, 2] = 2 * config.band_shift * _uniform(count, rng)
    grid = F.affine_grid(theta, list(audio.shape), align_corners=False)
    return F.grid_sample(audio, grid, align_corners=False)


def _bar(count: int, length: int, width: int, rng: torch.Generator) -> Tensor:
    """float32[count, length]: ones, with one run of up to `width` zeros at a random place."""
    size = torch.randint(0, width + 1, (count, 1), generator=rng)
    start = (torch.rand(count, 1, generator=rng) * (length - size + 1)).long()
    place = torch.arange(length)
    return ((place < start) | (place >= start + size)).float()


def _uniform(count: int, rng: torch.Generator) -> Tensor:
    """float32[count] in -1..1."""
    return torch.rand(count, generator=rng) * 2 - 1


def _normal(shape: tuple[int, ...], rng: torch.Generator) -> Tensor:
    return torch.randn(shape, generator=rng)
