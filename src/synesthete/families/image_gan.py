"""The generative adversarial network of images (Goodfellow et al. 2014), in convolutions."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from synesthete.data.batches import Batch
from synesthete.family import ImageModel, Losses, Shapes
from synesthete.losses import discriminator_loss, generator_loss
from synesthete.nets import ConvDecoder, Shape


@dataclass(frozen=True)
class Config:
    """A small DCGAN (Radford et al. 2016); the generator is the image autoencoder's decoder."""

    latent: int = 64
    """Length of the noise that an image is drawn from."""
    generator_width: int = 32
    """Channels of the generator's last layer but one; the one before has twice as many."""
    discriminator_width: int = 32
    """Channels of the discriminator's first layer; the second has twice as many."""
    saturating: bool = False
    """Let the generator minimise log(1 - D(G(z))), the minimax game's own loss, whose gradient
    vanishes while the discriminator wins; off, it minimises -log D(G(z))."""


class Discriminator(nn.Sequential):
    """Images [B, C, H, W] -> logits [B, 1] that they are real, by two halving convolutions."""

    def __init__(self, shape: Shape, width: int) -> None:
        channels, height, width_of_image = shape
        super().__init__(
            nn.Conv2d(channels, width, 4, stride=2, padding=1), nn.LeakyReLU(0.2),
            nn.Conv2d(width, 2 * width, 4, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(2 * width), nn.LeakyReLU(0.2),
            nn.Flatten(),
            nn.Linear(2 * width * (height // 4) * (width_of_image // 4), 1),
        )  # fmt: skip


class Model(ImageModel):
    """A generator that learns from a discriminator what images look like; nothing encodes."""

    phases: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "discriminator": ("discriminator",),
        "generator": ("generator",),
    }

    def __init__(self, config: Config, shapes: Shapes) -> None:
        super().__init__()
        self.config = config
        self.noise_size = config.latent
        self.generator = ConvDecoder(config.latent, shapes.image, config.generator_width)
        self.discriminator = Discriminator(shapes.image, config.discriminator_width)

    def draw(self, noise: Tensor) -> Tensor:
        """What the generator makes of noise."""
        return torch.sigmoid(self.generator(noise))

    def losses(self, batch: Batch, phase: str, rng: torch.Generator) -> Losses:
        """The discriminator's or the generator's side of the game; as many drawn as real.

        Training on mean images would teach it means: the objective is `"pairs"`.
        """
        noise = torch.randn((len(batch.image), self.noise_size), generator=rng).to(batch.image)
        if phase == "generator":
            drawn = self.discriminator(self.draw(noise))
            return {"loss": generator_loss(drawn, self.config.saturating)}
        with torch.no_grad():
            fake = self.draw(noise)
        real, drawn = self.discriminator(batch.image), self.discriminator(fake)
        return {
            "loss": discriminator_loss(real, drawn),
            "real": torch.sigmoid(real).mean(),
            "drawn": torch.sigmoid(drawn).mean(),
        }
