"""The worked example of docs/own-pairs.md, whole: films, pairs, a model, a report, a measure."""

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import synesthete
from synesthete import cli
from synesthete.data import storage

EXAMPLE = Path(__file__).parent.parent / "examples" / "shapes.py"
OPTIONS = "--fps 3 --before 0.2 --after 0.2 --size 32 --test 0.15".split()


@pytest.fixture(scope="module")
def shapes() -> ModuleType:
    spec = importlib.util.spec_from_file_location("shapes", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


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
    page = (EXAMPLE.parent.parent / "docs" / "own-pairs.md").read_text()
    assert f"synesthete pairs from-video clips --out pairs {' '.join(OPTIONS)}\n" in page
    assert "synesthete demo --pairs pairs --out runs/shapes\n" in page


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

    test = storage.load("pairs", ("test",))
    model = synesthete.load("runs/shapes")
    drawn = model.generate([*test.waveforms], n=1, sample_rate=test.rate)[:, 0]
    heard = [shapes.heard(wave, test.rate) for wave in test.waveforms]
    seen = [shapes.seen(image) for image in drawn]
    right = [a[0] == b[0] and abs(a[1] - b[1]) < 1 / 8 for a, b in zip(heard, seen, strict=True)]
    assert np.mean(right) >= 0.9, f"{np.mean(right):.1%} of {len(right)}"
