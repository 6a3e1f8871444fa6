"""Refuse arrays that do not fit, naming their shapes."""

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]


def misfit(wanted: str, *found: Array) -> ValueError:
    """Word the error for arrays `found` where `wanted` describes the shapes that would do."""
    return ValueError(f"wanted {wanted}; found {', '.join(str(x.shape) for x in found)}")


def features(*sets: Array) -> tuple[Floats, ...]:
    """Check sets of features [N, D], N >= 2 and of one D, all finite -> the same as float64."""
    if any(x.ndim != 2 or len(x) < 2 for x in sets) or len({x.shape[1] for x in sets}) > 1:
        raise misfit("features [N, D] with N >= 2 and one D", *sets)
    if not all(np.isfinite(x).all() for x in sets):
        raise ValueError(f"features {[x.shape for x in sets]} hold NaN or infinity")
    return tuple(x.astype(np.float64) for x in sets)
