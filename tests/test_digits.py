"""The bundled model: small, documented, works at once, and scores what its card says."""

import json
from pathlib import Path

import numpy as np
import pytest

import synesthete
from synesthete import artefact, cli, evaluate
from synesthete.data import espeak
from synesthete.evaluate import judged

FOLDER = artefact.find("digits")
WORDS = "zero one two three four five six seven eight nine".split()


def test_it_is_small_and_says_what_it_was_made_of() -> None:
    files = [path for path in FOLDER.iterdir() if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 10 * 2**20
    assert {path.name for path in files} == {
        artefact.CONFIG, artefact.WEIGHTS, artefact.SCORECARD, artefact.CARD
    }  # fmt: skip
    card = (FOLDER / artefact.CARD).read_text(encoding="utf-8")
    held = artefact.read("digits")
    assert f"    {held.training['command']}\n" in card
    assert held.training["command"].startswith("synesthete train flow --crowd 75")
    assert "espeak-ng" in card
    scorecard = json.loads((FOLDER / artefact.SCORECARD).read_text(encoding="utf-8"))
    assert tuple(scorecard) == evaluate.KEYS
    assert f"| agreement | {scorecard['agreement']:.4g} |" in card
    assert card == artefact.card(held, scorecard)
    assert scorecard["audio_source"] == "FSDD v1.0.10"
    origins = json.loads((FOLDER / artefact.CONFIG).read_text(encoding="utf-8"))["data"]["origins"]
    assert [o["detail"] for o in origins if o["place"] in ("directory", "cache")] == ["", ""]


def test_it_draws_what_is_said_in_as_many_ways_as_the_dial_asks_for() -> None:
    """A synthetic voice that was in no training: one image at 0, sixteen at 1, mostly right."""
    pytest.importorskip("espeakng_loader")
    spoken, rate = espeak.speak([espeak.Utterance(word, "en-us+f2", 165, 45) for word in WORDS])
    model = synesthete.load("digits")
    still = model.generate(spoken, 4, sample_rate=rate, diversity=0.0)
    assert (still == still[:, :1]).all()
    drawn = model.generate(spoken, 16, sample_rate=rate)
    assert len(np.unique(drawn.reshape(160, -1), axis=0)) == 160
    read = judged(drawn.reshape(-1, 28, 28)).read.reshape(10, 16)
    assert (read == np.arange(10)[:, None]).mean() > 0.7


def test_it_is_not_written_to(tmp_path: Path) -> None:
    assert artefact.is_bundled(artefact.read("digits"))
    copy = tmp_path / "digits"
    artefact.write(artefact.read("digits"), copy)
    assert not artefact.is_bundled(artefact.read(str(copy)))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_its_scorecard_is_reproduced(tmp_path: Path) -> None:
    """Within what another CPU's rounding may change: a few of 10,000 drawings."""
    out = tmp_path / "scorecard.json"
    assert cli.main(["evaluate", "digits", "--json", str(out)]) == 0
    found = json.loads(out.read_text(encoding="utf-8"))
    told = json.loads((FOLDER / artefact.SCORECARD).read_text(encoding="utf-8"))
    if found["audio_source"] != told["audio_source"]:
        pytest.skip("FSDD is not to be had here")
    assert found["agreement"] == pytest.approx(told["agreement"], abs=0.002)
    assert found["fld"] == pytest.approx(told["fld"], abs=0.1)
    assert found["diversity_ratio"] == pytest.approx(told["diversity_ratio"], abs=0.005)
