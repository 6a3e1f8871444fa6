"""The variational autoencoder of images (Kingma and Welling 2014)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from synesthete.data.batches import Batch
from synesthete.family import ImageModel, Losses, Shapes
from synesthete.losses import kl_divergence, reconstruction_loss
from synesthete.nets import ConvDecoder, ImageEncoder


@dataclass(frozen=True)
class Config:
    """The image autoencoder's encoder and decoder around a Gaussian code."""

    latent: int = 32
    """Length of z."""
    beta: float = 1.0
    """Weight of the KL divergence (Kingma and Welling 2014: 1)."""
    encoder_width: int = 16
    """Channels of the encoder's first layer; the last has four times as many."""
    decoder_width: int = 32
    """Channels of the decoder's last layer but one; the one before has twice as many."""
    reconstruction: str = "bernoulli"
    """The decoder's density: `"bernoulli"` or `"gaussian"`; summed over pixels."""


class Model(ImageModel):
    """p(image | z), q(z | image), and N(0, I) for z."""

    phases: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "all": ("encoder", "mean", "log_variance", "decoder")
    }

    def __init__(self, config: Config, shapes: Shapes) -> None:
        super().__init__()
        self.config = config
        self.noise_size = config.latent
        self.encoder = ImageEncoder(shapes.image, config.encoder_width)
        self.mean = nn.Linear(self.encoder.features, config.latent)
        self.log_variance = nn.Linear(self.encoder.features, config.latent)
        self.decoder = ConvDecoder(config.latent, shapes.image, config.decoder_width)

    def posterior(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of q(z | image), each float32[B, latent]."""
        features = self.encoder(image)
        return self.mean(features), self.log_variance(features)

    def draw(self, noise: Tensor) -> Tensor:
        """The decoder's mean image at z = noise, a draw from the prior."""
        return torch.sigmoid(self.decoder(noise))

    def reconstruct(self, image: Tensor) -> Tensor:
        """The decoder's mean image at the posterior's mean."""
        return self.draw(self.posterior(image)[0])

    def losses(self, batch: Batch, phase: str, rng: torch.Generator) -> Losses:
        """The negative evidence lower bound, in nats an image (Kingma and Welling 2014, eq. 10)."""
        mean, log_variance = self.posterior(batch.image)
        noise = torch.randn(mean.shape, generator=rng).to(mean)
        logits = self.decoder(mean + (log_variance / 2).exp() * noise)
        loss = reconstruction_loss(self.config.reconstruction, logits, batch.image)
        reconstruction = (batch.weight * loss).mean()
        kl = (batch.weight * kl_divergence(mean, log_variance)).mean()
        return {
            "loss": reconstruction + self.config.beta * kl,
            "reconstruction": reconstruction,
            "kl": kl,
        }
