"""Measure how much images of one class, or of one recording, differ from each other."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from synesthete.metrics.shapes import Array, features, misfit


@dataclass(frozen=True)
class Judged:
    """What a judge made of N images.

    Attributes:
        features: float[N, D], the judge's features.
        wanted: int[N], the class of each image's pair.
        read: int[N], the class that the judge gives the image.
    """

    features: Array
    wanted: Array
    read: Array

    def __post_init__(self) -> None:
        shape = self.features.shape[:1]
        if self.features.ndim != 2 or self.wanted.shape != shape or self.read.shape != shape:
            found = self.features, self.wanted, self.read
            raise misfit("features [N, D], wanted [N], read [N]", *found)


def diversity_ratio(generated: Judged, real: Judged) -> float:
    """Mean within-class standard deviation of generated features over that of real ones.

    A class's standard deviation is the root of its total variance (the trace of its unbiased
    covariance), so that rotating the features changes nothing. Only images that the judge reads
    as their pair's class count: errors are no diversity. 1 is as diverse as the data, 0 is one
    image a class. Classes with fewer than two such images, generated or real, are left out of
    both means; NaN where no class remains or the real images do not vary.
    """
    return _ratio(generated, generated.wanted, real)


def diversity_within_recording(generated: Judged, recordings: Array, real: Judged) -> float:
    """`diversity_ratio` of the variance within one recording's samples, pooled over each class.

    The variance is around each recording's own mean, so what the ratio loses against
    `diversity_ratio` is the difference between recordings. NaN also where no recording has two
    images read as its class.

    Args:
        generated: several samples a recording.
        recordings: [N], the recording that each generated image was drawn for.
        real: the data.
    """
    if recordings.shape != generated.wanted.shape:
        raise misfit("images [N, D] and recordings [N]", generated.features, recordings)
    return _ratio(generated, recordings, real)


def _ratio(generated: Judged, groups: Array, real: Judged) -> float:
    features(generated.features, real.features)
    ours, data = _deviations(generated, groups), _deviations(real, real.wanted)
    shared = sorted(ours.keys() & data.keys())
    scale = sum(data[name] for name in shared)
    return sum(ours[name] for name in shared) / scale if scale > 0 else math.nan


def _deviations(judged: Judged, groups: Array) -> dict[Any, float]:
    """Class -> root of the total variance of its rightly read images around their group's mean."""
    deviations = {}
    for name in np.unique(judged.wanted):
        right = (judged.wanted == name) & (judged.read == name)
        _, group_of, counts = np.unique(groups[right], return_inverse=True, return_counts=True)
        freedom = counts.sum() - len(counts)
        if freedom > 0:
            images = judged.features[right].astype(np.float64)
            means = np.zeros((len(counts), images.shape[1]))
            np.add.at(means, group_of, images / counts[group_of, None])
            variance = np.square(images - means[group_of]).sum() / freedom
            deviations[name.item()] = float(np.sqrt(variance))
    return deviations
