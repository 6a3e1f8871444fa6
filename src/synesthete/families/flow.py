"""Rectified flow: hear a recording, then carry noise along a learnt velocity to an image."""

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from synesthete.config import ConfigError
from synesthete.data.batches import Batch
from synesthete.family import Generator, Losses, Shapes
from synesthete.losses import exact, mean_by_recording, reconstruction_loss
from synesthete.nets import ConvEncoder, DenseDecoder, Shape


@dataclass(frozen=True)
class Config:
    """Conditional flow matching (Lipman et al. 2023; Liu et al. 2023) on the audio's code.

    The code is learnt by drawing the mean image (the archetype); the flow only reads it.
    """

    code: int = 64
    """Length of the code between the audio encoder and the rest."""
    encoder_width: int = 32
    """Channels of the audio encoder's first layer; the last has four times as many."""
    dropout: float = 0.0
    """Share of the audio encoder's features dropped while training."""
    normalise: bool = False
    """Give the audio encoder each band less its mean over time, at unit variance."""
    width: int = 32
    """Channels of the velocity network at half the image's size; at a quarter, twice as many."""
    blocks: int = 2
    """Residual blocks at each size, on the way down and on the way up."""
    unconditional: float = 0.1
    """Share of the images that are learnt without their code, for guidance (Ho and Salimans
    2022)."""
    guidance: float = 1.0
    """How far to go beyond the unconditional velocity: 1 takes the conditional one alone."""
    steps: int = 4
    """Heun steps of the default sampler: two evaluations each, one in the last."""


class Block(nn.Module):
    """A residual block whose second half is scaled and shifted by the condition (FiLM)."""

    def __init__(self, before: int, after: int, condition: int) -> None:
        super().__init__()
        self.first = nn.Sequential(
            nn.GroupNorm(8, before), nn.SiLU(), nn.Conv2d(before, after, 3, padding=1)
        )
        self.normalise = nn.GroupNorm(8, after, affine=False)
        self.film = nn.Linear(condition, 2 * after)
        self.second = nn.Conv2d(after, after, 3, padding=1)
        nn.init.zeros_(self.film.weight)
        nn.init.zeros_(self.film.bias)
        nn.init.normal_(self.second.weight, std=1e-3)
        self.skip = nn.Identity() if before == after else nn.Conv2d(before, after, 1)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """[B, before, H, W] and [B, condition] -> [B, after, H, W]."""
        scale, shift = self.film(condition)[..., None, None].chunk(2, dim=1)
        hidden = self.normalise(self.first(x)) * (1 + scale) + shift
        out: Tensor = self.skip(x) + self.second(F.silu(hidden))
        return out


class Velocity(nn.Module):
    """A small U-Net on 2x2 blocks of pixels: v(x, t, code), float32[B, C, H, W]."""

    def __init__(self, config: Config, shape: Shape) -> None:
        super().__init__()
        channels, height, width = shape
        if height % 4 or width % 4:
            raise ConfigError(f"images of {height}x{width}: wanted multiples of 4")
        narrow, wide, condition = config.width, 2 * config.width, 4 * config.width
        self.time = nn.Sequential(nn.Linear(TIMES, condition), nn.SiLU())
        self.code = nn.Linear(config.code, condition)
        self.nothing = nn.Parameter(torch.zeros(condition))
        self.mix = nn.Sequential(nn.Linear(condition, condition), nn.SiLU())
        self.stem = nn.Conv2d(4 * channels, narrow, 3, padding=1)
        each = range(config.blocks)
        self.down = nn.ModuleList(Block(narrow, narrow, condition) for _ in each)
        self.reduce = nn.Conv2d(narrow, wide, 3, stride=2, padding=1)
        self.middle = nn.ModuleList(Block(wide, wide, condition) for _ in each)
        self.enlarge = nn.Conv2d(wide, 4 * narrow, 1)
        self.up = nn.ModuleList(
            Block(2 * narrow if i == 0 else narrow, narrow, condition) for i in each
        )
        self.output = nn.Sequential(
            nn.GroupNorm(8, narrow), nn.SiLU(), nn.Conv2d(narrow, 4 * channels, 3, padding=1)
        )

    def forward(self, x: Tensor, t: Tensor, code: Tensor, known: Tensor) -> Tensor:
        """[B, C, H, W], t [B] in 0..1, code [B, E]; where `known` [B] is false it is ignored."""
        heard = torch.where(known[:, None], self.code(code), self.nothing)
        condition = self.mix(self.time(_waves(t)) + heard)
        half = self.stem(F.pixel_unshuffle(x, 2))
        for block in self.down:
            half = block(half, condition)
        quarter = self.reduce(half)
        for block in self.middle:
            quarter = block(quarter, condition)
        up = torch.cat([half, F.pixel_shuffle(self.enlarge(quarter), 2)], dim=1)
        for block in self.up:
            up = block(up, condition)
        return F.pixel_shuffle(self.output(up), 2)


TIMES = 32
"""Numbers that tell the velocity network the time."""


def _waves(t: Tensor) -> Tensor:
    """Times [B] in 0..1 -> sines and cosines [B, TIMES], periods from 8 down to 1/16."""
    rates = 2 * math.pi * torch.logspace(-3, 4, TIMES // 2, base=2, device=t.device, dtype=t.dtype)
    angles = t[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], dim=1)


class Model(Generator):
    """Noise at t = 0, an image at t = 1, straight lines between them in expectation."""

    phases: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "archetype": ("encoder", "head", "decoder"),
        "flow": ("velocity",),
    }

    def __init__(self, config: Config, shapes: Shapes) -> None:
        super().__init__()
        self.config = config
        self.shape = shapes.image
        self.noise_size = math.prod(shapes.image)
        self.encoder = ConvEncoder(
            shapes.audio, config.encoder_width, config.dropout, config.normalise
        )
        self.head = nn.Linear(self.encoder.features, config.code)
        self.decoder = DenseDecoder(config.code, shapes.image)
        self.velocity = Velocity(config, shapes.image)

    def encode(self, audio: Tensor) -> Tensor:
        """The code, float32[B, code], of variance about 1 over recordings."""
        return self._standard(self.head(self.encoder(audio)))

    def _standard(self, code: Tensor) -> Tensor:
        """The code at the scale that its own decoder's batch norm keeps."""
        norm = self.decoder[0]
        assert isinstance(norm, nn.BatchNorm1d)
        assert norm.running_mean is not None
        assert norm.running_var is not None
        return (code - norm.running_mean) / (norm.running_var + norm.eps).sqrt()

    def decode(self, code: Tensor, noise: Tensor, diversity: float = 1.0) -> Tensor:
        """The image to which the flow carries `diversity` times the noise, by Heun's method."""
        x = diversity * noise.view(-1, *self.shape)
        times = torch.linspace(0, 1, self.config.steps + 1).tolist()
        for now, then in itertools.pairwise(times):
            first = self._guided(x, now, code)
            ahead = x + (then - now) * first
            if then < 1:
                ahead = x + (then - now) * (first + self._guided(ahead, then, code)) / 2
            x = ahead
        return ((x + 1) / 2).clamp(0, 1)

    def _guided(self, x: Tensor, t: float, code: Tensor) -> Tensor:
        """The velocity at x, beyond the unconditional one by the guidance."""
        time = x.new_full((len(x),), t)
        every = torch.ones(len(x), dtype=torch.bool, device=x.device)
        velocity: Tensor = self.velocity(x, time, code, every)
        if self.config.guidance == 1:
            return velocity
        alone = self.velocity(x, time, code, ~every)
        return torch.lerp(alone, velocity, self.config.guidance)

    def losses(self, batch: Batch, phase: str, rng: torch.Generator) -> Losses:
        """Reconstruction loss of the mean image, then the flow-matching loss of the images.

        The latter is the squared error of the velocity, averaged over pixels: x moves from
        noise at t = 0 to the image, in -1..1, at t = 1 (Lipman et al. 2023, eq. 23, σ = 0).
        """
        if phase == "archetype":
            logits = self.decoder(self.head(self.encoder(batch.audio)))[batch.audio_of]
            target = mean_by_recording(batch.image, batch.audio_of, len(batch.audio))
            return {
                "loss": (batch.weight * reconstruction_loss("bernoulli", logits, target)).mean()
            }
        with torch.no_grad():
            code = exact(self.encode(batch.audio)[batch.audio_of])
        image = 2 * batch.image - 1
        noise = torch.randn(image.shape, generator=rng).to(image)
        t = torch.sigmoid(torch.randn(len(image), generator=rng)).to(image)
        known = torch.rand(len(image), generator=rng).to(image) >= self.config.unconditional
        x = torch.lerp(noise, image, t.view(-1, 1, 1, 1))
        error = exact(self.velocity(x, t, code, known)) - (image - noise)
        return {"loss": (batch.weight * error.square().flatten(1).mean(1)).mean()}
