"""What is published of the bundled model is of its weights, meets its bars, and stands as told."""

import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from synesthete import artefact

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def bench() -> Iterator[ModuleType]:
    """`bench/faithful.py`; `bench/levers.py` and `bench/page.py` are its own imports."""
    sys.path.insert(0, str(ROOT / "bench"))
    try:
        yield importlib.import_module("faithful")
    finally:
        sys.path.remove(str(ROOT / "bench"))


@pytest.mark.parametrize("name", ["dial", "spread", "robustness", "guidance"])
def test_the_measurements_are_of_the_bundled_weights(name: str) -> None:
    found = json.loads((ROOT / "docs" / "digits" / f"{name}.json").read_text())
    config = json.loads((artefact.find("digits") / artefact.CONFIG).read_text())
    assert found["weights_sha256"] == config["weights_sha256"]


def test_the_bundled_model_meets_every_bar_of_its_scorecard(bench: ModuleType) -> None:
    card = json.loads((artefact.find("digits") / artefact.SCORECARD).read_text())
    assert [name for name, _, met in bench.BARS if not met(card)] == []
    default = next(row for row in bench.read("dial") if row["diversity"] == 1)
    assert default["agreement"] == pytest.approx(card["agreement"], abs=0.002)
    assert default["fld"] == pytest.approx(card["fld"], abs=0.1)


def test_the_page_shows_the_tables_that_the_measurements_give(bench: ModuleType) -> None:
    page = bench.PAGE.read_text(encoding="utf-8")
    assert bench.told(page, bench.tables()) == page


def test_no_other_model_is_better_than_every_point_of_the_dial(bench: ModuleType) -> None:
    """Beyond its interval: one of ours is as often right, and as various or as near the data."""
    ours = bench.read("dial")
    others = [f"vae-gan-alpha-{alpha}" for alpha in bench.ALPHAS]
    for name in [*others, "vae-gan", "vae-pairs", "archetype"]:
        card = bench.stage(name)
        right = [row for row in ours if row["agreement"] >= card["agreement_ci95"][0]]
        assert max(row["diversity_ratio"] for row in right) >= min(1, card["diversity_ratio"]), name
        assert min(row["fld"] for row in right) <= card["fld"], name


def rights(levers: ModuleType, agreement: Any) -> Any:
    """bool[speaker, left out besides, recording] of the agreements float[4, 3]."""
    return np.arange(levers.EACH) < levers.EACH * np.asarray(agreement)[..., None]


def test_the_folds_that_choose_for_a_speaker_have_nothing_to_do_with_it(bench: ModuleType) -> None:
    """Left out together with another, who alone is tested."""
    levers = bench.levers
    for who in levers.SPEAKERS:
        agreement = [
            [0.8 if other == who else 0.2 for other in levers._others(tested)]
            for tested in levers.SPEAKERS
        ]
        found = rights(levers, agreement)[levers._apart(who)]
        assert found.shape == (3, levers.EACH)
        assert found.mean() == pytest.approx(0.8)


def test_a_training_is_tested_on_both_speakers_that_it_left_out(bench: ModuleType) -> None:
    """Six trainings: 0.5 apart from the first, whose two speakers have 0.9 and 0.7."""
    levers = bench.levers
    agreement = np.full((4, 3), 0.5)
    agreement[0, 0], agreement[1, 0] = 0.9, 0.7
    each = levers._trainings(rights(levers, agreement))
    np.testing.assert_allclose(each, [0.8, 0.5, 0.5, 0.5, 0.5, 0.5])
    low, high = levers._interval(each)
    half = 2.5706 * each.std(ddof=1) / 6**0.5
    assert (low, high) == pytest.approx((each.mean() - half, each.mean() + half), abs=1e-5)


def test_the_most_frequent_confusions_are_told_first(bench: ModuleType) -> None:
    counts = np.diag([10] * 10)
    counts[4, 1], counts[6, 8], counts[2, 3], counts[9, 5] = 20, 50, 5, 25
    assert bench.page._confused(counts.tolist()) == "6 → 8 25.0%, 9 → 5 12.5%, 4 → 1 10.0%"
