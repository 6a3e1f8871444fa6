"""Score rankings: queries against items, best first.

In every function, scores float[Q, I] are higher for nearer items (negate distances), relevance
[Q, I] is at least 0 with something relevant in every row, and ties keep the items' order.
"""

import numpy as np

from synesthete.metrics.shapes import Array, Floats, misfit


def recall_at(scores: Array, relevance: Array, k: int) -> float:
    """Share of queries with a relevant item among their first k: the R@k of retrieval papers."""
    return float((_ranked(scores, relevance)[:, :k] > 0).any(axis=1).mean())


def mean_average_precision(scores: Array, relevance: Array) -> float:
    """Mean over queries of the mean precision at the rank of each relevant item, in 0..1."""
    hits = _ranked(scores, relevance) > 0
    precision = hits.cumsum(axis=1) / np.arange(1, hits.shape[1] + 1)
    return float(((precision * hits).sum(axis=1) / hits.sum(axis=1)).mean())


def ndcg_at(scores: Array, relevance: Array, k: int) -> float:
    """Mean over queries of the first k items' discounted gain over the best possible, in 0..1.

    Järvelin and Kekäläinen 2002; the gain is the relevance, the discount log2(1 + rank).
    """
    gains = _ranked(scores, relevance)[:, :k]
    best = np.sort(relevance.astype(np.float64), axis=1)[:, ::-1][:, :k]
    discount = 1 / np.log2(np.arange(2, gains.shape[1] + 2))
    return float(((gains @ discount) / (best @ discount)).mean())


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
