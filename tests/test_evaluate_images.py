"""The scorecard of a model of images: every key, and its meaning where the scores are known."""

import json
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor

from synesthete import artefact, cli, evaluate, evaluate_images
from synesthete.data import storage, toy
from synesthete.data.alignment import Alignment
from synesthete.data.labels import Labels
from synesthete.errors import UserError
from synesthete.evaluate import KEYS, Exam, Images
from synesthete.evaluate_images import EXTRA
from synesthete.family import ImageModel, noise
from tiny import artefact_of

UNASKED = (
    "agreement", "agreement_ci95", "agreement_per_class", "agreement_per_speaker",
    "second_judge_agreement", "consistency", "diversity_ratio", "diversity_within_recording",
)  # fmt: skip
"""What a drawing that belongs to no pair cannot be asked."""


def digits() -> tuple[Alignment, Labels]:
    """The toy world, its classes called digits, some train images unseen by the judges."""
    alignment, labels = toy.build(classes=4, recordings=80, images=800)
    digit = {name: str(i) for i, name in enumerate(labels.classes)}
    audio, images = (
        {k: digit[v] for k, v in kind.items()} for kind in (labels.audio, labels.images)
    )
    unseen = frozenset(alignment.subset("train").image_ids[:100])
    return alignment, Labels(audio, images, labels.groups, unseen)


@pytest.fixture(scope="module")
def exam() -> Exam:
    return evaluate.prepare(*digits())


class Dimmer(ImageModel):
    """Draws its noise, and redraws an image at half its brightness."""

    phases: ClassVar[dict[str, tuple[str, ...]]] = {}
    noise_size = 28 * 28

    def draw(self, noise: Tensor) -> Tensor:
        return noise.clamp(0, 1).reshape(-1, 1, 28, 28)

    def reconstruct(self, image: Tensor) -> Tensor:
        return image / 2


@pytest.mark.parametrize("preset", ["image-autoencoder", "image-vae", "image-gan"])
def test_a_scorecard_has_every_key_in_order_and_is_json(exam: Exam, preset: str) -> None:
    held = artefact_of(preset)
    answer = evaluate_images.evaluate(held, exam)
    assert tuple(answer.scorecard) == (*KEYS, *EXTRA)
    card = json.loads(json.dumps(answer.scorecard, allow_nan=False))
    without = (*UNASKED, *(EXTRA if preset == "image-gan" else ()))
    assert {key for key, value in card.items() if value is None} - {"split"} == {*without}
    assert card["model"] == preset
    assert card["seed"] == 5
    assert card["n_pairs"] == 160
    assert card["n_recordings"] == 16
    assert card["parameters"] == held.parameters
    assert card["seconds_per_image"] > 0
    assert answer.images.shape == (160, 28, 28)
    assert (answer.redrawn is None) == (preset == "image-gan")


def test_real_images_in_the_place_of_drawings_score_as_themselves(exam: Exam) -> None:
    card = evaluate_images.score(exam, exam.real_images).scorecard
    assert card["fld"] == pytest.approx(0, abs=1e-6)
    assert card["precision"] == card["recall"] == card["coverage"] == 1
    assert card["memorised_fraction"] <= 0.03  # 1% of real images, by construction
    assert card["fld_floor"] > 0
    assert card["reconstruction_error"] is None


def test_copies_of_train_images_count_as_memorised(exam: Exam) -> None:
    card = evaluate_images.score(exam, exam.train_images[:160]).scorecard
    assert card["memorised_fraction"] == 1


def test_images_redrawn_perfectly_have_no_error_and_the_judge_s_own_accuracy(exam: Exam) -> None:
    card = evaluate_images.reconstruction(exam, exam.real_images)
    assert card["reconstruction_error"] == 0
    assert card["reconstruction_agreement"] == (exam.real.read == exam.wanted).mean()


def test_a_redrawn_image_is_compared_with_its_own_original(exam: Exam) -> None:
    shuffled: Images = exam.real_images[::-1].copy()
    card = evaluate_images.reconstruction(exam, shuffled)
    difference = (shuffled.astype(float) - exam.real_images.astype(float)) / 255
    assert card["reconstruction_error"] == pytest.approx((difference**2).mean())
    assert card["reconstruction_agreement"] == (exam.real.read[::-1] == exam.wanted).mean()


def test_half_the_brightness_is_a_quarter_of_the_energy(exam: Exam) -> None:
    redrawn = evaluate_images.redraw(Dimmer(), exam.real_images)
    assert redrawn is not None
    assert redrawn.shape == exam.real_images.shape
    card = evaluate_images.reconstruction(exam, redrawn)
    energy = ((exam.real_images / 255) ** 2).mean()
    assert card["reconstruction_error"] == pytest.approx(energy / 4, rel=0.01)


def test_each_drawing_has_noise_of_its_own_keyed_by_seed_and_number(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole, seconds = evaluate_images.draw(Dimmer(), 7, seed=3)
    assert seconds > 0
    monkeypatch.setattr(evaluate_images, "BATCH", 3)
    np.testing.assert_array_equal(evaluate_images.draw(Dimmer(), 7, seed=3)[0], whole)
    wanted = noise(3, 0, 7, 1, 28 * 28).clamp(0, 1).reshape(7, 28, 28) * 255
    np.testing.assert_array_equal(whole, wanted.round().to(torch.uint8).numpy())
    assert (evaluate_images.draw(Dimmer(), 7, seed=4)[0] != whole).any()


def test_a_generator_is_refused(exam: Exam) -> None:
    with pytest.raises(UserError, match="autoencoder is no model of images alone"):
        evaluate_images.evaluate(artefact_of("archetype"), exam)


def test_seeds_are_averaged(exam: Exam) -> None:
    answers = [
        evaluate_images.score(exam, images, exam.real_images)
        for images in (exam.real_images, exam.train_images[:160])
    ]
    for seed, answer in enumerate(answers):
        answer.scorecard["seed"] = seed
    pooled = evaluate_images.pool(answers)
    assert pooled["seed"] == [0, 1]
    assert pooled["fld"] == pytest.approx(np.mean([a.scorecard["fld"] for a in answers]))
    assert pooled["agreement"] is None
    assert evaluate_images.pool(answers[:1]) == answers[0].scorecard


def test_the_command_scores_a_model_of_images(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    alignment, labels = digits()
    pairs, run = tmp_path / "pairs", tmp_path / "run"
    storage.save(alignment, pairs, beside=labels.save)
    quick = ["--steps", "2", "--batch-size", "8", "--pairs", str(pairs)]
    assert cli.main(["train", "image-vae", *quick, "--out", str(run)]) == 0
    capsys.readouterr()
    assert cli.main(["evaluate", str(run), "--pairs", str(pairs), "--json", "-"]) == 0
    card = json.loads(capsys.readouterr().out)
    assert tuple(card) == (*KEYS, *EXTRA)
    assert json.loads((run / artefact.SCORECARD).read_text()) == card
    assert "reconstruction_error" in (run / artefact.CARD).read_text()
    assert cli.main(["evaluate", str(run), "--pairs", str(pairs)]) == 0
    assert "reconstruction_agreement" in capsys.readouterr().out
