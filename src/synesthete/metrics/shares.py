"""Average what is right over pairs, with intervals over the recordings behind them."""

from typing import TypedDict

import numpy as np
import numpy.typing as npt

from synesthete.metrics.shapes import Array, Floats, misfit


class Share(TypedDict):
    """A share in 0..1, its 95% interval [low, high] and the number of recordings behind both."""

    value: float
    ci95: list[float]
    n: int


def grouped_mean(values: Array, groups: Array) -> tuple[Floats, Floats]:
    """Average the pairs of each recording.

    Args:
        values: float or bool[N], one value a pair; or [S, N] from S training seeds on the same
            pairs, averaged over the seeds first.
        groups: [N], the recording (or speaker) of each pair, numbers or strings.

    Returns:
        The recordings' means float64[R] and numbers of pairs float64[R], sorted by recording.
    """
    if values.ndim not in (1, 2) or groups.shape != values.shape[-1:] or not values.size:
        raise misfit("values [N] or [S, N] and groups [N], none empty", values, groups)
    pairs = np.atleast_2d(values).mean(axis=0, dtype=np.float64)
    _, group_of, counts = np.unique(groups, return_inverse=True, return_counts=True)
    return np.bincount(group_of, weights=pairs) / counts, counts.astype(np.float64)


def interval(
    means: Array,
    weights: Array,
    rng: np.random.Generator,
    level: float = 0.95,
    draws: int = 2_000,
) -> tuple[float, float]:
    """Bootstrap the weighted mean of shares over recordings, the unit that varies.

    Whole recordings are resampled with replacement, each time recomputing the ratio
    sum(weight x mean) / sum(weight); the interval lies between percentiles of these (Efron 1979).
    By itself that is a single point when all recordings agree, and too narrow near 0 and 1. So two
    more recordings of average weight are resampled along, one all wrong and one all right, as
    Agresti and Caffo 2000 add a failure and a success to a sample: what was not seen in R
    recordings stays possible. With 200 all-or-nothing recordings the nominal 95% then covers true
    shares of 0.5 to 0.999 in 95% of cases on average, 92% at worst (plain percentiles: 87%), and
    200 of 200 right gives [0.985, 1] (exact interval: [0.982, 1]). Few recordings give a wide
    interval, as they should.

    Args:
        means: float[R], each in 0..1, from `grouped_mean`.
        weights: float[R], above 0: the recordings' numbers of pairs.
        rng: draws the resamples.
        level: nominal coverage.
        draws: number of resamples.

    Returns:
        (low, high), which contains the weighted mean.
    """
    if means.ndim != 1 or means.shape != weights.shape or not means.size:
        raise misfit("means [R] and weights [R], none empty", means, weights)
    if not (np.all((means >= 0) & (means <= 1)) and np.all(weights > 0)):
        raise ValueError("means must lie in 0..1 and weights above 0")
    values, sizes = np.append(means, (0, 1)), np.append(weights, (weights.mean(),) * 2)
    picks = rng.integers(len(values), size=(draws, len(values)))
    shares = (values * sizes)[picks].sum(axis=1) / sizes[picks].sum(axis=1)
    low, high = np.quantile(shares, ((1 - level) / 2, (1 + level) / 2))
    mean = np.average(means, weights=weights)
    return float(min(low, mean)), float(max(high, mean))


def share(values: Array, recordings: Array, rng: np.random.Generator) -> Share:
    """Average over pairs, such as agreement from what the judge got right.

    Args:
        values: bool or float[N] in 0..1, one a pair; or [S, N] from S training seeds.
        recordings: [N], the recording of each pair.
        rng: draws the resamples of the interval.
    """
    means, weights = grouped_mean(values, recordings)
    low, high = interval(means, weights, rng)
    return Share(value=float(np.average(means, weights=weights)), ci95=[low, high], n=len(means))


def share_by(
    values: Array, recordings: Array, names: Array, rng: np.random.Generator
) -> dict[str, Share]:
    """Take `share` of the pairs of each name, sorted; names [N] are classes or speakers."""
    if names.shape != values.shape[-1:] or names.shape != recordings.shape:
        raise misfit("values [N] or [S, N], recordings [N], names [N]", values, recordings, names)
    return {
        str(name): share(values[..., names == name], recordings[names == name], rng)
        for name in np.unique(names)
    }


def consistency(read: Array) -> float:
    """Share of recordings whose samples are all given one class, from classes read int[R, n]."""
    if read.ndim != 2 or not read.size:
        raise misfit("classes read [R, n], not empty", read)
    return float((read == read[:, :1]).all(axis=1).mean())


def confusion(wanted: Array, read: Array, classes: int) -> npt.NDArray[np.int64]:
    """Count int64[wanted, read], classes x classes, from int[N] each in 0..classes - 1."""
    if wanted.ndim != 1 or wanted.shape != read.shape:
        raise misfit("wanted [N] and read [N]", wanted, read)
    if (
        wanted.size
        and not 0 <= min(wanted.min(), read.min()) <= max(wanted.max(), read.max()) < classes
    ):
        raise ValueError(f"classes must lie in 0..{classes - 1}")
    table = np.zeros((classes, classes), np.int64)
    np.add.at(table, (wanted, read), 1)
    return table
