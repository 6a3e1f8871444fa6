"""Agreement under degradation: what is counted, what is heard, what cannot be used."""

import numpy as np
import pytest
import torch

from synesthete import robustness
from synesthete.data import audio
from synesthete.data.degrade import CONDITIONS
from synesthete.evaluate import Exam
from synesthete.generate import Model
from tiny import artefact_of, toy_exam, untrained


@pytest.fixture(scope="module")
def exam() -> Exam:
    return toy_exam(classes=4, recordings=80, images=800)


@pytest.fixture(scope="module")
def model() -> Model:
    return untrained("archetype")


def test_a_row_a_condition_with_its_interval(
    exam: Exam, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The judge reads 0 in everything: right on the recordings of 0, whatever was heard."""
    monkeypatch.setattr(
        robustness, "read", lambda judge, images: (None, np.eye(10)[np.zeros(len(images), int)])
    )
    rows = robustness.robustness(model, exam, ["clean", "white noise, 0 dB", "mu-law"])
    assert [row["condition"] for row in rows] == ["clean", "white noise, 0 dB", "mu-law"]
    share = (exam.heard == 0).mean()
    for row in rows:
        assert row["agreement"] == pytest.approx(share)
        assert row["ci95"][0] < share < row["ci95"][1]
        assert row["n"] == len(exam.heard)
        assert row["refused"] == 0


def test_what_is_lost_is_of_the_first_condition_recording_by_recording(
    exam: Exam, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All are right at first, then a half: what is lost varies, unlike where nothing is."""
    asked = iter([exam.heard, np.where(np.arange(len(exam.heard)) % 2, exam.heard, 9), exam.heard])
    monkeypatch.setattr(
        robustness, "read",
        lambda judge, images: (None, np.eye(10)[np.repeat(next(asked), robustness.SAMPLES)]),
    )  # fmt: skip
    clean, half, all_right = robustness.robustness(
        model, exam, ["clean", "mu-law", "20 dB quieter"]
    )
    assert clean["lost"] == all_right["lost"] == 0
    assert half["lost"] == pytest.approx(0.5) == 1 - half["agreement"]
    low, high = half["lost_ci95"]
    assert 0.05 < low < 0.5 < high < 0.95
    low, high = all_right["lost_ci95"]
    assert -0.4 < low < 0 < high < 0.4


def listening(model: Model, monkeypatch: pytest.MonkeyPatch) -> list[list[audio.Wave]]:
    """What the model will have been given to hear, a list a condition."""
    heard: list[list[audio.Wave]] = []
    spectrogram = model.spectrogram

    def listened(waves: list[audio.Wave]) -> torch.Tensor:
        heard.append(waves)
        return spectrogram(waves)

    monkeypatch.setattr(model, "spectrogram", listened)
    return heard


def test_the_degraded_clip_is_what_is_heard(
    exam: Exam, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard = listening(model, monkeypatch)
    robustness.robustness(model, exam, ["clean", "20 dB quieter"])
    for clean, quiet in zip(*heard, strict=True):
        assert np.abs(quiet).max() == pytest.approx(np.abs(clean).max() / 10, rel=0.05)


def test_a_model_at_another_rate_hears_the_clips_at_its_own(
    exam: Exam, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = Model(artefact_of("archetype", spectrogram={"rate": 16_000, "high_hz": 7_600.0}))
    heard = listening(model, monkeypatch)
    robustness.robustness(model, exam, ["44.1 kHz"])
    for wave, clip in zip(exam.alignment.waveforms, heard[0], strict=True):
        assert len(clip) == pytest.approx(2 * len(audio.trim_silence(wave)), rel=0.1)


def test_what_cannot_be_used_counts_as_wrong(
    exam: Exam, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    def deaf(wave: audio.Wave, rng: np.random.Generator) -> tuple[audio.Wave, float]:
        return (wave if rng.random() < 0.5 else 0 * wave), audio.RATE

    monkeypatch.setattr(robustness, "CONDITIONS", {**CONDITIONS, "half deaf": deaf, "deaf":
                        lambda wave, rng: (0 * wave, audio.RATE)})  # fmt: skip
    monkeypatch.setattr(
        robustness, "read", lambda judge, images: (None, np.eye(10)[np.zeros(len(images), int)])
    )
    half, none = robustness.robustness(model, exam, ["half deaf", "deaf"])
    assert 0 < half["refused"] < len(exam.heard)
    assert half["agreement"] <= (exam.heard == 0).mean()
    assert none == {**none, "agreement": 0.0, "refused": len(exam.heard)}
    with pytest.raises(KeyError):
        robustness.robustness(model, exam, ["under water"])
