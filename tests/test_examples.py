"""What the documentation shows is run: docstrings and notebooks."""

import doctest
import importlib.resources
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
import soundfile
from nbclient import NotebookClient

import synesthete
from tiny import tone

ELSEWHERE = {"push_to_hub"}
"""Needs a Hub: `test_hub.py` runs it against a stand-in."""


NOTEBOOKS = Path(__file__).parents[1] / "examples"

PUBLIC = {
    "load": synesthete.load,
    "generate": synesthete.Model.generate,
    "embed": synesthete.Model.embed,
    "save_pretrained": synesthete.Model.save_pretrained,
    "push_to_hub": synesthete.Model.push_to_hub,
}
"""What users call."""


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_every_public_call_has_a_short_example_that_runs(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    soundfile.write("seven.wav", tone(300), 8_000)
    (test,) = doctest.DocTestFinder(recurse=False).find(PUBLIC[name], name)
    assert 2 <= sum(len((e.source + e.want).splitlines()) for e in test.examples) <= 10
    if name in ELSEWHERE:
        return
    model = None if name == "load" else synesthete.load("digits")
    test.globs = {"synesthete": synesthete, "np": np, "Path": Path, "model": model}
    options = doctest.ELLIPSIS
    assert doctest.DocTestRunner(optionflags=options).run(test) == (0, len(test.examples))


def test_the_package_says_that_it_is_typed() -> None:
    assert (importlib.resources.files("synesthete") / "py.typed").is_file()


@pytest.mark.parametrize("name", ["first-steps", "train-an-archetype"])
def test_a_notebook_holds_no_outputs(name: str) -> None:
    for cell in read(name).cells:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_first_steps_lead_where_they_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("espeakng_loader")
    answers = run("first-steps", tmp_path, monkeypatch)
    *_, spread, found, same = answers
    assert spread.startswith("[0.0, ")
    assert int(found.strip("'").split()[0]) >= 6
    assert same == "True"


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_an_archetype_is_trained_in_a_notebook(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    *_, agreement = run("train-an-archetype", tmp_path, monkeypatch)
    assert float(agreement) > 0.8


def read(name: str) -> Any:
    return nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)  # type: ignore[no-untyped-call]


def run(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the cells of a notebook answer, in text; pictures are passed over."""
    monkeypatch.setenv("IPYTHONDIR", str(folder / "ipython"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    resources = {"metadata": {"path": str(folder)}}
    held = NotebookClient(read(name), timeout=800, resources=resources).execute()
    outputs = (output for cell in held.cells for output in cell.get("outputs", ()))
    return [o.data["text/plain"] for o in outputs if o.output_type == "execute_result"]
