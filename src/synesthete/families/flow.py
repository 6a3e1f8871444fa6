"""Mean flow: hear a recording, then carry noise to an image in a step or a few."""

import itertools
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from synesthete.config import ConfigError
from synesthete.data.batches import Batch
from synesthete.family import Generator, Losses, Shapes
from synesthete.losses import exact, mean_by_recording, reconstruction_loss
from synesthete.nets import DenseDecoder, Memory, ResidualEncoder, Shape


@dataclass(frozen=True)
class Config:
    """Flow matching (Lipman et al. 2023) and its average velocities (Geng et al. 2025, MeanFlow).

    Both are given the audio's code, which is learnt by drawing the mean image (the archetype);
    the flow only reads it.
    """

    code: int = 64
    """Length of the code between the audio encoder and the rest."""
    encoder_width: int = 32
    """Channels of the audio encoder's first layer; the last has four times as many."""
    dropout: float = 0.0
    """Share of the audio encoder's features dropped while training."""
    width: int = 32
    """Channels of the velocity network at half the image's size."""
    blocks: int = 1
    """Residual blocks there, on the way down and on the way up."""
    inner_width: int = 96
    """Channels at a quarter of the image's size, where a weight costs a quarter as much."""
    inner_blocks: int = 3
    """Residual blocks there."""
    plain_steps: int = 0
    """Steps that teach the velocity of a moment alone, before that of a stretch of time."""
    stretches: float = 0.5
    """Share of a batch that, after them, is about a stretch of time."""
    unconditional: float = 0.1
    """Share of the images that are learnt without their code, for guidance (Ho and Salimans
    2022)."""
    most_guidance: float = 3.0
    """Guidance is an input: velocities are learnt for every guidance from 1 to this one."""
    guidance: float = 1.5
    """How far to go beyond the unconditional velocity when drawing: 1 not at all."""
    evaluations: int = 4
    """Evaluations of the velocity network that draw an image."""
    memory: int = 0
    """Codes of training recordings that are kept for drawing, which then recalls the most alike
    (`nets.Memory`); 0: an image is drawn from the code as it is."""
    sharpness: float = 50.0
    """How much more the most alike weigh there."""

    def __post_init__(self) -> None:
        for name, (low, high) in RANGES.items():
            if not low <= getattr(self, name) <= high:
                raise ConfigError(
                    f"model.{name} is {getattr(self, name)}, wanted {low:g} to {high:g}"
                )


RANGES = {
    "blocks": (1, 64),
    "inner_blocks": (0, 64),
    "plain_steps": (0, math.inf),
    "stretches": (0, 1),
    "unconditional": (0, 1),
    "most_guidance": (1, 100),
    "guidance": (0.01, 100),
    "evaluations": (1, 100),
}
"""What the flow is defined for, and what ends in good time."""


class GroupNorm(nn.GroupNorm):
    """In float32 whatever the precision: its bfloat16 kernel for channels-last maps is slow."""

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> the same shape and type."""
        return super().forward(exact(x)).to(x.dtype)


class Block(nn.Module):
    """A residual block whose second half is scaled and shifted by the condition (FiLM)."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.first = nn.Sequential(
            GroupNorm(8, before), nn.SiLU(), nn.Conv2d(before, after, 3, padding=1)
        )
        self.normalise = GroupNorm(8, after, affine=False)
        self.film = nn.Linear(CONDITION, 2 * after)
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


class Question(NamedTuple):
    """What the velocity network is asked of each of B images, beside where it is now."""

    start: Tensor
    """Where the stretch of time begins, [B] in 0..1."""
    end: Tensor
    """Where it ends, [B] in 0..1; the start itself for the velocity of a moment."""
    code: Tensor
    """Of the recording, [B, E]."""
    known: Tensor
    """Bool[B]: whether to heed it."""
    guidance: Tensor
    """Logarithm of the guidance, [B], 0 for none."""

    def of(self, rows: Tensor) -> "Question":
        """The question of some of the images."""
        return Question(*(part[rows] for part in self))

    def unguided(self) -> "Question":
        """The same question of the image alone, without the code."""
        nothing = torch.zeros_like(self.known)
        return self._replace(known=nothing, guidance=torch.zeros_like(self.guidance))


class Velocity(nn.Module):
    """A small U-Net on 2x2 blocks of pixels: the average velocity over a stretch of time."""

    def __init__(self, config: Config, shape: Shape) -> None:
        super().__init__()
        channels, height, width = shape
        if height % 4 or width % 4:
            raise ConfigError(f"images of {height}x{width}: wanted multiples of 4")
        outer, inner = config.width, config.inner_width
        self.times = nn.Linear(2 * TIMES, CONDITION)
        self.code = nn.Linear(config.code, CONDITION)
        self.nothing = nn.Parameter(torch.zeros(CONDITION))
        self.guidance = nn.Linear(1, CONDITION)
        self.mix = nn.Sequential(nn.SiLU(), nn.Linear(CONDITION, CONDITION), nn.SiLU())
        self.stem = nn.Conv2d(4 * channels, outer, 3, padding=1)
        self.down = nn.ModuleList(Block(outer, outer) for _ in range(config.blocks))
        self.reduce = nn.Conv2d(4 * outer, inner, 1)
        self.middle = nn.ModuleList(Block(inner, inner) for _ in range(config.inner_blocks))
        self.enlarge = nn.Conv2d(inner, 4 * outer, 1)
        self.up = nn.ModuleList(
            Block(outer if i else 2 * outer, outer) for i in range(config.blocks)
        )
        self.output = nn.Sequential(
            GroupNorm(8, outer), nn.SiLU(), nn.Conv2d(outer, 4 * channels, 3, padding=1)
        )

    def forward(self, x: Tensor, asked: Question) -> Tensor:
        """[B, C, H, W], where the images are at the start -> velocity [B, C, H, W]."""
        times = torch.cat([_waves(asked.start), _waves(asked.end - asked.start)], dim=1)
        heard = torch.where(asked.known[:, None], self.code(asked.code), self.nothing)
        guided = self.guidance(asked.guidance[:, None])
        condition = self.mix(self.times(times) + heard + guided)
        half = self.stem(F.pixel_unshuffle(x, 2))
        for block in self.down:
            half = block(half, condition)
        quarter = self.reduce(F.pixel_unshuffle(half, 2))
        for block in self.middle:
            quarter = block(quarter, condition)
        up = torch.cat([half, F.pixel_shuffle(self.enlarge(quarter), 2)], dim=1)
        for block in self.up:
            up = block(up, condition)
        return F.pixel_shuffle(self.output(up), 2)


CONDITION = 128
"""Numbers that tell a block of the velocity network the times, the code and the guidance."""

TIMES = 32
"""Numbers that tell the velocity network a time."""

MOMENT = 0.01
"""Half the time over which a derivative along the flow is measured."""


def _waves(t: Tensor) -> Tensor:
    """Times [B] in 0..1 -> sines and cosines [B, TIMES], periods from 8 down to 1/2.

    Faster ones would make the derivative of the velocity with time, which is learnt from, noise.
    """
    rates = 2 * math.pi * torch.logspace(-3, 1, TIMES // 2, base=2, device=t.device, dtype=t.dtype)
    angles = t[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], dim=1)


class Model(Generator):
    """Noise at time 0, an image at time 1, straight lines between them in expectation."""

    phases: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "archetype": ("encoder", "head", "decoder"),
        "flow": ("velocity",),
    }
    learnt: Tensor

    def __init__(self, config: Config, shapes: Shapes) -> None:
        super().__init__()
        self.config = config
        self.shape = shapes.image
        self.noise_size = math.prod(shapes.image)
        self.evaluations: int = config.evaluations
        self.encoder = ResidualEncoder(shapes.audio, config.encoder_width, config.dropout)
        self.head = nn.Linear(self.encoder.features, config.code)
        self.decoder = DenseDecoder(config.code, shapes.image)
        self.velocity = Velocity(config, shapes.image)
        self.register_buffer("learnt", torch.zeros((), dtype=torch.long))
        self.memory = Memory(config.memory, config.code, config.sharpness)

    def encode(self, audio: Tensor) -> Tensor:
        """The code, float32[B, code], variance about 1 over recordings; with a memory, recalled."""
        code: Tensor = self.memory(self._code(audio))
        return code

    def embed(self, audio: Tensor) -> Tensor:
        """The code, not recalled."""
        return self._code(audio)

    def finish(self, recordings: Iterable[Tensor]) -> None:
        """Remember the codes of recordings, if there is a memory."""
        self.memory.fill(self._code, recordings)

    def _code(self, audio: Tensor) -> Tensor:
        return self._standard(self.head(self.encoder(audio)))

    def _standard(self, code: Tensor) -> Tensor:
        """The code at the scale that its own decoder's batch norm keeps."""
        norm = self.decoder[0]
        assert isinstance(norm, nn.BatchNorm1d)
        assert norm.running_mean is not None
        assert norm.running_var is not None
        return (code - norm.running_mean) / (norm.running_var + norm.eps).sqrt()

    def decode(self, code: Tensor, noise: Tensor, diversity: float = 1.0) -> Tensor:
        """The image to which the flow carries `diversity` times the noise."""
        x = diversity * noise.view(-1, *self.shape)
        each = x.shape[:1]  # not len(x), which an exporter would take for a constant
        guidance = x.new_full(each, math.log(self.config.guidance))
        known = torch.ones(each, dtype=torch.bool, device=x.device)
        times = [i / self.evaluations for i in range(self.evaluations + 1)]
        for start, end in itertools.pairwise(times):
            stretch = x.new_full(each, start), x.new_full(each, end)
            x = x + (end - start) * self.velocity(x, Question(*stretch, code, known, guidance))
        return ((x + 1) / 2).clamp(0, 1)

    def losses(self, batch: Batch, phase: str, rng: torch.Generator) -> Losses:
        """Reconstruction loss of the mean image, then the flow's loss of the images.

        The latter is the squared error of the velocity, averaged over pixels, over its own square
        root, so that no image outweighs the others (Geng et al. 2025, section 4.3, p = 1/2);
        `error` is the plain one.
        """
        if phase == "archetype":
            logits = self.decoder(self.head(self.encoder(batch.audio)))[batch.audio_of]
            target = mean_by_recording(batch.image, batch.audio_of, len(batch.audio))
            return {
                "loss": (batch.weight * reconstruction_loss("bernoulli", logits, target)).mean()
            }
        x, asked, target = self._lesson(batch, rng)
        error = (exact(self.velocity(x, asked)) - target).square().flatten(1).mean(1)
        loss = error / (error.detach() + 0.01).sqrt()
        return {"loss": (batch.weight * loss).mean(), "error": error.mean()}

    @torch.no_grad()
    def _lesson(self, batch: Batch, rng: torch.Generator) -> tuple[Tensor, Question, Tensor]:
        """Where the images are, what is asked, and the velocity to answer, [I, C, H, W].

        x moves from noise at time 0 to the image, in -1..1, at time 1, at image - noise (Lipman et
        al. 2023, eq. 23, σ = 0). Guidance w adds (1 - 1/w) times what the code adds to the
        velocity, so that the fixed point is w times that (Geng et al. 2025, section 4.2). Over a
        stretch, the average velocity is that of its start plus its length times the derivative
        along the flow (eq. 6), here a central difference.
        """
        count = len(batch.image)
        code = self._settled(batch.plain)[batch.audio_of]
        image = 2 * batch.image - 1
        noise = torch.randn(image.shape, generator=rng).to(image)
        moments = torch.sigmoid(torch.randn((2, count), generator=rng)).to(image)
        known = (torch.rand(count, generator=rng) >= self.config.unconditional).to(image.device)
        guidance = torch.rand(count, generator=rng) * math.log(self.config.most_guidance)
        guidance = (guidance * (torch.rand(count, generator=rng) < GUIDED)).to(image) * known
        stretched = torch.arange(count, device=image.device) < int(count * self.config.stretches)
        if self.training:
            self.learnt += 1
        if self.learnt <= self.config.plain_steps:
            guidance, stretched = torch.zeros_like(guidance), torch.zeros_like(stretched)
        start = torch.where(stretched, moments.amin(0), moments[0])
        end = torch.where(stretched, moments.amax(0), start)
        x = torch.lerp(noise, image, start.view(-1, 1, 1, 1))
        asked, velocity = Question(start, end, code, known, guidance), image - noise
        if self.learnt > self.config.plain_steps:
            velocity += self._beyond(x, asked, stretched)
        return x, asked, velocity

    def _beyond(self, x: Tensor, asked: Question, stretched: Tensor) -> Tensor:
        """What guidance and the length of a stretch add to the velocity of a moment."""
        more, now = torch.zeros_like(x), torch.zeros_like(x)
        rows = (stretched | (asked.guidance > 0)).nonzero().flatten()
        now[rows] = self._at(x[rows], asked.of(rows))
        rows = (asked.guidance > 0).nonzero().flatten()
        guided = asked.of(rows)
        alone = self._at(x[rows], guided.unguided())
        more[rows] += (1 - (-guided.guidance).exp()).view(-1, 1, 1, 1) * (now[rows] - alone)
        rows = stretched.nonzero().flatten()
        asked = asked.of(rows)
        length = (asked.end - asked.start).view(-1, 1, 1, 1)
        more[rows] += length * self._change(x[rows], asked, now[rows])
        return more

    def _settled(self, audio: Tensor) -> Tensor:
        """The code as it is when drawing: without dropout, by the running averages."""
        self.encoder.eval()
        code = exact(self._code(audio))
        self.encoder.train(self.training)
        return code

    def _at(self, x: Tensor, asked: Question) -> Tensor:
        """The velocity of the moment at which the stretch begins."""
        return exact(self.velocity(x, asked._replace(end=asked.start)))

    def _change(self, x: Tensor, asked: Question, velocity: Tensor) -> Tensor:
        """The derivative of the average velocity as its start moves along the flow, in float32."""
        ends = []
        with torch.autocast(x.device.type, enabled=False):
            for step in (-MOMENT, MOMENT):
                moved = asked._replace(start=asked.start + step)
                ends.append(self.velocity(x + step * velocity, moved))
        change: Tensor = (ends[1] - ends[0]) / (2 * MOMENT)
        return change


GUIDED = 0.7
"""Share of the images whose velocity is learnt under guidance."""
