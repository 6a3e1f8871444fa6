"""Compare two sets of features as wholes."""

import numpy as np

from synesthete.metrics.shapes import Array, Floats, features, misfit


def frechet_distance(x: Array, y: Array) -> float:
    """Squared Fréchet distance of the Gaussians fitted to features x [N, D] and y [M, D].

    Heusel et al. 2017 (arXiv:1706.08500), section 2, in any features; 0 for equal moments.
    """
    x, y = features(x, y)
    return frechet_from_moments(
        x.mean(axis=0), np.cov(x, rowvar=False), y.mean(axis=0), np.cov(y, rowvar=False)
    )


def frechet_from_moments(mean_a: Array, cov_a: Array, mean_b: Array, cov_b: Array) -> float:
    """Squared Fréchet distance of two Gaussians from their means [D] and covariances [D, D].

    |mean_a - mean_b|^2 + tr(A + B - 2 (A B)^(1/2)) (Dowson and Landau 1982). The eigenvalues of
    A B are those of the symmetric H^T B H, where A = H H^T: real, whatever the rank of A and B.
    """
    covs = [np.atleast_2d(cov).astype(np.float64) for cov in (cov_a, cov_b)]
    d = mean_a.shape
    if mean_a.ndim != 1 or mean_b.shape != d or any(cov.shape != d * 2 for cov in covs):
        raise misfit("means [D] and covariances [D, D]", mean_a, cov_a, mean_b, cov_b)
    values, vectors = np.linalg.eigh(covs[0])
    half = vectors * np.sqrt(np.maximum(values, 0))
    product = np.linalg.eigvalsh(half.T @ covs[1] @ half)
    overlap = np.sqrt(np.maximum(product, 0)).sum()
    gap = np.square(np.subtract(mean_a, mean_b, dtype=np.float64)).sum()
    return max(0.0, float(gap + np.trace(covs[0]) + np.trace(covs[1]) - 2 * overlap))


def kid(
    x: Array, y: Array, rng: np.random.Generator, subsets: int = 100, subset_size: int = 1_000
) -> float:
    """Kernel distance: the mean over random subsets of the unbiased squared MMD.

    Bińkowski et al. 2018 (arXiv:1801.01401), section 4, with kernel (u.v / D + 1)^3, in any
    features. Being unbiased, it falls slightly below 0 at times for equal distributions.

    Args:
        x: features float[N, D].
        y: features float[M, D].
        rng: draws the subsets, each without replacement.
        subsets: their number.
        subset_size: rows of x, and of y, in each; at most min(N, M) are taken.
    """
    x, y = features(x, y)
    m = min(subset_size, len(x), len(y))
    if m < 2 or subsets < 1:
        raise ValueError(f"{subsets} subsets of {subset_size}: wanted at least 1 of at least 2")
    picks = [(rng.choice(len(x), m, False), rng.choice(len(y), m, False)) for _ in range(subsets)]
    return float(np.mean([_squared_mmd(x[i], y[j]) for i, j in picks]))


def _squared_mmd(x: Floats, y: Floats) -> float:
    """Unbiased squared MMD of [m, D] and [m, D] (Gretton et al. 2012, lemma 6)."""
    m = len(x)
    xx, yy, xy = _cubic_kernel(x, x), _cubic_kernel(y, y), _cubic_kernel(x, y)
    same = xx.sum() - np.trace(xx) + yy.sum() - np.trace(yy)
    return float(same / (m * (m - 1)) - 2 * xy.mean())


def _cubic_kernel(x: Floats, y: Floats) -> Floats:
    base: Floats = x @ y.T / x.shape[1] + 1
    base *= base * base  # ten times faster than ** 3
    return base


def linear_cka(x: Array, y: Array) -> float:
    """Similarity in 0..1 of two representations [N, D] and [N, E] of the same N items.

    Linear centred kernel alignment, Kornblith et al. 2019 (arXiv:1905.00414), section 3: 1 for
    representations equal up to rotation, scale and shift. Biased upwards unless N is well above D.
    """
    (x,), (y,) = features(x), features(y)
    if len(x) != len(y):
        raise misfit("x [N, D] and y [N, E] of the same N items", x, y)
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    scale = np.linalg.norm(x.T @ x) * np.linalg.norm(y.T @ y)
    if scale == 0:
        raise ValueError(f"x {x.shape}, y {y.shape}: one of them is the same for every item")
    return float(np.linalg.norm(y.T @ x) ** 2 / scale)
