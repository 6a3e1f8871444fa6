"""The losses that the families share."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from synesthete.config import ConfigError


def _bernoulli(logits: Tensor, target: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits, target, reduction="none")


def _squared(logits: Tensor, target: Tensor) -> Tensor:
    return (torch.sigmoid(logits) - target).square()


def _gaussian(logits: Tensor, target: Tensor) -> Tensor:
    return _squared(logits, target) / 2


DENSITIES = {"bernoulli": _bernoulli, "gaussian": _gaussian, "squared": _squared}
"""The decoder's negative log-density of a pixel, up to a constant: cross-entropy of the logit
against a target in 0..1 (affine in the target); half the squared error of its sigmoid (a normal
density of variance 1; quadratic in the target); or the squared error itself (variance 1/2)."""

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


def contrastive_loss(logits: Tensor, audio_of: Tensor, weight: Tensor) -> Tensor:
    """InfoNCE of logits [A, I] both ways (van den Oord et al. 2018, eq. 4), on the graph.

    An edge competes with the pairs that share its image, and with those that share its recording
    but are on no edge: a recording's images do not compete with each other.
    """
    own = torch.arange(len(audio_of), device=logits.device)
    edges = logits[audio_of, own]
    to_audio = logits.logsumexp(dim=0) - edges
    rivals = logits.masked_fill(F.one_hot(audio_of, len(logits)).T == 1, -math.inf)[audio_of]
    to_image = torch.cat([edges[:, None], rivals], dim=1).logsumexp(dim=1) - edges
    return (weight * (to_audio + to_image)).mean() / 2


def discriminator_loss(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """-log D(real) - log(1 - D(fake)), each averaged over its logits (Goodfellow et al. 2014)."""
    return F.softplus(-exact(real_logits)).mean() + F.softplus(exact(fake_logits)).mean()


def generator_loss(fake_logits: Tensor, saturating: bool = False) -> Tensor:
    """-log D(fake), averaged; saturating, log(1 - D(fake)), the minimax game's own."""
    logits = exact(fake_logits)
    return -F.softplus(logits).mean() if saturating else F.softplus(-logits).mean()


def mean_by_recording(images: Tensor, audio_of: Tensor, recordings: int) -> Tensor:
    """For each of `images` [I, C, H, W], the mean of those that share its recording, [I] of [A]."""
    total = images.new_zeros(recordings, *images.shape[1:]).index_add_(0, audio_of, images)
    count = torch.bincount(audio_of, minlength=recordings)
    return (total / count.clamp(min=1).view(-1, 1, 1, 1))[audio_of]
