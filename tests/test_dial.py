"""The dial: which settings are scored, that noise is shared, that the model is left as it was."""

import numpy as np
import pytest

from synesthete import dial, evaluate
from synesthete.errors import UserError
from synesthete.evaluate import Exam
from synesthete.generate import Model
from tiny import artefact_of, toy_exam


@pytest.fixture(scope="module")
def exam() -> Exam:
    return toy_exam(classes=3, recordings=60, images=600)


def test_every_setting_is_scored_and_the_model_is_left_as_it_was(
    exam: Exam, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dial, "DIVERSITIES", (0.0, 1.0))
    monkeypatch.setattr(dial, "EVALUATIONS", (1, 2))
    model = Model(artefact_of("flow"), evaluations=2)
    rows = dial.dial(model, exam)
    assert [(row["diversity"], row["evaluations"]) for row in rows] == [(0, 2), (1, 2), (1, 1)]
    assert model.generator.evaluations == 2
    assert [np.shape(row["drawn"]) for row in rows] == [(3, 28, 28)] * 3
    whole = evaluate.evaluate(model, exam)
    assert rows[1]["fld"] == whole.scorecard["fld"]
    first = [int(np.flatnonzero(exam.wanted == digit)[0]) for digit in range(3)]
    np.testing.assert_array_equal(rows[1]["drawn"], whole.images[first])
    still = evaluate.evaluate(model, exam, diversity=0.0)
    np.testing.assert_array_equal(rows[0]["drawn"], still.images[first])
    assert rows[0]["drawn"] != rows[1]["drawn"] != rows[2]["drawn"]


def test_a_model_without_a_choice_of_evaluations_has_the_dial_alone() -> None:
    archetype = artefact_of("archetype")
    assert {count for _, count in dial.settings(Model(archetype))} == {None}
    with pytest.raises(UserError, match="autoencoder has no evaluations to choose"):
        Model(archetype, evaluations=2)
    with pytest.raises(UserError, match="evaluations is 0, wanted 1 or more"):
        Model(artefact_of("flow"), evaluations=0)
