"""Encoders and decoders of our own that the families share."""

import math
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from synesthete.config import ConfigError

Shape = tuple[int, int, int]


def doublings(shape: Shape) -> int:
    """How often maps of 5 to 9 pixels are doubled to give an image's smaller side: 2 or more."""
    return max(2, math.ceil(math.log2(min(shape[1:]) / 9)))


class Residual(nn.Module):
    """Two normalised 3x3 convolutions around a skip; halves the picture where `stride` is 2."""

    def __init__(self, before: int, after: int, stride: int = 1) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=False),
            nn.GroupNorm(8, after), nn.SiLU(),
            nn.Conv2d(after, after, 3, padding=1, bias=False),
            nn.GroupNorm(8, after),
        )  # fmt: skip
        self.skip: nn.Module = nn.Identity()
        if stride != 1 or before != after:
            self.skip = nn.Conv2d(before, after, 1, stride=stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """[B, before, H, W] -> [B, after, H / stride, W / stride]."""
        return F.silu(self.body(x) + self.skip(x))


class BandNormalise(nn.Module):
    """Each band less its mean over time, then each clip by its own standard deviation.

    What a voice, a room or a microphone does to the spectrum throughout is gone (cepstral mean
    subtraction, Atal 1974), and with it the level.
    """

    def forward(self, audio: Tensor) -> Tensor:
        """Float32[B, 1, bands, columns] -> the same shape, mean 0 and variance 1 a clip."""
        centred = audio - audio.mean(3, keepdim=True)
        return centred / (centred.square().mean((1, 2, 3), keepdim=True) + 1e-4).sqrt()


class ConvEncoder(nn.Sequential):
    """A small normalised convolutional encoder: [B, 1, bands, columns] -> float32[B, features].

    Four convolutions, the first three halving the picture, batch-normalised; then 3x3 average
    pooling, which forgets small shifts in time and pitch but keeps what comes first and last.
    `normalise` puts `BandNormalise` before them.
    """

    def __init__(
        self, shape: Shape, width: int = 32, dropout: float = 0.0, normalise: bool = False
    ) -> None:
        channels = (shape[0], width, 2 * width, 4 * width, 4 * width)
        self.features = 9 * channels[-1]
        layers: list[nn.Module] = [BandNormalise()] if normalise else []
        for before, after, kernel, stride in zip(
            channels, channels[1:], (5, 3, 3, 3), (2, 2, 2, 1), strict=False
        ):
            convolution = nn.Conv2d(before, after, kernel, stride, kernel // 2, bias=False)
            layers += [convolution, nn.BatchNorm2d(after), nn.ReLU()]
        super().__init__(*layers, nn.AdaptiveAvgPool2d(3), nn.Flatten(), nn.Dropout(dropout))


class NormalisedResidual(nn.Module):
    """Two batch-normalised 3x3 convolutions around a projection; the first has the stride."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU(),
            nn.Conv2d(after, after, 3, 1, 1, bias=False), nn.BatchNorm2d(after),
        )  # fmt: skip
        self.skip = nn.Sequential(
            nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after)
        )

    def forward(self, x: Tensor) -> Tensor:
        """[B, before, H, W] -> [B, after, H / stride, W / stride]."""
        return F.relu(self.body(x) + self.skip(x))


class ResidualEncoder(nn.Sequential):
    """`ConvEncoder` with residual blocks in the place of its second and third convolution.

    Its last picture is of 6x6 before the 3x3 average pooling, and a convolution deeper.
    """

    def __init__(
        self, shape: Shape, width: int = 32, dropout: float = 0.0, normalise: bool = False
    ) -> None:
        self.features = 9 * 4 * width
        super().__init__(
            *([BandNormalise()] if normalise else []),
            nn.Conv2d(shape[0], width, 5, 2, 2, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
            NormalisedResidual(width, 2 * width, 2),
            NormalisedResidual(2 * width, 4 * width, 2),
            nn.AdaptiveAvgPool2d(3), nn.Flatten(), nn.Dropout(dropout),
        )  # fmt: skip


class ImageEncoder(nn.Sequential):
    """A small normalised convolutional encoder of images: [B, C, H, W] -> float32[B, features].

    Four convolutions, the second and third halving the picture, batch-normalised, then 3x3 average
    pooling; in large pictures the first and the fourth halve too, so that they see as much of them.
    `ConvEncoder` is its counterpart for sound.
    """

    def __init__(self, shape: Shape, width: int = 32) -> None:
        channels = (shape[0], width, 2 * width, 4 * width, 4 * width)
        self.features = 9 * channels[-1]
        layers: list[nn.Module] = []
        larger = doublings(shape) - 2
        strides = (2 if larger > 0 else 1, 2, 2, 2 if larger > 1 else 1)
        for before, after, stride in zip(channels, channels[1:], strides, strict=False):
            convolution = nn.Conv2d(before, after, 3, stride, 1, bias=False)
            layers += [convolution, nn.BatchNorm2d(after), nn.ReLU()]
        super().__init__(*layers, nn.AdaptiveAvgPool2d(3), nn.Flatten())


LARGEST_MEMORY = 8_192
"""Codes."""


class Memory(nn.Module):
    """Recall: a code becomes the mean of the remembered ones, the most alike by far the first.

    Remembered are codes of recordings that were learnt from. What is heard of a voice never heard
    before lies between them; drawn from there is neither one thing nor another. This is one step
    of a Hopfield network (Ramsauer et al. 2021, eq. 3) whose patterns are alike by the cosine of
    codes standardised over the memory.
    """

    codes: Tensor | None

    def __init__(self, size: int, code: int, sharpness: float) -> None:
        """Room for `size` codes; with none, a code stays as it is. Sharpness 0 is all alike.

        Raises:
            ConfigError: the size or the sharpness is out of range.
        """
        super().__init__()
        if not 0 <= size <= LARGEST_MEMORY:
            raise ConfigError(f"model.memory is {size}, wanted 0 to {LARGEST_MEMORY}")
        if not 0 <= sharpness < math.inf:
            raise ConfigError(f"model.sharpness is {sharpness}, wanted 0 or more")
        self.sharpness = sharpness
        self.register_buffer("codes", torch.zeros(size, code) if size else None)

    @torch.no_grad()
    def fill(self, encode: Callable[[Tensor], Tensor], recordings: Iterable[Tensor]) -> None:
        """Remember the codes of the first recordings; where they are too few, some twice."""
        if self.codes is None:
            return
        size, found = len(self.codes), self.codes[:0]
        for heard in recordings:
            found = torch.cat([found, encode(heard.to(found.device))])
            if len(found) >= size:
                break
        if not len(found):
            raise ValueError("there is no recording to remember")
        self.codes.copy_(found[torch.arange(size, device=found.device) % len(found)])

    def forward(self, code: Tensor) -> Tensor:
        """[B, E] -> the same shape."""
        if self.codes is None:
            return code
        mean, deviation = self.codes.mean(0), self.codes.std(0, correction=0) + 1e-5
        heard, known = (F.normalize((x - mean) / deviation, dim=1) for x in (code, self.codes))
        recalled = torch.softmax(self.sharpness * heard @ known.T, dim=1) @ self.codes
        return torch.where((self.codes != 0).any(), recalled, code)  # nothing, while training


class DenseDecoder(nn.Sequential):
    """Codes [B, L] -> image logits [B, C, H, W] by one hidden layer: enough for archetypes."""

    def __init__(self, latent: int, shape: Shape, hidden: int = 512) -> None:
        super().__init__(
            nn.BatchNorm1d(latent),
            nn.Linear(latent, hidden), nn.ReLU(),
            nn.Linear(hidden, math.prod(shape)),
            nn.Unflatten(1, shape),
        )  # fmt: skip


class ConvDecoder(nn.Sequential):
    """Codes [B, L] -> image logits [B, C, H, W], batch-normalised (Radford et al. 2016, "DCGAN").

    One fully connected layer to maps of a quarter of the image, then two transposed convolutions
    4x4, stride 2, padding 1. The families of images alone share it: they differ in their losses.
    """

    def __init__(self, latent: int, shape: Shape, width: int = 32) -> None:
        channels, *sides = shape
        if any(side % 4 for side in sides):
            raise ConfigError(f"images of {sides[0]}x{sides[1]}: wanted multiples of 4")
        quarter = (2 * width, *(side // 4 for side in sides))
        super().__init__(
            nn.Linear(latent, math.prod(quarter), bias=False),
            nn.Unflatten(1, quarter), nn.BatchNorm2d(2 * width), nn.ReLU(),
            nn.ConvTranspose2d(2 * width, width, 4, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(width), nn.ReLU(),
            nn.ConvTranspose2d(width, channels, 4, stride=2, padding=1),
        )  # fmt: skip
