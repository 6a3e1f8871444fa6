"""Rankings and representations: they agree with references and keep their symmetries."""

import math

import numpy as np
import pytest
from hypothesis import given
from sklearn.metrics import average_precision_score, ndcg_score

from draws import correlated, few, rotation, seeds
from synesthete import metrics


def test_rankings_score_as_sklearn_does(rng: np.random.Generator) -> None:
    scores, graded = rng.normal(size=(20, 30)), rng.integers(4, size=(20, 30))
    relevant = graded > 1
    precisions = [average_precision_score(*row) for row in zip(relevant, scores, strict=True)]
    assert metrics.mean_average_precision(scores, relevant) == pytest.approx(np.mean(precisions))
    for k in (1, 7, 30, 99):
        assert metrics.ndcg_at(scores, graded, k) == pytest.approx(ndcg_score(graded, scores, k=k))


@few
@given(seeds)
def test_the_measures_of_each_query_are_those_of_a_ranking_of_it_alone(
    rng: np.random.Generator,
) -> None:
    scores, graded = rng.integers(9, size=(6, 40)), rng.integers(3, size=(6, 40))  # with ties
    graded[:, 0] = 1
    found = metrics.per_query(scores, graded, recalls=(1, 3), ndcg=30)
    assert list(found) == ["recall@1", "recall@3", "mAP", "ndcg@30"]
    for row in range(6):
        alone = scores[row : row + 1], graded[row : row + 1]
        assert found["recall@1"][row] == metrics.recall_at(*alone, 1)
        assert found["recall@3"][row] == metrics.recall_at(*alone, 3)
        assert found["mAP"][row] == pytest.approx(metrics.mean_average_precision(*alone))
        assert found["ndcg@30"][row] == pytest.approx(metrics.ndcg_at(*alone, 30))


def test_recall_counts_queries_with_a_hit_among_the_first_k() -> None:
    scores = np.array([[0.9, 0.5, 0.1], [0.9, 0.5, 0.1]])
    relevant = np.array([[0, 1, 1], [0, 0, 1]], bool)
    assert [metrics.recall_at(scores, relevant, k) for k in (1, 2, 3)] == [0, 0.5, 1]


@few
@given(seeds)
def test_rankings_ignore_the_order_of_items_and_the_scale_of_scores(
    rng: np.random.Generator,
) -> None:
    scores, relevant = rng.normal(size=(6, 12)), rng.random((6, 12)) < 0.3
    relevant[:, 0] = True
    order = rng.permutation(12)
    for measure in (
        metrics.mean_average_precision,
        lambda s, r: metrics.ndcg_at(s, r, 5),
        lambda s, r: metrics.recall_at(s, r, 2),
    ):
        expected = measure(scores, relevant)
        assert measure(np.exp(scores)[:, order], relevant[:, order]) == pytest.approx(expected)
        assert measure(relevant + 0.1 * np.tanh(scores), relevant) == pytest.approx(1)


@few
@given(seeds)
def test_cka_ignores_rotation_scale_and_shift(rng: np.random.Generator) -> None:
    x, y = correlated(rng, 40, 5), correlated(rng, 40, 3)
    similarity = metrics.linear_cka(x, y)
    moved = 4 * x @ rotation(rng, 5) + rng.normal(size=5)
    order = rng.permutation(40)
    assert 0 <= similarity <= 1
    assert metrics.linear_cka(y, x) == pytest.approx(similarity)
    assert metrics.linear_cka(moved, y) == pytest.approx(similarity)
    assert metrics.linear_cka(x[order], y[order]) == pytest.approx(similarity)
    assert metrics.linear_cka(x, moved) == pytest.approx(1)


def test_cka_is_the_alignment_of_centred_gram_matrices(rng: np.random.Generator) -> None:
    x, y = correlated(rng, 20, 5), correlated(rng, 20, 3)
    centring = np.eye(20) - 1 / 20
    a, b = (centring @ z @ z.T @ centring for z in (x, y))
    expected = np.trace(a @ b) / math.sqrt(np.trace(a @ a) * np.trace(b @ b))
    assert metrics.linear_cka(x, y) == pytest.approx(expected)
    apart = np.eye(4)
    assert metrics.linear_cka(apart[:, :1] - apart[:, 1:2], apart[:, 2:3] - apart[:, 3:]) == 0
