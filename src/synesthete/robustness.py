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
    from (seed, recording), the same in every condition.

    Raises:
        KeyError: there is no such condition.
    """
    rows = []
    chosen = list(conditions)
    with bar("degrading", len(chosen)) as progress:
        for name in chosen:
            rows.append({"condition": name, **_one(model, exam, CONDITIONS[name], seed)})
            progress.advance()
    return rows


def _one(model: Model, exam: Exam, degrade: Degradation, seed: int) -> dict[str, Any]:
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
    recordings = np.repeat(np.arange(len(right)), SAMPLES)
    told = metrics.share(right.reshape(-1), recordings, np.random.default_rng(seed))
    return {
        "agreement": told["value"], "ci95": told["ci95"], "n": told["n"],
        "refused": len(right) - len(usable),
    }  # fmt: skip


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
