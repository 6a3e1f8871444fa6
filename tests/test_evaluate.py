"""The scorecard: every key, its meaning on images whose scores are known, and its baselines."""

import json

import numpy as np
import pytest

from synesthete import evaluate
from synesthete.baselines import baselines
from synesthete.data import toy
from synesthete.data.alignment import Alignment
from synesthete.data.labels import Labels
from synesthete.errors import UserError
from synesthete.evaluate import KEYS, Exam
from synesthete.generate import Model
from tiny import untrained

SHARES = ("agreement", "second_judge_agreement", "consistency", "precision", "recall", "coverage")


def as_digits(world: tuple[Alignment, Labels]) -> tuple[Alignment, Labels]:
    """The toy world, its classes called digits, some train images unseen by the judges."""
    alignment, labels = world
    digit = {name: str(i) for i, name in enumerate(labels.classes)}
    train = alignment.subset("train").image_ids
    return alignment, Labels(
        {k: digit[v] for k, v in labels.audio.items()},
        {k: digit[v] for k, v in labels.images.items()},
        labels.groups,
        frozenset(train[:100]),
    )


@pytest.fixture(scope="module")
def exam() -> Exam:
    return evaluate.prepare(*as_digits(toy.build(classes=4, recordings=80, images=800)))


@pytest.fixture(scope="module")
def model() -> Model:
    return untrained("archetype")


def real(exam: Exam) -> evaluate.Images:
    images: evaluate.Images = exam.alignment.images[exam.alignment.edges[:, 1], 0]
    return images


def test_a_scorecard_has_every_key_in_order_and_is_json(exam: Exam, model: Model) -> None:
    card = evaluate.evaluate(model, exam).scorecard
    assert tuple(card) == KEYS
    back = json.loads(json.dumps(card, allow_nan=False))
    assert back["n_pairs"] == 160
    assert back["n_recordings"] == 16
    assert back["parameters"] == sum(p.numel() for p in model.generator.parameters())
    assert back["seed"] == 5
    assert back["seconds_per_image"] > 0
    for key in SHARES:
        assert 0 <= back[key] <= 1
    low, high = back["agreement_ci95"]
    assert low <= back["agreement"] <= high
    assert set(back["agreement_per_class"]) == {"0", "1", "2", "3"}
    assert sum(v["n"] for v in back["agreement_per_class"].values()) == 16


def test_real_images_are_as_real_and_diverse_as_themselves(exam: Exam) -> None:
    card = evaluate.score(exam, real(exam)).scorecard
    assert card["agreement"] == card["judge_accuracy"]
    assert card["fld"] == pytest.approx(0, abs=1e-6)
    assert card["diversity_ratio"] == pytest.approx(1)
    assert card["precision"] == card["recall"] == card["coverage"] == 1
    assert card["memorised_fraction"] <= 0.03  # 1% of real images, by construction


def test_copies_of_train_images_count_as_memorised(exam: Exam) -> None:
    rows = [int(np.flatnonzero(exam.train_classes == c)[0]) for c in exam.wanted]
    assert evaluate.score(exam, exam.train_images[rows]).scorecard["memorised_fraction"] == 1


def test_one_image_a_class_has_no_diversity(exam: Exam) -> None:
    first = [int(np.flatnonzero(exam.wanted == c)[0]) for c in exam.wanted]
    card = evaluate.score(exam, real(exam)[first]).scorecard
    assert card["diversity_ratio"] == pytest.approx(0, abs=1e-6)
    assert card["fld"] > 1


def test_agreement_is_the_share_of_pairs_read_as_their_class(exam: Exam) -> None:
    answer = evaluate.score(exam, real(exam)[::-1].copy())
    expected = (answer.reading.read == exam.wanted).mean()
    assert answer.scorecard["agreement"] == pytest.approx(expected)


def test_consistency_is_about_the_samples_of_one_recording(exam: Exam) -> None:
    same = np.repeat(real(exam)[:16, None], 4, axis=1)
    mixed = np.stack([real(exam)[i * 4 : i * 4 + 4] for i in range(16)])
    assert evaluate.score(exam, real(exam), same).scorecard["consistency"] == 1
    read = evaluate.judged(mixed.reshape(-1, 28, 28)).read.reshape(16, 4)
    expected = (read == read[:, :1]).all(1).mean()
    assert evaluate.score(exam, real(exam), mixed).scorecard["consistency"] == expected


def test_pairs_draw_with_noise_of_their_own_and_the_seed_repeats_it(exam: Exam) -> None:
    vae = untrained("deck-vae")
    images, samples, _ = evaluate.draw(vae, exam, seed=1)
    again, _, _ = evaluate.draw(vae, exam, seed=1)
    other, _, _ = evaluate.draw(vae, exam, seed=2)
    np.testing.assert_array_equal(images, again)
    assert (images != other).any()
    assert samples.shape == (16, evaluate.SAMPLES, 28, 28)
    assert all((sample[0] != sample[1]).any() for sample in samples)


def test_baselines_stand_where_they_should(exam: Exam, model: Model) -> None:
    cards = {name: a.scorecard for name, a in baselines(model, exam).items()}
    assert cards["real test images"]["agreement"] == cards["real test images"]["judge_accuracy"]
    assert cards["real test images"]["fld"] == cards["real test images"]["fld_floor"] > 0
    assert cards["class-mean image"]["diversity_ratio"] == pytest.approx(0, abs=1e-6)
    assert cards["nearest neighbour"]["memorised_fraction"] > 0.5
    assert cards["shuffled pairs"]["fld"] == pytest.approx(0, abs=1e-6)
    wanted = exam.wanted
    chance = (np.bincount(wanted) / len(wanted)) ** 2
    assert cards["shuffled pairs"]["agreement"] < 2 * chance.sum()
    assert [card["model"] for card in cards.values()] == list(cards)


def test_pooling_seeds_averages_recordings_first(exam: Exam, model: Model) -> None:
    answers = [evaluate.score(exam, images) for images in (real(exam), real(exam)[::-1].copy())]
    pooled = evaluate.pool(exam, answers)
    one, two = (a.scorecard["agreement"] for a in answers)
    assert pooled["agreement"] == pytest.approx((one + two) / 2)
    assert pooled["n_recordings"] == 16
    assert pooled["fld"] == pytest.approx(np.mean([a.scorecard["fld"] for a in answers]))
    assert evaluate.pool(exam, answers[:1]) == answers[0].scorecard


def test_speakers_come_by_their_names(exam: Exam) -> None:
    assert set(evaluate.score(exam, real(exam)).scorecard["agreement_per_speaker"]) == set(
        exam.speakers.tolist()
    )


def test_images_the_judges_cannot_read_are_refused() -> None:
    with pytest.raises(UserError, match="28x28"):
        evaluate.prepare(*as_digits(toy.build(size=32)))
    with pytest.raises(UserError, match="digits"):
        evaluate.prepare(*toy.build())


def test_a_side_without_pairs_is_told() -> None:
    with pytest.raises(UserError, match="no pairs on the side 'validation'"):
        evaluate.prepare(*as_digits(toy.build(classes=4)), split="validation")
