"""Put an interval on what is no mean over pairs: leave out a few recordings at a time."""

from collections.abc import Callable

import numpy as np

from synesthete.metrics.neighbours import nearest_by_group, squared_radii
from synesthete.metrics.shapes import Array, Floats, features

GROUPS = 20
"""Parts that the recordings are dealt into."""


def deal(recordings: Array, groups: int = GROUPS) -> Array:
    """The part int64[N] of each pair: recordings [N] are dealt in turn, so parts are alike."""
    _, number = np.unique(recordings, return_inverse=True)
    part: Array = number % min(groups, number.max() + 1)
    return part


def jackknife(statistic: Callable[[Array], float], part: Array) -> list[float]:
    """95% interval [low, high] of a statistic, from leaving out each part in turn.

    The delete-a-group jackknife (Shao and Tu 1995, section 2.3): with g parts and values v_i
    without part i, the variance is (g - 1) / g times their summed squared deviations.

    Args:
        statistic: of the pairs that bool[N] keeps.
        part: int[N], the part of each pair.
    """
    values = [statistic(part != one) for one in np.unique(part)]
    return _around(statistic(np.ones(len(part), bool)), np.array(values))


def coverage_jackknife(real: Array, fake: Array, part: Array, k: int = 5) -> list[float]:
    """The interval of `prdc`'s coverage of features [N, D] by [M, D], whose parts are int[M].

    One pass over the distances serves every part.
    """
    real, fake = features(real, fake)
    centre = real.mean(axis=0)
    nearest = nearest_by_group(real - centre, fake - centre, part)
    radii = squared_radii(real - centre, k)
    without: list[float] = []
    for one in range(nearest.shape[1]):
        others: Floats = np.delete(nearest, one, axis=1)
        without.append(float((others.min(axis=1) < radii).mean()))
    return _around(float((nearest.min(axis=1) < radii).mean()), np.array(without))


def _around(value: float, without: Floats) -> list[float]:
    count = len(without)
    variance = (count - 1) / count * np.square(without - without.mean()).sum()
    half = 1.96 * float(np.sqrt(variance))
    return [value - half, value + half]
