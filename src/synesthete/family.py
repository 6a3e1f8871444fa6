"""The contract of a model family: phases, named losses, and pure generation."""

import importlib
import math
import pkgutil
import reprlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from synesthete import families
from synesthete.config import ConfigError, Preset, parse
from synesthete.data.batches import Batch

LARGEST = 1 << 29
"""Bytes of the weights of a model: 134 million float32 numbers, six times the deck's largest."""
LONGEST_SIDE = 1_024
"""Of a picture, of sounds or images, in pixels."""

Losses = dict[str, Tensor]
"""Named scalars; `"loss"` is minimised, the others are its parts, logged."""


@dataclass(frozen=True)
class Shapes:
    """What the data dictates to a model."""

    audio: tuple[int, int, int] = (1, 48, 48)
    """(1, mel bands, columns) of a spectrogram in 0..1."""
    image: tuple[int, int, int] = (1, 28, 28)
    """(channels, height, width) of an image in 0..1."""

    def __post_init__(self) -> None:
        for name, shape in (("audio", self.audio), ("image", self.image)):
            whole = len(shape) == 3 and all(type(side) is int for side in shape)
            if not whole or not all(1 <= side <= LONGEST_SIDE for side in shape):
                raise ConfigError(
                    f"the shape of {name} is {reprlib.repr(shape)}; "
                    f"wanted three whole numbers from 1 to {LONGEST_SIDE}"
                )


class Family(nn.Module):
    """A model that knows its own losses; the training loop knows nothing else of it.

    A subclass lives in a file of `synesthete.families`, is called `Model` beside its frozen
    configuration dataclass `Config`, and is built as `Model(config, shapes)`.
    """

    phases: ClassVar[Mapping[str, tuple[str, ...]]]
    """Optimiser -> the attributes it updates. Each parameter belongs to exactly one."""

    def losses(self, batch: Batch, phase: str, rng: torch.Generator) -> Losses:
        """The scalars of one step of `phase`; all randomness comes from `rng`."""
        raise NotImplementedError

    def finish(self, recordings: Iterable[Tensor]) -> None:
        """Take what drawing needs of the recordings learnt from, once training has ended.

        Args:
            recordings: their spectrograms as they are, float32[B, 1, bands, columns] at a time, in
                an order of chance. Of a stream they never end.
        """


class Generator(Family):
    """A family that draws images from audio, in two pure halves: nothing is read but arguments."""

    noise_size: int
    """Length D of the noise that one image takes (0: the image is a function of the audio)."""
    evaluations: int | None = None
    """Evaluations of the network that draw an image; None where that is no matter of choice."""

    def encode(self, audio: Tensor) -> Tensor:
        """Spectrograms float32[B, 1, bands, columns] -> codes float32[B, E]."""
        raise NotImplementedError

    def decode(self, code: Tensor, noise: Tensor, diversity: float = 1.0) -> Tensor:
        """Codes float32[B, E] and standard normal float32[B, D] -> images [B, C, H, W] in 0..1.

        `diversity` is the dial: at 0 the noise changes nothing, at 1 images vary as was learnt.
        """
        raise NotImplementedError

    def embed(self, audio: Tensor) -> Tensor:
        """The recordings' place in the latent space, float32[B, L]; the code unless overridden."""
        return self.encode(audio)

    def render(self, audio: Tensor, noise: Tensor) -> Tensor:
        """One image a clip: [B, 1, bands, columns] and [B, D] -> [B, C, H, W] in 0..1."""
        return self.decode(self.encode(audio), noise)

    def sample(self, audio: Tensor, noise: Tensor, diversity: float = 1.0) -> Tensor:
        """n images a clip, each clip encoded once: noise [B, n, D] -> images [B, n, C, H, W]."""
        count, n, _ = noise.shape
        code = self.encode(audio)[:, None].expand(-1, n, -1).flatten(0, 1)
        images = self.decode(code, noise.flatten(0, 1), diversity)
        return images.reshape(count, n, *images.shape[1:])


class Matcher(Family):
    """A family that tells which audio and which images belong together, by two encoders."""

    audio_encoder: nn.Sequential
    """Layers in their order; `similarity` looks at each."""
    image_encoder: nn.Sequential

    def embed_audio(self, audio: Tensor) -> Tensor:
        """Spectrograms float32[A, 1, bands, columns] -> float32[A, E]."""
        embedding: Tensor = self.audio_encoder(audio)
        return embedding

    def embed_image(self, image: Tensor) -> Tensor:
        """Images float32[I, C, H, W] in 0..1 -> float32[I, E]."""
        embedding: Tensor = self.image_encoder(image)
        return embedding

    def match(self, audio: Tensor, image: Tensor) -> Tensor:
        """Embeddings [A, E] and [I, E] -> logits float32[A, I] that they belong together."""
        raise NotImplementedError

    def score(self, audio: Tensor, image: Tensor) -> Tensor:
        """Spectrograms and images -> logits float32[A, I] that they belong together."""
        return self.match(self.embed_audio(audio), self.embed_image(image))


class ImageModel(Family):
    """A family of images alone: it draws them from noise, and redraws what it is shown."""

    noise_size: int
    """Length D of the noise that one image takes."""

    def draw(self, noise: Tensor) -> Tensor:
        """Standard normal float32[B, D] -> images [B, C, H, W] in 0..1."""
        raise NotImplementedError

    def reconstruct(self, image: Tensor) -> Tensor | None:
        """Images [B, C, H, W] in 0..1 -> the same, redrawn; None where there is no encoder."""
        return None


def names() -> list[str]:
    """The families there are: the files of `synesthete.families`."""
    return sorted(module.name for module in pkgutil.iter_modules(families.__path__))


class Budget(TorchFunctionMode):
    """Refuse new tensors that are empty, or beyond so many bytes, before they take memory."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most = self.left = most

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Count what is about to be made, then have it made."""
        if func in (torch.empty, torch.zeros, torch.ones, torch.full):
            size = args[0] if args and isinstance(args[0], tuple | list) else args
            sides = [side for side in size if isinstance(side, int)]
            if min(sides, default=1) < 1:
                raise ConfigError(f"[model]: a network with weights of {sides}")
            self.left -= 4 * math.prod(sides)
        if self.left < 0:
            raise ConfigError(f"[model]: a network of more than {self.most:,} bytes")
        return func(*args, **(kwargs or {}))


def build(family: str, model: Mapping[str, Any], shapes: Shapes, most: int = LARGEST) -> Family:
    """The untrained model that a preset's `family` and `[model]` table describe.

    Raises:
        ConfigError: no such family, a key of `model` that it does not know, values of which no
            network can be made, or one whose weights take more than `most` bytes.
    """
    if family not in names():
        raise ConfigError(f"no family '{family}'; there are: {', '.join(names())}")
    module = importlib.import_module(f"{families.__name__}.{family}")
    config: Any = parse(module.Config, model, f"[model] (family {family})")
    try:
        with Budget(most):
            built: Family = module.Model(config, shapes)
    except (ValueError, RuntimeError, ZeroDivisionError) as error:
        raise ConfigError(f"[model] (family {family}): no network ({error})") from error
    check_phases(built)
    return built


def from_preset(preset: Preset, shapes: Shapes, most: int = LARGEST) -> Family:
    """The untrained model of a preset; errors as `build`."""
    return build(preset.family, preset.model, shapes, most)


def check_phases(model: Family) -> None:
    """Refuse a model in which a parameter has no phase, or two.

    Raises:
        TypeError: naming the parameters; a mistake in the family's code.
    """
    owners = {name: 0 for name, _ in model.named_parameters()}
    for attributes in model.phases.values():
        for attribute in attributes:
            for name, _ in getattr(model, attribute).named_parameters(prefix=attribute):
                owners[name] += 1
    wrong = [name for name, count in owners.items() if count != 1]
    if wrong:
        raise TypeError(f"{type(model).__module__}: parameters without one phase: {wrong}")


def noise(seed: int, first: int, count: int, n: int, size: int) -> Tensor:
    """Standard normal float32[count, n, size], keyed by (seed, input index, sample).

    Row i is that of input `first + i` whatever the batch it is drawn in, and its first samples
    do not change when more are asked for.
    """
    rows = [
        np.random.default_rng((seed, first + i)).standard_normal((n, size), np.float32)
        for i in range(count)
    ]
    return torch.from_numpy(np.stack(rows)) if rows else torch.zeros(0, n, size)
