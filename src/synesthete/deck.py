"""The layers of the deck's networks, as its slides list them."""

import itertools
import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from synesthete.config import ConfigError
from synesthete.nets import Shape, doublings


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

    Three fully connected layers to 128 small maps, then transposed convolutions 4x4, stride 2,
    padding 1: two for the deck's images (7 -> 14 -> 28), more for larger ones, which begin at
    maps as small. The sigmoid belongs to the loss.
    """

    def __init__(self, latent: int, shape: Shape) -> None:
        channels, *sides = shape
        times = doublings(shape)
        small = (128, *(-(-side // 2**times) for side in sides))
        widths = [128] * (times - 1) + [64, channels]
        layers: list[nn.Module] = [
            nn.Linear(latent, 512), nn.ReLU(),
            nn.Linear(512, 1024), nn.ReLU(),
            nn.Linear(1024, math.prod(small)), nn.Unflatten(1, small),
        ]  # fmt: skip
        for before, after in itertools.pairwise(widths):
            layers += [nn.ConvTranspose2d(before, after, 4, stride=2, padding=1), nn.ReLU()]
        super().__init__(*layers[:-1], *cropping(small, times, shape))


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
    biases, each batch-normalised, the last one too; other images change the second kernel, and
    large ones take further doublings. The output's batch norm begins with scale 4 and shift -3, at
    logits of bright strokes on a dark ground: from 1 and 0, Adam at 2e-4 would be thousands of
    steps on the way.
    """

    def __init__(self, latent: int, shape: Shape) -> None:
        channels, *sides = shape
        if min(sides) < 20:
            raise ConfigError(f"images of {sides[0]}x{sides[1]}: wanted 20 or more")
        times = doublings(shape)
        small = (256, *(-(-side // 2**times) for side in sides))
        second = (small[1] - 4, small[2] - 4)
        sizes = ((3, 3), second, *[(2, 2)] * times)
        widths = (latent, 512, 256, *(max(32, 256 >> i) for i in range(1, times)), channels)
        layers: list[nn.Module] = [nn.Unflatten(1, (latent, 1, 1))]
        for before, after, kernel in zip(widths, widths[1:], sizes, strict=False):
            overlapping = max(kernel) > 2  # the stride
            kind = ProductUpconv if overlapping else nn.ConvTranspose2d
            convolution = kind(before, after, kernel, stride=2)
            layers += [convolution, nn.BatchNorm2d(after), nn.ReLU()]
        super().__init__(*layers[:-1], *cropping(small, times, shape))
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


class Crop(nn.Module):
    """Keep the middle of images that came out a little too large."""

    def __init__(self, height: int, width: int) -> None:
        super().__init__()
        self.height, self.width = height, width

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, …, …] -> [B, C, height, width]."""
        top, left = (x.shape[2] - self.height) // 2, (x.shape[3] - self.width) // 2
        return x[:, :, top : top + self.height, left : left + self.width]


def cropping(small: Shape, times: int, shape: Shape) -> list[nn.Module]:
    """What brings maps `small`, doubled `times`, to the size of `shape`: nothing where it fits."""
    fits = all(side << times == wanted for side, wanted in zip(small[1:], shape[1:], strict=True))
    return [] if fits else [Crop(*shape[1:])]


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


def he_initialised(layer: nn.Module) -> None:
    """Initialise a convolution or linear layer for ReLUs (He et al. 2015), uniformly, biases 0."""
    if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
        nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu")
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
