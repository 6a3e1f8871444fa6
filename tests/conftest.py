"""What every test may rely on: one torch thread, a cache of its own, the toy world."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import HealthCheck, settings

from synesthete.data import toy
from synesthete.data.alignment import Alignment
from synesthete.data.labels import Labels
from tiny import tone

torch.set_num_threads(1)

# A busy machine is no failure.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


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


@pytest.fixture
def sounds(tmp_path: Path) -> Path:
    """A folder of three tones, one in a folder of its own, a bad file and one that is no sound."""
    folder = tmp_path / "sounds"
    (folder / "sub").mkdir(parents=True)
    for name, hertz in (("t0", 300), ("t1", 500), ("sub/t2", 700)):
        soundfile.write(folder / f"{name}.wav", tone(hertz), 8_000, subtype="FLOAT")
    (folder / "bad.wav").write_bytes(b"RIFF, but not really")
    (folder / "notes.txt").write_text("not audio")
    return folder
