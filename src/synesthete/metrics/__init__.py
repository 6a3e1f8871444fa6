"""Score images, features and rankings: pure functions on numpy arrays, without models or files."""

from synesthete.metrics.distributions import (
    frechet_distance,
    frechet_from_moments,
    kid,
    linear_cka,
)
from synesthete.metrics.diversity import Judged, diversity_ratio, diversity_within_recording
from synesthete.metrics.jackknife import coverage_jackknife, deal, jackknife
from synesthete.metrics.neighbours import memorised_fraction, prdc
from synesthete.metrics.rankings import (
    mean_average_precision,
    ndcg_at,
    per_query,
    recall_at,
)
from synesthete.metrics.shares import (
    Share,
    confusion,
    consistency,
    grouped_mean,
    interval,
    share,
    share_by,
)

__all__ = [
    "Judged",
    "Share",
    "confusion",
    "consistency",
    "coverage_jackknife",
    "deal",
    "diversity_ratio",
    "diversity_within_recording",
    "frechet_distance",
    "frechet_from_moments",
    "grouped_mean",
    "interval",
    "jackknife",
    "kid",
    "linear_cka",
    "mean_average_precision",
    "memorised_fraction",
    "ndcg_at",
    "per_query",
    "prdc",
    "recall_at",
    "share",
    "share_by",
]
