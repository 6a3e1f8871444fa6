"""Cross-modal retrieval: sounds and images in one space, where what belongs together is near."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from synesthete.data.batches import Batch
from synesthete.family import Losses, Matcher, Shapes
from synesthete.losses import contrastive_loss
from synesthete.nets import ConvEncoder, ImageEncoder


@dataclass(frozen=True)
class Config:
    """AVE-Net (Arandjelovic and Zisserman 2018, "Objects that Sound"), on all pairs of a batch."""

    embedding: int = 128
    """Length of the vectors, which have norm 1."""
    width: int = 32
    """Channels of each encoder's first layer; the last has four times as many."""
    dropout: float = 0.0
    """Share of the audio encoder's features dropped while training."""
    contrastive: float = 0.0
    """Weight of the contrastive loss (InfoNCE, both ways), added to the logistic one."""


class Unit(nn.Module):
    """Scale vectors to norm 1."""

    def forward(self, x: Tensor) -> Tensor:
        """[B, E] -> [B, E]."""
        return F.normalize(x, dim=1)


class Distance(nn.Module):
    """The whole head: a logit that falls with the distance, logit = bias - scale * distance."""

    def __init__(self) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor(math.log(10.0)))
        self.bias = nn.Parameter(torch.tensor(10.0))

    def forward(self, distance: Tensor) -> Tensor:
        """Distances -> logits of the same shape; the scale stays positive."""
        return self.bias - self.log_scale.exp() * distance


class Model(Matcher):
    """Two vectors of norm 1; the nearer they are, the likelier they belong together."""

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
        for encoder in (self.audio_encoder, self.image_encoder):
            encoder.append(Unit())
        self.head = Distance()

    def match(self, audio: Tensor, image: Tensor) -> Tensor:
        """Logits of the Euclidean distances."""
        exact = "donot_use_mm_for_euclid_dist"  # a matrix product would cancel at small distances
        logits: Tensor = self.head(torch.cdist(audio, image, compute_mode=exact))
        return logits

    def losses(self, batch: Batch, phase: str, rng: torch.Generator) -> Losses:
        """The logistic loss over every pair of the batch, and the contrastive one if it weighs."""
        logits = self.score(batch.audio, batch.image)
        logistic = logistic_loss(logits, batch.audio_of, batch.weight)
        if not self.config.contrastive:
            return {"loss": logistic}
        contrastive = contrastive_loss(logits, batch.audio_of, batch.weight)
        loss = logistic + self.config.contrastive * contrastive
        return {"loss": loss, "logistic": logistic, "contrastive": contrastive}


def logistic_loss(logits: Tensor, audio_of: Tensor, weight: Tensor) -> Tensor:
    """Binary cross-entropy of logits [A, I]; edges together weigh as much as all other pairs.

    Image i is on an edge with recording `audio_of[i]`, int64[I], and counts `weight[i]`.
    """
    on_edge = F.one_hot(audio_of, len(logits)).T
    loss = torch.where(on_edge == 1, F.softplus(-logits), F.softplus(logits))
    matching, mismatched = (
        (share * loss).sum() / share.sum().clamp(min=1e-9)
        for share in (weight * on_edge, weight * (1 - on_edge))
    )
    return (matching + mismatched) / 2
