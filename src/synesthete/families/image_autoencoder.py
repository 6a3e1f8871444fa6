"""The autoencoder of images: what a narrow code keeps of an image, and what it makes of noise."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from synesthete.data.batches import Batch
from synesthete.family import ImageModel, Losses, Shapes
from synesthete.losses import reconstruction_loss
from synesthete.nets import ConvDecoder, ImageEncoder


@dataclass(frozen=True)
class Config:
    """A small convolutional encoder and decoder around a linear code."""

    code: int = 64
    """Length of the code."""
    encoder_width: int = 16
    """Channels of the encoder's first layer; the last has four times as many."""
    decoder_width: int = 32
    """Channels of the decoder's last layer but one; the one before has twice as many."""
    reconstruction: str = "bernoulli"
    """The decoder's density: `"bernoulli"` or `"gaussian"`; summed over pixels."""


class Model(ImageModel):
    """Image -> standardised code -> image.

    Each entry of the code has mean 0 and variance 1 over the data, so that drawing it from
    N(0, I) is a fair try: what goes wrong then is that the entries depend on each other, which
    nothing here forbids. The VAE is the remedy.
    """

    phases: ClassVar[Mapping[str, tuple[str, ...]]] = {"all": ("encoder", "head", "decoder")}

    def __init__(self, config: Config, shapes: Shapes) -> None:
        super().__init__()
        self.config = config
        self.noise_size = config.code
        self.encoder = ImageEncoder(shapes.image, config.encoder_width)
        self.head = nn.Linear(self.encoder.features, config.code)
        self.standardise = nn.BatchNorm1d(config.code, affine=False)
        self.decoder = ConvDecoder(config.code, shapes.image, config.decoder_width)

    def code(self, image: Tensor) -> Tensor:
        """Images [B, C, H, W] -> standardised codes float32[B, code]."""
        code: Tensor = self.standardise(self.head(self.encoder(image)))
        return code

    def draw(self, noise: Tensor) -> Tensor:
        """The image of the code `noise`."""
        return torch.sigmoid(self.decoder(noise))

    def reconstruct(self, image: Tensor) -> Tensor:
        """The image of an image's own code."""
        return self.draw(self.code(image))

    def losses(self, batch: Batch, phase: str, rng: torch.Generator) -> Losses:
        """Reconstruction loss, in nats an image."""
        logits = self.decoder(self.code(batch.image))
        loss = reconstruction_loss(self.config.reconstruction, logits, batch.image)
        return {"loss": (batch.weight * loss).mean()}
