"""The scorecard of a matcher, on matchers whose scores are known."""

import dataclasses
import json
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from synesthete import evaluate, evaluate_matches, metrics
from synesthete.artefact import Artefact
from synesthete.config import Preset, TrainingConfig
from synesthete.data import mix, toy
from synesthete.data.alignment import Alignment
from synesthete.data.labels import Labels
from synesthete.errors import UserError
from synesthete.evaluate import KEYS, Exam
from synesthete.evaluate_matches import draw_pairs
from synesthete.evaluate_matches import evaluate as score
from synesthete.family import Matcher, Shapes
from synesthete.matching import Model, nearness

CLASSES = 4
DIRECTIONS = ("audio_to_image", "image_to_audio", "image_to_image", "audio_to_audio")


def as_digits(world: tuple[Alignment, Labels]) -> tuple[Alignment, Labels]:
    alignment, labels = world
    digit = {name: str(i) for i, name in enumerate(labels.classes)}
    return alignment, Labels(
        {k: digit[v] for k, v in labels.audio.items()},
        {k: digit[v] for k, v in labels.images.items()},
        labels.groups,
        frozenset(alignment.subset("train").image_ids[:100]),
    )


@pytest.fixture(scope="module")
def exam() -> Exam:
    return evaluate.prepare(*as_digits(toy.build(classes=CLASSES, recordings=80, images=800)))


class Oracle(Matcher):
    """Knows the class of what it is shown: the first pixel holds it."""

    phases = {}  # noqa: RUF012

    def __init__(self, mistaken: frozenset[int] = frozenset()) -> None:
        super().__init__()
        self.audio_encoder, self.image_encoder = nn.Sequential(), nn.Sequential()
        self.mistaken = mistaken

    def embed_audio(self, audio: Tensor) -> Tensor:
        code = nn.functional.one_hot(audio[:, 0, 0, 0].long(), CLASSES).float()
        rows = [row for row in self.mistaken if row < len(code)]
        code[rows] = code[rows].roll(1, dims=1)
        return code

    def embed_image(self, image: Tensor) -> Tensor:
        return nn.functional.one_hot((image[:, 0, 0, 0] * 255).round().long(), CLASSES).float()

    def match(self, audio: Tensor, image: Tensor) -> Tensor:
        return audio @ image.T - 0.5


class Blind(Oracle):
    """Says yes to everything."""

    def match(self, audio: Tensor, image: Tensor) -> Tensor:
        return torch.ones(len(audio), len(image))


def told(exam: Exam) -> Exam:
    """The exam with each image's class in its first pixel."""
    images = exam.alignment.images.copy()
    images[:, 0, 0, 0] = exam.seen
    return dataclasses.replace(exam, alignment=dataclasses.replace(exam.alignment, images=images))


def card(matchers: list[Matcher], exam: Exam, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The scorecard of matchers that are given each recording's class as its spectrogram."""
    heard = torch.from_numpy(exam.heard).float().view(-1, 1, 1, 1)
    monkeypatch.setattr(evaluate_matches, "spectrograms", lambda *_: heard)
    preset = Preset("oracle", "oracle", TrainingConfig(steps=1))
    held = [
        Artefact(matcher, preset, Shapes(), {"seed": seed}, {})
        for seed, matcher in enumerate(matchers)
    ]
    return score([Model(one) for one in held], told(exam))


def test_a_scorecard_has_every_key_and_is_json(exam: Exam, monkeypatch: pytest.MonkeyPatch) -> None:
    found = card([Oracle()], exam, monkeypatch)
    assert tuple(found) == (*KEYS, "correspondence", "retrieval")
    back = json.loads(json.dumps(found, allow_nan=False))
    assert (back["model"], back["seed"], back["parameters"]) == ("oracle", 0, 0)
    assert (back["n_pairs"], back["n_recordings"]) == (160, 16)
    for key in ("agreement", "fld", "memorised_fraction", "seconds_per_image"):
        assert back[key] is None
    assert tuple(back["retrieval"]) == DIRECTIONS
    measures = ["recall@1", "recall@5", "recall@10", "mAP", "ndcg@30", "mAP_ci95", "n"]
    for direction in DIRECTIONS:
        assert list(back["retrieval"][direction]) == measures
    assert [back["retrieval"][d]["n"] for d in DIRECTIONS] == [16, 160, 160, 16]


def test_whoever_knows_the_classes_is_at_the_ceiling_and_finds_everything(
    exam: Exam, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = card([Oracle()], exam, monkeypatch)
    pairs, matches = draw_pairs(exam)
    alike = exam.heard[pairs[:, 0]] == exam.seen[pairs[:, 1]]
    by_hand = 1 - (alike & ~matches).sum() / len(pairs)  # false pairs of one class, taken for true
    assert 0.7 < by_hand < 1
    assert found["correspondence"]["ceiling"] == pytest.approx(by_hand)
    assert found["correspondence"]["accuracy"] == pytest.approx(by_hand)
    assert found["correspondence"]["n"] == 320
    for direction in DIRECTIONS:
        for measure in ("recall@1", "recall@10", "mAP", "ndcg@30"):
            assert found["retrieval"][direction][measure] == pytest.approx(1)
        assert found["retrieval"][direction]["mAP_ci95"][1] == pytest.approx(1)


def test_saying_yes_to_everything_is_right_in_half_of_the_cases(
    exam: Exam, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = card([Blind()], exam, monkeypatch)
    assert found["correspondence"]["accuracy"] == 0.5
    low, high = found["correspondence"]["ci95"]
    assert low <= 0.5 <= high
    assert found["retrieval"]["audio_to_image"]["mAP"] < 0.5


def test_two_seeds_count_half_each(exam: Exam, monkeypatch: pytest.MonkeyPatch) -> None:
    both = card([Oracle(), Blind()], exam, monkeypatch)
    alone = [card([one], exam, monkeypatch) for one in (Oracle(), Blind())]
    assert both["seed"] == [0, 1]
    for table, name in (("correspondence", "accuracy"), ("retrieval", "image_to_audio")):
        parts = [one[table][name] for one in alone]
        whole, values = both[table][name], parts
        if isinstance(whole, dict):
            whole, values = whole["mAP"], [part["mAP"] for part in parts]
        assert whole == pytest.approx(np.mean(values))
    assert both["retrieval"]["audio_to_image"]["n"] == 16


def test_one_mistaken_recording_costs_its_own_queries_alone(
    exam: Exam, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = card([Oracle(frozenset({3}))], exam, monkeypatch)["retrieval"]
    assert found["audio_to_image"]["recall@10"] == pytest.approx(15 / 16)
    assert found["audio_to_audio"]["recall@1"] < 1
    assert found["image_to_image"]["mAP"] == pytest.approx(1)
    low, high = found["audio_to_image"]["mAP_ci95"]
    assert low < found["audio_to_image"]["mAP"] < high


def test_false_pairs_are_off_the_graph_seeded_and_over_the_same_recordings(exam: Exam) -> None:
    pairs, matches = draw_pairs(exam, 4)
    again, other = draw_pairs(exam, 4)[0], draw_pairs(exam, 5)[0]
    edges = {tuple(edge) for edge in exam.alignment.edges.tolist()}
    np.testing.assert_array_equal(pairs, again)
    assert (pairs != other).any()
    assert [tuple(p) in edges for p in pairs.tolist()] == matches.tolist()
    assert matches.sum() == (~matches).sum() == len(edges)
    np.testing.assert_array_equal(pairs[matches][:, 0], pairs[~matches][:, 0])


def test_where_every_pair_is_an_edge_none_can_be_drawn(exam: Exam) -> None:
    images = np.arange(len(exam.alignment.images))
    edges = np.stack([np.zeros_like(images), images], axis=1)
    whole = dataclasses.replace(exam.alignment, edges=edges)
    with pytest.raises(UserError, match="belongs to every image"):
        draw_pairs(dataclasses.replace(exam, alignment=whole))


def test_of_shuffled_pairs_knowing_the_classes_tells_next_to_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """True pairs are of one class by chance alone: the ceiling falls to a half."""
    alignment, labels = as_digits(toy.build(classes=CLASSES, recordings=80, images=800))
    shuffled = evaluate.prepare(mix.shuffled(alignment), labels)
    found = card([Oracle()], shuffled, monkeypatch)
    assert abs(found["correspondence"]["ceiling"] - 0.5) < 0.1
    assert found["retrieval"]["audio_to_image"]["mAP"] == pytest.approx(1)  # classes stay


def test_ranking_in_blocks_is_ranking_at_once(exam: Exam, monkeypatch: pytest.MonkeyPatch) -> None:
    """And a query is left out of its own ranking: against a loop that deletes it."""
    rng = np.random.default_rng(0)
    places = rng.normal(size=(len(exam.seen), 3)).astype(np.float32)
    monkeypatch.setattr(evaluate_matches, "QUERIES", 7)
    rows = np.arange(len(places))
    done: list[int] = []
    found = evaluate_matches.rank(
        lambda r: nearness(places[r], places), exam.seen, None, rows, done.append
    )
    for row in (0, 6, 7, 159):
        others = np.delete(rows, row)
        distance = np.linalg.norm(places[others] - places[row], axis=1)
        relevant = (exam.seen[others] == exam.seen[row])[None]
        expected = metrics.mean_average_precision(-distance[None], relevant)
        assert found.measures["mAP"][row] == pytest.approx(expected)
    assert sum(done) == len(places)


def test_queries_with_nothing_to_find_are_left_out() -> None:
    kinds = np.array([0, 0, 1])
    scores = np.eye(3, dtype=np.float32)
    within = evaluate_matches.rank(lambda r: scores[r], kinds, None, np.arange(3))
    assert within.groups.tolist() == [0, 1]
    across = evaluate_matches.rank(lambda r: scores[r], kinds, np.array([1, 1, 1]), np.arange(3))
    assert across.groups.tolist() == [2]
    nothing = evaluate_matches.rank(lambda r: scores[r], kinds, np.array([5, 5, 5]), np.arange(3))
    assert evaluate_matches.summary([nothing]) is None
