"""The jackknife against closed forms and brute force."""

from functools import partial

import numpy as np
import pytest
from numpy.typing import NDArray

from synesthete import metrics


def test_for_a_mean_it_is_the_classical_standard_error() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(3, 2, 40)
    low, high = metrics.jackknife(lambda kept: float(values[kept].mean()), np.arange(40))
    half = 1.96 * values.std(ddof=1) / np.sqrt(40)
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half))


def test_recordings_stay_whole_and_parts_are_alike() -> None:
    recordings = np.array([7, 3, 7, 9, 3, 5, 1])
    part = metrics.deal(recordings, groups=2)
    assert part.tolist() == [1, 1, 1, 0, 1, 0, 0]  # 1, 3, 5, 7, 9 are dealt 0, 1, 0, 1, 0
    assert set(metrics.deal(np.array([4, 4, 8]), groups=20)) == {0, 1}


def test_the_interval_of_coverage_is_that_of_leaving_parts_out_for_real() -> None:
    rng = np.random.default_rng(1)
    real, fake = rng.normal(size=(90, 3)), rng.normal(0.4, 1, size=(60, 3))
    part = rng.integers(0, 6, 60)

    def coverage(kept: NDArray[np.bool_]) -> float:
        return metrics.prdc(real, fake[kept])["coverage"]

    slow = metrics.jackknife(coverage, part)
    assert metrics.coverage_jackknife(real, fake, part) == pytest.approx(slow)
    assert slow[0] < coverage(np.ones(60, bool)) < slow[1]


def test_it_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(2)
    recordings = np.repeat(np.arange(100), 5)
    part = metrics.deal(recordings)
    hits = 0
    for _ in range(200):
        values = rng.normal(size=100).repeat(5) + rng.normal(0, 0.3, 500)
        low, high = metrics.jackknife(partial(_mean, values), part)
        hits += low <= 0 <= high
    assert 0.9 <= hits / 200 <= 0.99


def _mean(values: NDArray[np.float64], kept: NDArray[np.bool_]) -> float:
    return float(values[kept].mean())
