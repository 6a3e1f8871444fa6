"""What every test may rely on: one torch thread, a cache of its own, the toy world."""

from pathlib import Path

import numpy as np
import pytest
import torch

from synesthete.data import toy
from synesthete.data.alignment import Alignment
from synesthete.data.labels import Labels

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nothing that a test does reaches the user's cache."""
    cache = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("SYNESTHETE_CACHE", str(cache))
    return cache


@pytest.fixture
def rng() -> np.random.Generator:
    """The same numbers in every test."""
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def toy_world() -> tuple[Alignment, Labels]:
    """Tones and shapes."""
    return toy.build()
