"""How much of a model's agreement is left when the clips that it hears are degraded."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from synesthete import metrics
from synesthete.data import audio, batches
from synesthete.data.degrade import CONDITIONS, Degradation, Degraded
from synesthete.evaluate import Exam
from synesthete.generate import Model
from synesthete.judges import load_judge, read
from synesthete.progress import bar

Digits = npt.NDArray[np.int64]

SAMPLES = 4
"""Images a recording and condition."""


def robustness(
    model: Model, exam: Exam, conditions: Iterable[str] = CONDITIONS, seed: int = 0
) -> list[dict[str, Any]]:
    """Agreement in each condition, with its 95% interval over recordings: a row a condition.

    Every recording of the exam counts alike, by `SAMPLES` images. What a condition leaves
    unusable (`audio.AudioError`) counts as wrong; `refused` says how many. Degradations are drawn
    from (seed, recording), the same in every condition. `lost` is how much less that is than in
    the first condition, its interval paired by recording.

    Raises:
        KeyError: there is no such condition.
    """
    rows: list[dict[str, Any]] = []
    chosen, first = list(conditions), None
    recordings = np.repeat(np.arange(len(exam.heard)), SAMPLES)
    with bar("degrading", len(chosen)) as progress:
        for name in chosen:
            right, refused = _right(model, exam, CONDITIONS[name], seed)
            first = right if first is None else first
            told = metrics.share(right.reshape(-1), recordings, np.random.default_rng(seed))
            lost, lost_ci95 = _lost(first.mean(1) - right.mean(1), seed)
            rows.append({
                "condition": name, "agreement": told["value"], "ci95": told["ci95"],
                "lost": lost, "lost_ci95": lost_ci95, "n": told["n"], "refused": refused,
            })  # fmt: skip
            progress.advance()
    return rows


def _right(
    model: Model, exam: Exam, degrade: Degradation, seed: int
) -> tuple[npt.NDArray[np.bool_], int]:
    """Which of each recording's images are right, bool[R, SAMPLES]; how many were unusable."""
    heard, usable = [], []
    for row, wave in enumerate(batches.at(exam.alignment, audio.RATE)):
        try:
            degraded = degrade(wave, np.random.default_rng((seed, row)))
            heard.append(_heard(degraded, model.rate))
            usable.append(row)
        except audio.AudioError:
            continue
    right = np.zeros((len(exam.heard), SAMPLES), bool)
    right[usable] = _drawn(model, heard, usable, seed) == exam.heard[usable, None]
    return right, len(right) - len(usable)


def _lost(each: npt.NDArray[np.float64], seed: int) -> tuple[float, list[float]]:
    """The mean of float64[R] in -1..1 and its 95% interval over recordings."""
    low, high = metrics.interval((1 + each) / 2, np.ones(len(each)), np.random.default_rng(seed))
    return float(each.mean()), [2 * low - 1, 2 * high - 1]


def _heard(degraded: Degraded, rate: int) -> audio.Wave:
    """What `audio.load` makes of the degraded clip: mono, at a model's rate, trimmed."""
    if isinstance(degraded, bytes):
        return audio.load(degraded, rate=rate)
    return audio.load(*degraded, rate=rate)


def _drawn(model: Model, heard: list[audio.Wave], rows: list[int], seed: int) -> Digits:
    """The digits int64[R, SAMPLES] that the judge reads in what is drawn for the clips `heard`.

    Noise is keyed by (seed, recording, sample): `rows` are their numbers.
    """
    if not heard:
        return np.zeros((0, SAMPLES), np.int64)
    images = model.draw(heard, SAMPLES, seed=seed, rows=rows)
    flat = images.reshape(-1, *images.shape[2:])
    digits: Digits = read(load_judge("lenet5"), flat)[1].argmax(1).reshape(len(rows), SAMPLES)
    return digits
