"""What the diversity dial and the number of evaluations trade: a scorecard at each setting."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from synesthete.evaluate import Exam, evaluate
from synesthete.generate import MOST_DIVERSE, Model
from synesthete.progress import bar

DIVERSITIES = (0.0, 0.2, 0.4, 0.6, 0.8, 0.9, 1.0, 1.1, 1.25, MOST_DIVERSE)
"""Where the dial is read, at the model's own number of evaluations."""
EVALUATIONS = (1, 2, 4, 8)
"""How often the network is asked, with the dial at 1."""
SHOWN = (
    "agreement", "agreement_ci95", "second_judge_agreement", "consistency", "fld", "fld_floor",
    "kid", "precision", "recall", "density", "coverage", "coverage_floor", "diversity_ratio",
    "diversity_within_recording", "memorised_fraction", "n_pairs", "n_recordings",
    "seconds_per_image",
)  # fmt: skip
"""What a row tells of its scorecard."""
COLUMNS = (
    "diversity", "evaluations", "agreement", "agreement_ci95", "diversity_ratio", "fld",
    "coverage", "memorised_fraction", "seconds_per_image",
)  # fmt: skip
"""What a terminal has room for."""


def settings(model: Model) -> list[tuple[float, int | None]]:
    """(diversity, evaluations) of each row; evaluations are None where there is no choice."""
    own = model.generator.evaluations
    rows: list[tuple[float, int | None]] = [(diversity, own) for diversity in DIVERSITIES]
    if own is not None:
        rows += [(1.0, count) for count in EVALUATIONS if count != own]
    return rows


def dial(model: Model, exam: Exam, seed: int = 0) -> list[dict[str, Any]]:
    """The scorecard at each of `settings`, with the images of the first pairs, `drawn`.

    The noise is the same in every row: images of a column differ by the setting alone.
    """
    own, rows = model.generator.evaluations, []
    chosen = settings(model)
    try:
        with bar("turning the dial", len(chosen)) as progress:
            for diversity, evaluations in chosen:
                model.generator.evaluations = evaluations
                answer = evaluate(model, exam, seed, diversity)
                rows.append({
                    "diversity": diversity,
                    "evaluations": evaluations,
                    **{key: answer.scorecard[key] for key in SHOWN},
                    "drawn": _of_each_digit(answer.images, exam).tolist(),
                })  # fmt: skip
                progress.advance()
    finally:
        model.generator.evaluations = own
    return rows


def _of_each_digit(images: NDArray[np.uint8], exam: Exam) -> NDArray[np.uint8]:
    """The image of the first pair of each digit there is, uint8[digits, 28, 28]."""
    return images[np.unique(exam.wanted, return_index=True)[1]]
