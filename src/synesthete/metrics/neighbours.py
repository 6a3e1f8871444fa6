"""Tell fidelity, variety and memory from nearest neighbours."""

import numpy as np

from synesthete.metrics.shapes import Array, Floats, features, misfit

ROWS = 512  # distances are taken this many rows at a time: 41 MB against 10,000 others


def prdc(real: Array, fake: Array, k: int = 5) -> dict[str, float]:
    """Precision, recall, density and coverage of `fake` features against `real` ones.

    Precision and recall: Kynkäänniemi et al. 2019 (arXiv:1904.06991), section 2. Density and
    coverage: Naeem et al. 2020 (arXiv:2002.09797), section 3. In 0..1; density may exceed 1.

    Args:
        real: features float[N, D], N > k.
        fake: features float[M, D], M > k.
        k: the ball around each item reaches to its k-th nearest neighbour in its own set.
    """
    real, fake = features(real, fake)
    if not 1 <= k < min(len(real), len(fake)):
        raise ValueError(f"k = {k} needs more than k rows: real {real.shape}, fake {fake.shape}")
    centre = real.mean(axis=0)  # far from the origin, |u|^2 + |v|^2 - 2 u.v would cancel
    real, fake = real - centre, fake - centre
    real_radii, fake_radii = squared_radii(real, k), squared_radii(fake, k)
    balls = np.zeros(len(fake), np.int64)  # how many balls of real items hold each fake
    covered = recalled = 0
    for rows in _blocks(len(real)):
        distances = _squared_distances(real[rows], fake)
        inside = distances < real_radii[rows, None]
        balls += inside.sum(axis=0)
        covered += inside.any(axis=1).sum()
        recalled += (distances < fake_radii).any(axis=1).sum()
    return {
        "precision": float((balls > 0).mean()),
        "recall": float(recalled / len(real)),
        "density": float(balls.mean() / k),
        "coverage": float(covered / len(real)),
    }


def memorised_fraction(
    samples: Array,
    train: Array,
    real: Array,
    classes: tuple[Array, Array, Array] | None = None,
) -> float:
    """Share of samples nearer to a train image than 1% of real unseen images are.

    Nearness is the pixel L2 distance to the nearest train image of the same class; each class's
    threshold is the 1st percentile of its real images' distances, so that these score 1%.

    Args:
        samples: images [N, ...].
        train: images [M, ...] that the model was trained on, of the same shape and range.
        real: images [K, ...] that it was not.
        classes: int[N], int[M], int[K], the classes of these; None is one class for all.
    """
    parts = samples, train, real
    if len({part.shape[1:] for part in parts}) > 1 or not all(part.size for part in parts):
        raise misfit("samples, train, real [N, ...] of one image shape, none empty", *parts)
    names = classes or tuple(np.zeros(len(part), np.int64) for part in parts)
    if any(name.shape != part.shape[:1] for name, part in zip(names, parts, strict=True)):
        raise misfit(f"classes of {[len(part) for part in parts]} images", *names)
    nearer = 0
    for name in np.unique(names[0]):
        drawn, seen, unseen = (p[c == name] for p, c in zip(parts, names, strict=True))
        if not (len(seen) and len(unseen)):
            raise ValueError(f"class {name}: {len(seen)} train and {len(unseen)} real images")
        threshold = np.quantile(_nearest(unseen, seen), 0.01)
        nearer += int((_nearest(drawn, seen) < threshold).sum())
    return nearer / len(samples)


def _nearest(images: Array, others: Array) -> Floats:
    """L2 distance of each image [N, ...] to the nearest of the others [M, ...] -> [N].

    Single precision finds the nearest; its distance is then taken exactly, since that of a copy
    (0) would drown in rounding.
    """
    x, y = (part.reshape(len(part), -1).astype(np.float32) for part in (images, others))
    distances = np.empty(len(x))
    for rows in _blocks(len(x)):
        nearest = _squared_distances(x[rows], y).argmin(axis=1)
        distances[rows] = np.linalg.norm(x[rows].astype(np.float64) - y[nearest], axis=1)
    return distances


def squared_radii(x: Floats, k: int) -> Floats:
    """Squared distance of each row [N, D] to its k-th nearest other row -> [N]."""
    radii = np.empty(len(x))
    for rows in _blocks(len(x)):
        distances = _squared_distances(x[rows], x)
        distances[np.arange(len(distances)), np.arange(rows.start, rows.stop)] = 0
        radii[rows] = np.partition(distances, k, axis=1)[:, k]
    return radii


def nearest_by_group(x: Floats, y: Floats, group: Array) -> Floats:
    """Squared distance of x [N, D] to the nearest of y [M, D] in each group int[M] -> [N, G]."""
    order = np.argsort(group, kind="stable")
    _, starts = np.unique(group[order], return_index=True)
    nearest = np.empty((len(x), len(starts)))
    for rows in _blocks(len(x)):
        distances = _squared_distances(x[rows], y[order])
        nearest[rows] = np.minimum.reduceat(distances, starts, axis=1)
    return nearest


def _squared_distances(x: Array, y: Array) -> Array:
    """[n, D] and [m, D] -> [n, m], at least 0, by one matrix product."""
    distances: Array = x @ y.T
    distances *= -2
    distances += np.square(x).sum(axis=1)[:, None]
    distances += np.square(y).sum(axis=1)
    return np.maximum(distances, 0, out=distances)


def _blocks(n: int) -> list[slice]:
    return [slice(start, min(start + ROWS, n)) for start in range(0, n, ROWS)]
