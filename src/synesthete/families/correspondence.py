"""Audio-visual correspondence: do this sound and this image belong together?"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from synesthete.data.batches import Batch
from synesthete.family import Losses, Matcher, Shapes
from synesthete.nets import ConvEncoder, ImageEncoder


@dataclass(frozen=True)
class Config:
    """Two encoders, a fusion head (Arandjelovic and Zisserman 2017, "Look, Listen and Learn")."""

    embedding: int = 128
    """Length of what each encoder gives."""
    hidden: int = 128
    """Width of the fusion head's hidden layer."""
    width: int = 32
    """Channels of each encoder's first layer; the last has four times as many."""
    dropout: float = 0.0
    """Share of the audio encoder's features dropped while training."""


class Model(Matcher):
    """Both embeddings side by side -> FC, ReLU, FC -> the logit that they belong together."""

    phases: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "all": ("audio_encoder", "image_encoder", "head")
    }

    def __init__(self, config: Config, shapes: Shapes) -> None:
        super().__init__()
        self.config = config
        audio = ConvEncoder(shapes.audio, config.width, config.dropout)
        image = ImageEncoder(shapes.image, config.width)
        self.audio_encoder = audio.append(nn.Linear(audio.features, config.embedding))
        self.image_encoder = image.append(nn.Linear(image.features, config.embedding))
        self.head = nn.Sequential(
            nn.Linear(2 * config.embedding, config.hidden), nn.ReLU(),
            nn.Linear(config.hidden, 1),
        )  # fmt: skip

    def match(self, audio: Tensor, image: Tensor) -> Tensor:
        """The head on every pair; its first layer, being linear, is taken once an item."""
        first, last = self.head[0], self.head[2]
        assert isinstance(first, nn.Linear)
        to_audio, to_image = first.weight.chunk(2, dim=1)
        hidden = F.linear(audio, to_audio)[:, None] + F.linear(image, to_image, first.bias)
        logits: Tensor = last(hidden.relu()).squeeze(-1)
        return logits

    def losses(self, batch: Batch, phase: str, rng: torch.Generator) -> Losses:
        """Binary cross-entropy of the batch's edges, and of as many pairs drawn off them."""
        heard = self.embed_audio(batch.audio)[batch.audio_of]
        seen = self.embed_image(batch.image)
        others = torch.randperm(len(seen), generator=rng)
        wrong = batch.audio_of[others] != batch.audio_of  # the others are on an edge
        matching = _mean(F.softplus(-self._logits(heard, seen)), batch.weight)
        mismatched = _mean(F.softplus(self._logits(heard, seen[others])), batch.weight * wrong)
        loss = (matching + mismatched) / 2
        return {"loss": loss, "matching": matching, "mismatched": mismatched}

    def _logits(self, audio: Tensor, image: Tensor) -> Tensor:
        """The head on pairs of embeddings [N, E] and [N, E] -> [N]."""
        logits: Tensor = self.head(torch.cat([audio, image], dim=1)).squeeze(1)
        return logits


def _mean(values: Tensor, weight: Tensor) -> Tensor:
    """Weighted mean [N] -> []; 0 where nothing has weight (a batch of one recording)."""
    return (weight * values).sum() / weight.sum().clamp(min=1e-9)
