"""Intervals for the measures that are no shares: distance, coverage, diversity."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from synesthete import metrics
from synesthete.evaluate import Answer, Exam

Kept = NDArray[np.bool_]


def spread(exam: Exam, answers: Sequence[Answer]) -> dict[str, list[float]]:
    """95% intervals over test recordings, each measure averaged over the training seeds.

    Real images stay whole; parts of the recordings are left out of what was drawn.
    """
    part = metrics.deal(exam.recordings)
    real = _judged(exam.real.features, exam, exam.real.read)
    covered = [
        metrics.coverage_jackknife(exam.real.features, answer.reading.features, part)
        for answer in answers
    ]

    def mean_of(one: Callable[[Answer, Kept], float]) -> list[float]:
        return metrics.jackknife(lambda kept: float(np.mean([one(a, kept) for a in answers])), part)

    return {
        "fld_ci95": mean_of(
            lambda answer, kept: metrics.frechet_distance(
                answer.reading.features[kept], exam.real.features
            )
        ),
        "coverage_ci95": np.mean(covered, axis=0).tolist(),
        "diversity_ratio_ci95": mean_of(
            lambda answer, kept: metrics.diversity_ratio(
                _judged(answer.reading.features, exam, answer.reading.read, kept), real
            )
        ),
    }


def _judged(
    features: NDArray[np.float32],
    exam: Exam,
    read: NDArray[np.int64],
    kept: Kept | slice = slice(None),
) -> metrics.Judged:
    return metrics.Judged(features[kept], exam.wanted[kept], read[kept])
