"""Encoders and decoders that the families share."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from synesthete.config import ConfigError

Shape = tuple[int, int, int]


class DeckEncoder(nn.Sequential):
    """The deck's audio encoder (slide "VAE"): [B, 1, 48, 48] -> float32[B, 512].

    Convolutions without padding (48 -> 23 -> 10, 12,800 features), then two fully connected
    layers; `features` is the width of what comes out.
    """

    def __init__(self, shape: Shape) -> None:
        self.features = 512
        channels, height, width = shape
        flat = 128 * (((height - 4) // 2 + 1 - 4) // 2 + 1) * (((width - 4) // 2 + 1 - 4) // 2 + 1)
        super().__init__(
            nn.Conv2d(channels, 64, 4, stride=2), nn.ReLU(),
            nn.Conv2d(64, 128, 4, stride=2), nn.ReLU(),
            nn.Flatten(),
            nn.Linear(flat, 1024), nn.ReLU(),
            nn.Linear(1024, 512), nn.ReLU(),
        )  # fmt: skip


class DeckDecoder(nn.Sequential):
    """The deck's image decoder (slide "VAE"): latent [B, L] -> image logits [B, C, H, W].

    Three fully connected layers to 128 maps of a quarter of the image, then two transposed
    convolutions 4x4, stride 2, padding 1 (7 -> 14 -> 28). The sigmoid belongs to the loss.
    """

    def __init__(self, latent: int, shape: Shape) -> None:
        channels, height, width = shape
        super().__init__(
            nn.Linear(latent, 512), nn.ReLU(),
            nn.Linear(512, 1024), nn.ReLU(),
            nn.Linear(1024, 128 * (height // 4) * (width // 4)),
            nn.Unflatten(1, (128, height // 4, width // 4)),
            nn.ConvTranspose2d(128, 64, 4, stride=2, padding=1), nn.ReLU(),
            nn.ConvTranspose2d(64, channels, 4, stride=2, padding=1),
        )  # fmt: skip


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


class ConvEncoder(nn.Sequential):
    """A small normalised convolutional encoder: [B, 1, bands, columns] -> float32[B, features].

    Four convolutions, the first three halving the picture, batch-normalised; then 3x3 average
    pooling, which forgets small shifts in time and pitch but keeps what comes first and last.
    """

    def __init__(self, shape: Shape, width: int = 32, dropout: float = 0.0) -> None:
        channels = (shape[0], width, 2 * width, 4 * width, 4 * width)
        self.features = 9 * channels[-1]
        layers: list[nn.Module] = []
        for before, after, kernel, stride in zip(
            channels, channels[1:], (5, 3, 3, 3), (2, 2, 2, 1), strict=False
        ):
            convolution = nn.Conv2d(before, after, kernel, stride, kernel // 2, bias=False)
            layers += [convolution, nn.BatchNorm2d(after), nn.ReLU()]
        super().__init__(*layers, nn.AdaptiveAvgPool2d(3), nn.Flatten(), nn.Dropout(dropout))


class DenseDecoder(nn.Sequential):
    """Codes [B, L] -> image logits [B, C, H, W] by one hidden layer: enough for archetypes."""

    def __init__(self, latent: int, shape: Shape, hidden: int = 512) -> None:
        super().__init__(
            nn.BatchNorm1d(latent),
            nn.Linear(latent, hidden), nn.ReLU(),
            nn.Linear(hidden, math.prod(shape)),
            nn.Unflatten(1, shape),
        )  # fmt: skip


def _bernoulli(logits: Tensor, target: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits, target, reduction="none")


def _gaussian(logits: Tensor, target: Tensor) -> Tensor:
    return (torch.sigmoid(logits) - target).square() / 2


DENSITIES = {"bernoulli": _bernoulli, "gaussian": _gaussian}
"""The decoder's negative log-density of a pixel, up to a constant: cross-entropy of the logit
against a target in 0..1 (affine in the target), or half the squared error of its sigmoid (unit
variance; quadratic in the target)."""


def reconstruction_loss(kind: str, logits: Tensor, target: Tensor) -> Tensor:
    """Negative log-density [I] of images [I, C, H, W], summed over an image's pixels.

    Raises:
        ConfigError: `kind` is none of `DENSITIES`.
    """
    if kind not in DENSITIES:
        raise ConfigError(f"no reconstruction '{kind}'; there are: {', '.join(DENSITIES)}")
    return DENSITIES[kind](logits, target).flatten(1).sum(1)
