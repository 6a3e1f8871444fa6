"""Random arrays, and how many of them a property is tried on."""

from typing import Any

import numpy as np
import numpy.typing as npt
from hypothesis import settings
from hypothesis import strategies as st

Array = npt.NDArray[Any]
seeds = st.integers(0, 2**32 - 1).map(np.random.default_rng)
few = settings(max_examples=25)


def correlated(rng: np.random.Generator, n: int, d: int, shift: float = 0.0) -> Array:
    return rng.normal(size=(n, d)) @ rng.normal(size=(d, d)) + shift


def rotation(rng: np.random.Generator, d: int) -> Array:
    return np.linalg.qr(rng.normal(size=(d, d)))[0]
