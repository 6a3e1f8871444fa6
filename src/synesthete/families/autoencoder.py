"""The deterministic audio-image autoencoder: one recording, one image."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from synesthete.config import ConfigError
from synesthete.data.batches import Batch
from synesthete.deck import DeckDecoder, DeckEncoder
from synesthete.family import Generator, Losses, Shapes
from synesthete.losses import contrastive_loss, exact, reconstruction_loss
from synesthete.nets import (
    ConvEncoder,
    DenseDecoder,
    ImageEncoder,
    Memory,
    ResidualEncoder,
    Shape,
)


@dataclass(frozen=True)
class Config:
    """An encoder, a narrow linear code, a decoder."""

    body: str = "small"
    """`"small"`: a normalised convolutional encoder and a light decoder. `"residual"`: the same
    with residual blocks in the encoder. `"deck"`: the encoder and the decoder of the deck's VAE, of
    which this is then the deterministic counterpart."""
    code: int = 64
    """Length of the code between encoder and decoder."""
    width: int = 32
    """Channels of the encoder's first layer, small or residual; the last has four times as many."""
    dropout: float = 0.0
    """Share of that encoder's features dropped while training."""
    normalise: bool = False
    """Give that encoder each band less its mean over time, at unit variance."""
    reconstruction: str = "bernoulli"
    """The decoder's density: `"bernoulli"` or `"gaussian"`; summed over pixels."""
    contrastive: float = 0.0
    """Weight of the contrastive loss (InfoNCE, both ways) of the code and an embedding of the
    image, which nothing else reads, added to the reconstruction loss."""
    memory: int = 0
    """Codes of training recordings that are kept for drawing, which then recalls the most alike
    (`nets.Memory`); 0: an image is drawn from the code as it is."""
    sharpness: float = 50.0
    """How much more the most alike weigh there."""


Encoder = ConvEncoder | ResidualEncoder | DeckEncoder
Decoder = DenseDecoder | DeckDecoder

BODIES: Mapping[str, tuple[Callable[[Config, Shape], Encoder], Callable[[int, Shape], Decoder]]] = {
    "small": (lambda c, shape: ConvEncoder(shape, c.width, c.dropout, c.normalise), DenseDecoder),
    "residual": (
        lambda c, shape: ResidualEncoder(shape, c.width, c.dropout, c.normalise),
        DenseDecoder,
    ),
    "deck": (lambda _, shape: DeckEncoder(shape), DeckDecoder),
}
"""What makes the encoder and the decoder of each body."""

TEMPERATURE = 0.1
"""Of the contrastive loss: what the cosines are divided by (Chen et al. 2020, "SimCLR")."""


class Model(Generator):
    """Audio -> code -> the mean of the images that it is seen with."""

    phases: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "all": ("encoder", "head", "decoder", "image_encoder")
    }
    noise_size = 0

    def __init__(self, config: Config, shapes: Shapes) -> None:
        super().__init__()
        self.config = config
        if config.body not in BODIES:
            raise ConfigError(f"no body '{config.body}'; there are: {', '.join(BODIES)}")
        encoder, decoder = BODIES[config.body]
        self.encoder = encoder(config, shapes.audio)
        self.head = nn.Linear(self.encoder.features, config.code)
        self.decoder = decoder(config.code, shapes.image)
        self.image_encoder = nn.Sequential()
        if config.contrastive:
            image = ImageEncoder(shapes.image, config.width)
            self.image_encoder = image.append(nn.Linear(image.features, config.code))
        self.memory = Memory(config.memory, config.code, config.sharpness)

    def encode(self, audio: Tensor) -> Tensor:
        """The code, float32[B, code]; with a memory, recalled."""
        code: Tensor = self.memory(self._code(audio))
        return code

    def embed(self, audio: Tensor) -> Tensor:
        """The code, not recalled."""
        return self._code(audio)

    def finish(self, recordings: Iterable[Tensor]) -> None:
        """Remember the codes of recordings, if there is a memory."""
        self.memory.fill(self._code, recordings)

    def _code(self, audio: Tensor) -> Tensor:
        code: Tensor = self.head(self.encoder(audio))
        return code

    def decode(self, code: Tensor, noise: Tensor, diversity: float = 1.0) -> Tensor:
        """The image of a code; there is no noise to use."""
        return torch.sigmoid(self.decoder(code))

    def losses(self, batch: Batch, phase: str, rng: torch.Generator) -> Losses:
        """Reconstruction loss, in nats an image, and the contrastive one if it weighs."""
        code = self._code(batch.audio)
        logits = self.decoder(code[batch.audio_of])
        loss = reconstruction_loss(self.config.reconstruction, logits, batch.image)
        reconstruction = (batch.weight * loss).mean()
        if not self.config.contrastive:
            return {"loss": reconstruction}
        heard, seen = (
            F.normalize(exact(x), dim=1) for x in (code, self.image_encoder(batch.image))
        )
        contrastive = contrastive_loss(heard @ seen.T / TEMPERATURE, batch.audio_of, batch.weight)
        total = reconstruction + self.config.contrastive * contrastive
        return {"loss": total, "reconstruction": reconstruction, "contrastive": contrastive}
