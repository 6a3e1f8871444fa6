"""The VAE-GAN: hear a recording, draw an image that passes for a real one."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from synesthete.config import ConfigError
from synesthete.data.batches import Batch
from synesthete.deck import DeckDiscriminator, DeckGanDecoder, DeckGanEncoder
from synesthete.family import Generator, Losses, Shapes
from synesthete.losses import (
    discriminator_loss,
    exact,
    generator_loss,
    kl_divergence,
    mean_by_recording,
    reconstruction_loss,
)


@dataclass(frozen=True)
class Config:
    """The deck's VAE-GAN (slides "VAE-GAN", "VAE-GAN Training"): 7,909,382 parameters.

    With alpha = 0 it is the deck's plain GAN.
    """

    latent: int = 64
    """Length of z."""
    alpha: float = 0.2
    """Weight of the reconstruction loss."""
    beta: float = 0.5
    """Weight of the KL divergence, averaged over the latents."""
    reconstruction: str = "squared"
    """The decoder's density, one of `losses.DENSITIES`; summed over pixels."""
    compare: str = "means"
    """What the reconstruction loss compares, of each recording in a batch: `"means"`, the mean of
    its drawings with the mean of its images; `"images"`, each drawing with the latter mean. With
    one image a recording both are the deck's. The mean image is all that either can teach; but
    the latter also asks that a recording's drawings be alike, the former almost not (1 / their
    number)."""
    instance_noise: float = 0.0
    """Standard deviation of the noise on all that the discriminator sees (Sønderby et al. 2017).
    Real backgrounds are exactly 0 and no sigmoid is: without noise that alone tells them apart."""
    saturating: bool = False
    """Minimise log(1 - D), as the minimax game is written, instead of -log D."""


COMPARISONS = ("means", "images")


class Model(Generator):
    """p(image | z), q(z | audio), and a critic of what p draws."""

    phases: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "discriminator": ("discriminator",),
        "generator": ("encoder", "mean", "spread", "decoder"),
    }

    def __init__(self, config: Config, shapes: Shapes) -> None:
        super().__init__()
        if config.compare not in COMPARISONS:
            raise ConfigError(f"no compare '{config.compare}'; there are: {', '.join(COMPARISONS)}")
        self.config = config
        self.noise_size = config.latent
        self.encoder = DeckGanEncoder(shapes.audio)
        self.mean = nn.Conv2d(512, config.latent, self.encoder.left, bias=False)
        self.spread = nn.Conv2d(512, config.latent, self.encoder.left, bias=False)
        self.decoder = DeckGanDecoder(config.latent, shapes.image)
        self.discriminator = DeckDiscriminator(shapes.image)

    def encode(self, audio: Tensor) -> Tensor:
        """Mean and log-variance of q(z | audio) side by side, float32[B, 2 · latent]."""
        features = self.encoder(audio)
        return torch.cat([self.mean(features), self.spread(features)], dim=1).flatten(1)

    def embed(self, audio: Tensor) -> Tensor:
        """The posterior's mean, float32[B, latent]."""
        return self.encode(audio)[:, : self.config.latent]

    def decode(self, code: Tensor, noise: Tensor, diversity: float = 1.0) -> Tensor:
        """The decoder's image at z = μ + diversity·σ·noise."""
        return torch.sigmoid(self._logits(code, diversity * noise))

    def _logits(self, code: Tensor, noise: Tensor) -> Tensor:
        mean, log_variance = code.chunk(2, dim=1)
        logits: Tensor = self.decoder(mean + (log_variance / 2).exp() * noise)
        return exact(logits)

    def losses(self, batch: Batch, phase: str, rng: torch.Generator) -> Losses:
        """The deck's objective: adversarial + α·reconstruction + β·KL (slide "VAE-GAN")."""
        code = self.encode(batch.audio)[batch.audio_of]
        noise = torch.randn((len(code), self.noise_size), generator=rng, dtype=code.dtype)
        logits = self._logits(code, noise)
        drawn = self._blur(torch.sigmoid(logits), rng)
        if phase == "discriminator":
            real = self._blur(batch.image, rng)
            return {"loss": discriminator_loss(*self.discriminator.tell(real, drawn))}
        verdict = self.discriminator(drawn)
        adversarial = generator_loss(verdict, self.config.saturating)
        return self.objective(code, logits, adversarial, batch)

    def _blur(self, images: Tensor, rng: torch.Generator) -> Tensor:
        """`images` with the noise through which the discriminator sees them."""
        if not self.config.instance_noise:
            return images
        noise = torch.randn(images.shape, generator=rng).to(images)
        return images + self.config.instance_noise * noise

    def objective(self, code: Tensor, logits: Tensor, adversarial: Tensor, batch: Batch) -> Losses:
        """Adversarial loss, α·reconstruction, β·KL, each averaged over the images.

        An image's reconstruction loss is summed over pixels, its KL averaged over latents.
        """
        groups = batch.audio_of, len(batch.audio)
        target = mean_by_recording(batch.image, *groups)
        if self.config.compare == "means":
            logits = torch.logit(mean_by_recording(torch.sigmoid(logits), *groups), 1e-6)
        loss = reconstruction_loss(self.config.reconstruction, logits, target)
        reconstruction = (batch.weight * loss).mean()
        kl = (batch.weight * kl_divergence(*code.chunk(2, dim=1))).mean() / self.config.latent
        return {
            "loss": adversarial + self.config.alpha * reconstruction + self.config.beta * kl,
            "adversarial": adversarial,
            "reconstruction": reconstruction,
            "kl": kl,
        }
