"""Encoders and decoders that the families share."""

import itertools
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


class DeckGanEncoder(nn.Sequential):
    """The deck's second audio encoder (slide "VAE-GAN"): [B, 1, 48, 48] -> maps [B, 512, 4, 4].

    Three convolutions 4x4, stride 2, without padding and without biases (48 -> 23 -> 10 -> 4),
    each batch-normalised, with LeakyReLU(0.2). `left` is the size of what comes out.
    """

    def __init__(self, shape: Shape) -> None:
        channels = (shape[0], 128, 256, 512)
        self.left = (_unpadded(shape[1]), _unpadded(shape[2]))
        layers: list[nn.Module] = []
        for before, after in itertools.pairwise(channels):
            convolution = nn.Conv2d(before, after, 4, stride=2, bias=False)
            layers += [convolution, nn.BatchNorm2d(after), nn.LeakyReLU(0.2)]
        super().__init__(*layers)


class ProductUpconv(nn.ConvTranspose2d):
    """A transposed convolution without padding, as one matrix product whose columns are folded.

    The same function. On small pictures (1x1, 3x3) with overlapping kernels a training step is
    twice as fast on CPUs, in bfloat16, and 1.3 times in float32.
    """

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        """[B, C, H, W] -> [B, out_channels, stride · (H - 1) + kernel, …]."""
        count, channels, *sides = x.shape
        pixels = x.flatten(2).transpose(1, 2).reshape(-1, channels)
        columns = (pixels @ self.weight.flatten(1)).view(count, math.prod(sides), -1)
        (high, wide), (down, across) = self.kernel_size, self.stride
        size = (down * (sides[0] - 1) + high, across * (sides[1] - 1) + wide)
        maps = F.fold(columns.transpose(1, 2), size, (high, wide), stride=(down, across))
        if self.bias is not None:
            maps = maps + self.bias.view(1, -1, 1, 1).to(maps.dtype)
        return maps.contiguous(memory_format=torch.channels_last)


class DeckGanDecoder(nn.Sequential):
    """The deck's second image decoder (slide "VAE-GAN"): latent [B, L] -> logits [B, C, H, W].

    Four transposed convolutions of stride 2 (1 -> 3 -> 7 -> 14 -> 28; kernels 3, 3, 2, 2), with
    biases, each batch-normalised, the last one too; other images widen the second kernel. The
    output's batch norm begins with scale 4 and shift -3, at logits of bright strokes on a dark
    ground: from 1 and 0, Adam at 2e-4 would be thousands of steps on the way.
    """

    def __init__(self, latent: int, shape: Shape) -> None:
        channels, height, width = shape
        if height % 4 or width % 4 or min(height, width) < 20:
            raise ConfigError(f"images of {height}x{width}: wanted multiples of 4, 20 or more")
        sizes = ((3, 3), (height // 4 - 4, width // 4 - 4), (2, 2), (2, 2))
        layers: list[nn.Module] = [nn.Unflatten(1, (latent, 1, 1))]
        for before, after, kernel in zip(
            (latent, 512, 256, 128), (512, 256, 128, channels), sizes, strict=True
        ):
            overlapping = max(kernel) > 2  # the stride
            kind = ProductUpconv if overlapping else nn.ConvTranspose2d
            convolution = kind(before, after, kernel, stride=2)
            layers += [convolution, nn.BatchNorm2d(after), nn.ReLU()]
        super().__init__(*layers[:-1])
        output = layers[-2]
        assert isinstance(output, nn.BatchNorm2d)
        nn.init.constant_(output.weight, 4.0)
        nn.init.constant_(output.bias, -3.0)


class DeckDiscriminator(nn.Module):
    """The deck's discriminator (slide "VAE-GAN"): images [B, C, H, W] -> logits [B].

    Three convolutions 4x4, stride 2, without padding (28 -> 13 -> 5 -> 1) and one 1x1, with
    biases, each batch-normalised, the last one too; larger images average their logits.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in itertools.pairwise((shape[0], 128, 256, 512)):
            convolution = nn.Conv2d(before, after, 4, stride=2)
            layers += [convolution, nn.BatchNorm2d(after), nn.LeakyReLU(0.2)]
        self.layers = nn.Sequential(*layers, nn.Conv2d(512, 1, 1))
        self.output = nn.BatchNorm2d(1)

    def tell(self, real: Tensor, drawn: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of real and of drawn images, the output normalised over both.

        Each apart, they would come out with the same mean, whatever they look like.
        """
        maps = torch.cat([self.layers(real), self.layers(drawn)])
        logits: Tensor = self.output(maps).mean((1, 2, 3))
        return logits[: len(real)], logits[len(real) :]

    def forward(self, images: Tensor) -> Tensor:
        """Logits on the scale that `tell` left: the output's running averages.

        Over a batch of its own, all that pushes every drawn image towards the real ones would
        cancel in the normalisation.
        """
        norm = self.output
        maps = F.batch_norm(
            self.layers(images), norm.running_mean, norm.running_var, norm.weight, norm.bias,
            training=False, eps=norm.eps,
        )  # fmt: skip
        return maps.mean((1, 2, 3))


def _unpadded(size: int) -> int:
    """What three convolutions 4x4 of stride 2 leave of a side.

    Raises:
        ConfigError: nothing is left.
    """
    left = size
    for _ in range(3):
        left = (left - 4) // 2 + 1
    if left < 1:
        raise ConfigError(f"spectrograms with a side of {size}: wanted 22 or more")
    return left


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


class ImageEncoder(nn.Sequential):
    """A small normalised convolutional encoder of images: [B, C, H, W] -> float32[B, features].

    Four convolutions, the second and third halving the picture, batch-normalised, then 3x3 average
    pooling; `ConvEncoder` is its counterpart for sound.
    """

    def __init__(self, shape: Shape, width: int = 32) -> None:
        channels = (shape[0], width, 2 * width, 4 * width, 4 * width)
        self.features = 9 * channels[-1]
        layers: list[nn.Module] = []
        for before, after, stride in zip(channels, channels[1:], (1, 2, 2, 1), strict=False):
            convolution = nn.Conv2d(before, after, 3, stride, 1, bias=False)
            layers += [convolution, nn.BatchNorm2d(after), nn.ReLU()]
        super().__init__(*layers, nn.AdaptiveAvgPool2d(3), nn.Flatten())


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


def he_initialised(layer: nn.Module) -> None:
    """Initialise a convolution or linear layer for ReLUs (He et al. 2015), uniformly, biases 0."""
    if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
        nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu")
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


def _bernoulli(logits: Tensor, target: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits, target, reduction="none")


def _gaussian(logits: Tensor, target: Tensor) -> Tensor:
    return (torch.sigmoid(logits) - target).square() / 2


def _squared(logits: Tensor, target: Tensor) -> Tensor:
    return 2 * _gaussian(logits, target)


DENSITIES = {"bernoulli": _bernoulli, "gaussian": _gaussian, "squared": _squared}
"""The decoder's negative log-density of a pixel, up to a constant: cross-entropy of the logit
against a target in 0..1 (affine in the target), half the squared error of its sigmoid (unit
variance; quadratic in the target), or the squared error (variance 1/2)."""

REDUCTIONS = {"sum": torch.sum, "mean": torch.mean}
"""How the densities of an image's pixels become one number."""


def kl_divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL divergence [B] of N(mean, exp(log_variance)) from N(0, 1), [B, L] each, summed over L."""
    mean, log_variance = exact(mean), exact(log_variance)
    return (mean.square() + log_variance.exp() - 1 - log_variance).sum(1) / 2


def reconstruction_loss(
    kind: str, logits: Tensor, target: Tensor, reduction: str = "sum"
) -> Tensor:
    """Negative log-density [I] of images [I, C, H, W], summed or averaged over an image's pixels.

    Raises:
        ConfigError: `kind` is none of `DENSITIES`, or `reduction` none of `REDUCTIONS`.
    """
    if kind not in DENSITIES:
        raise ConfigError(f"no reconstruction '{kind}'; there are: {', '.join(DENSITIES)}")
    if reduction not in REDUCTIONS:
        raise ConfigError(f"no reduction '{reduction}'; there are: {', '.join(REDUCTIONS)}")
    return REDUCTIONS[reduction](DENSITIES[kind](exact(logits), target).flatten(1), 1)


def exact(x: Tensor) -> Tensor:
    """`x` in float32 where mixed precision gave bfloat16, whose 8 bits are too few for a loss."""
    return x.float() if x.dtype == torch.bfloat16 else x


def discriminator_loss(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """-log D(real) - log(1 - D(fake)), each averaged over its logits (Goodfellow et al. 2014)."""
    return F.softplus(-exact(real_logits)).mean() + F.softplus(exact(fake_logits)).mean()


def generator_loss(fake_logits: Tensor, saturating: bool = False) -> Tensor:
    """-log D(fake), averaged; saturating, log(1 - D(fake)), the minimax game's own."""
    logits = exact(fake_logits)
    return -F.softplus(logits).mean() if saturating else F.softplus(-logits).mean()
