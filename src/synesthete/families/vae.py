"""The audio-image variational autoencoder: hear a recording, draw what it is seen with."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from synesthete.config import ConfigError
from synesthete.data.batches import Batch
from synesthete.deck import DeckDecoder, DeckEncoder, he_initialised
from synesthete.family import Generator, Losses, Shapes
from synesthete.losses import kl_divergence, reconstruction_loss


@dataclass(frozen=True)
class Config:
    """The deck's VAE (slides "VAE", "VAE Training"): 20,950,529 parameters as it stands."""

    latent: int = 64
    """Length of z."""
    beta: float = 1.0
    """Weight of the KL divergence (Kingma and Welling 2014: 1)."""
    reconstruction: str = "bernoulli"
    """The decoder's density: `"bernoulli"` or `"gaussian"`."""
    reduction: str = "sum"
    """Over an image's pixels, in the reconstruction loss: `"sum"`, the evidence bound, or `"mean"`,
    a reading that the deck leaves open. The KL divergence stays summed over z, so the latter has
    the minimum of the former with `beta` times the number of pixels."""
    initialisation: str = "he"
    """Of the weights, which the deck leaves open: `"he"` (He et al. 2015, eq. 10; biases 0) or
    `"torch"`, PyTorch's default, whose weights are 2.4 times smaller. Five layers of those tell
    the decoder so little of the sound that the KL divergence wins: on pairs the posterior
    collapses for more than the first thousand steps."""
    relu_heads: bool = False
    """Read "μ, σ: FC 64, ReLU" literally: a ReLU on both heads, σ itself (plus 0.001, or its
    logarithm would be infinite) coming out of the second. Off, the heads are linear and the
    second gives log σ²."""


INITIALISATIONS = ("he", "torch")


class Model(Generator):
    """p(image | z), q(z | audio): the posterior looks at the sound alone."""

    phases: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "all": ("encoder", "mean", "spread", "decoder")
    }

    def __init__(self, config: Config, shapes: Shapes) -> None:
        super().__init__()
        self.config = config
        self.noise_size = config.latent
        self.encoder = DeckEncoder(shapes.audio)
        self.mean = nn.Linear(self.encoder.features, config.latent)
        self.spread = nn.Linear(self.encoder.features, config.latent)
        self.decoder = DeckDecoder(config.latent, shapes.image)
        if config.initialisation not in INITIALISATIONS:
            known = ", ".join(INITIALISATIONS)
            raise ConfigError(f"no initialisation '{config.initialisation}'; there are: {known}")
        if config.initialisation == "he":
            self.apply(he_initialised)

    def posterior(self, audio: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of q(z | audio), each float32[B, latent]."""
        features = self.encoder(audio)
        mean, spread = self.mean(features), self.spread(features)
        if self.config.relu_heads:
            return mean.relu(), 2 * (spread.relu() + 1e-3).log()
        return mean, spread

    def encode(self, audio: Tensor) -> Tensor:
        """Mean and log-variance side by side, float32[B, 2 · latent]."""
        return torch.cat(self.posterior(audio), dim=1)

    def embed(self, audio: Tensor) -> Tensor:
        """The posterior's mean, float32[B, latent]."""
        return self.posterior(audio)[0]

    def decode(self, code: Tensor, noise: Tensor, diversity: float = 1.0) -> Tensor:
        """The decoder's mean image at z = μ + diversity·σ·noise."""
        return torch.sigmoid(self._logits(code, diversity * noise))

    def _logits(self, code: Tensor, noise: Tensor) -> Tensor:
        mean, log_variance = code.chunk(2, dim=1)
        logits: Tensor = self.decoder(mean + (log_variance / 2).exp() * noise)
        return logits

    def losses(self, batch: Batch, phase: str, rng: torch.Generator) -> Losses:
        """The negative evidence lower bound, in nats an image (Kingma and Welling 2014, eq. 10)."""
        code = self.encode(batch.audio)[batch.audio_of]
        noise = torch.randn((len(code), self.noise_size), generator=rng, dtype=code.dtype)
        return self.objective(code, self._logits(code, noise), batch)

    def objective(self, code: Tensor, logits: Tensor, batch: Batch) -> Losses:
        """Reconstruction loss and KL divergence, weighted, averaged over the batch's images."""
        mean, log_variance = code.chunk(2, dim=1)
        config = self.config
        loss = reconstruction_loss(config.reconstruction, logits, batch.image, config.reduction)
        reconstruction = (batch.weight * loss).mean()
        kl = (batch.weight * kl_divergence(mean, log_variance)).mean()
        return {
            "loss": reconstruction + config.beta * kl,
            "reconstruction": reconstruction,
            "kl": kl,
        }
