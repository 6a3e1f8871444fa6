"""Score rankings: queries against items, best first.

In every function, scores float[Q, I] are higher for nearer items (negate distances), relevance
[Q, I] is at least 0 with something relevant in every row, and ties keep the items' order.
"""

from collections.abc import Sequence

import numpy as np

from synesthete.metrics.shapes import Array, Floats, misfit


def recall_at(scores: Array, relevance: Array, k: int) -> float:
    """Share of queries with a relevant item among their first k: the R@k of retrieval papers."""
    return float(_found(_ranked(scores, relevance), k).mean())


def mean_average_precision(scores: Array, relevance: Array) -> float:
    """Mean over queries of the mean precision at the rank of each relevant item, in 0..1."""
    return float(_average_precision(_ranked(scores, relevance)).mean())


def ndcg_at(scores: Array, relevance: Array, k: int) -> float:
    """Mean over queries of the first k items' discounted gain over the best possible, in 0..1.

    Järvelin and Kekäläinen 2002; the gain is the relevance, the discount log2(1 + rank).
    """
    return float(_ndcg(_ranked(scores, relevance), k).mean())


def per_query(
    scores: Array, relevance: Array, recalls: Sequence[int] = (1, 5, 10), ndcg: int = 30
) -> dict[str, Floats]:
    """The three of each query by itself, float64[Q] each, the items being ranked only once.

    Of many queries, rank a block at a time and concatenate.

    Returns:
        `recall@k` (0 or 1) for each k of `recalls`, `mAP` (the average precision), `ndcg@k`.
    """
    ranked = _ranked(scores, relevance)
    return {
        **{f"recall@{k}": _found(ranked, k) for k in recalls},
        "mAP": _average_precision(ranked),
        f"ndcg@{ndcg}": _ndcg(ranked, ndcg),
    }


def _found(ranked: Floats, k: int) -> Floats:
    """1 where a relevant item is among the first k of float[Q, I], else 0: float64[Q]."""
    return np.asarray((ranked[:, :k] > 0).any(axis=1), np.float64)


def _average_precision(ranked: Floats) -> Floats:
    hits = ranked > 0
    precision = hits.cumsum(axis=1) / np.arange(1, hits.shape[1] + 1)
    return np.asarray((precision * hits).sum(axis=1) / hits.sum(axis=1))


def _ndcg(ranked: Floats, k: int) -> Floats:
    k = min(k, ranked.shape[1])
    best = np.sort(np.partition(ranked, -k, axis=1)[:, -k:], axis=1)[:, ::-1]
    discount = 1 / np.log2(np.arange(2, k + 2))
    return np.asarray((ranked[:, :k] @ discount) / (best @ discount))


def _ranked(scores: Array, relevance: Array) -> Floats:
    """Sort each query's relevance [Q, I] from its highest score to its lowest."""
    if scores.ndim != 2 or scores.shape != relevance.shape or not scores.size:
        raise misfit("scores [Q, I] and relevance [Q, I], not empty", scores, relevance)
    if not np.isfinite(scores).all():
        raise ValueError("scores hold NaN or infinity")
    if (relevance < 0).any() or not (relevance > 0).any(axis=1).all():
        raise ValueError("relevance must be at least 0, and above 0 somewhere in every row")
    order = np.argsort(-scores.astype(np.float64), axis=1, kind="stable")
    return np.take_along_axis(relevance, order, axis=1).astype(np.float64)
