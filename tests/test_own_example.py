"""The worked example of docs/own-pairs.md, whole: films, pairs, a model, a report, a measure."""

import importlib
import json
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from synesthete import cli
from synesthete.data import storage

EXAMPLES = Path(__file__).parent.parent / "examples"
OPTIONS = "--fps 3 --before 0.2 --after 0.2 --size 32 --test 0.15".split()


def example(name: str) -> ModuleType:
    sys.path.insert(0, str(EXAMPLES))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(EXAMPLES))


@pytest.fixture(scope="module")
def shapes() -> ModuleType:
    return example("shapes")


def test_sound_and_picture_tell_the_same_by_the_example_s_own_measure(shapes: ModuleType) -> None:
    rng = np.random.default_rng(0)
    for colour in shapes.COLOURS:
        for height in (0.0, 0.3, 0.7, 1.0):
            image = shapes.draw(colour, height, rng.uniform(0.3, 0.7), "1")
            wave = shapes.sing(colour, np.full(6_400, height), rng)
            for found in (shapes.seen(image), shapes.heard(wave, shapes.RATE)):
                assert found[0] == colour
                assert found[1] == pytest.approx(height, abs=0.03)


def test_the_page_shows_the_commands_that_are_tested() -> None:
    page = (EXAMPLES.parent / "docs" / "own-pairs.md").read_text()
    assert f"synesthete pairs from-video clips --out pairs {' '.join(OPTIONS)}\n" in page
    assert "synesthete demo --pairs pairs --out runs/shapes\n" in page
    assert "python examples/measure_shapes.py runs/shapes pairs" in page


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_from_a_folder_of_videos_to_drawings_of_what_is_heard(
    shapes: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["shapes.py", "clips"])
    shapes.main()
    assert cli.main(["pairs", "from-video", "clips", "--out", "pairs", *OPTIONS]) == 0
    assert cli.main(["demo", "--pairs", "pairs", "--out", "runs/shapes"]) == 0
    assert "A matcher that learned" in Path("runs/shapes/report.html").read_text()
    card = json.loads(Path("runs/shapes/scorecard.json").read_text())
    assert card["agreement"] is None
    assert card["correspondence"]["drawn"] > card["correspondence"]["others"] + 0.3

    measure = example("measure_shapes")
    test = storage.load("pairs", ("test",))
    found = measure.shares(measure.drawings("runs/shapes", test), test)
    assert found["real frames"]["value"] == 1
    assert found["drawings"]["value"] >= 0.9
    assert found["drawings, shuffled"]["value"] < 0.3
    assert found["drawings"]["n"] == 9
