"""A model's way to the Hugging Face Hub and back, through a stand-in on loopback."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import soundfile

import synesthete
from hub_server import TOKEN, Hub
from synesthete import artefact, hub
from synesthete.hub import HubError
from tiny import tone

SESSION = """
import doctest, json, sys
import numpy as np
import synesthete
from synesthete import cli

def failure(call, *args, **kwargs):
    try:
        call(*args, **kwargs)
    except synesthete.UserError as error:
        return str(error)

model = synesthete.load("digits")
told = {"denied": failure(model.push_to_hub, "ada/digits", token="hf_stolen")}
told["commit"] = model.push_to_hub("ada/digits", private=True)
input()  # the other side looks at what came, and adds to it
loaded = synesthete.load("ada/digits")
sound = np.sin(np.arange(4_000) / 4)
drawn = [m.generate(sound, 2, sample_rate=8_000) for m in (model, loaded)]
told["same"] = bool((drawn[0] == drawn[1]).all())
told["folder"] = loaded.artefact.name
example = doctest.DocTestFinder().find(synesthete.Model.push_to_hub, "push_to_hub")[0]
example.globs = {"synesthete": synesthete, "model": model}
told["example"] = doctest.DocTestRunner().run(example)._asdict()
told["unknown"] = failure(synesthete.load, "ada/nothing")
told["status"] = cli.main(["generate", "ada/nothing", "a.wav"])
print(json.dumps(told))
"""


def test_a_published_model_comes_back_the_same_and_nothing_else_with_it(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "seven.wav", tone(300), 8_000)
    with Hub() as server:
        environment = {
            **os.environ, "HF_ENDPOINT": server.url(), "HF_HOME": str(tmp_path), "HF_TOKEN": TOKEN,
            "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        }  # fmt: skip
        with subprocess.Popen(
            [sys.executable, "-c", SESSION], env=environment, cwd=tmp_path, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        ) as session:  # fmt: skip
            while not server.repositories.get("ada/digits"):
                assert session.poll() is None, session.communicate()[1]
                time.sleep(0.05)
            published = dict(server.repositories["ada/digits"])
            server.repositories["ada/digits"] |= {"pytorch_model.bin": b"\x80\x04.", "run.py": b""}
            out, errors = session.communicate("\n", timeout=200)
    assert session.returncode == 0, errors
    told = json.loads(out)
    assert sorted(published) == sorted(artefact.FILES)
    weights = artefact.find("digits") / artefact.WEIGHTS
    assert published[artefact.WEIGHTS] == weights.read_bytes()
    assert server.private == {"ada/digits": True}
    assert told["commit"].startswith(f"{server.url()}/ada/digits/commit/")
    assert told["same"]
    assert told["example"] == {"failed": 0, "attempted": 2}
    assert {path.name for path in Path(told["folder"]).iterdir()} == set(artefact.FILES)
    assert not [asked for asked in server.asked if "pytorch_model" in asked.path]
    assert not [asked for asked in server.asked if "torch/" in asked.agent]
    for failed in ("denied", "unknown"):
        assert "the Hugging Face Hub: " in told[failed]
    assert told["status"] == 2
    assert "Traceback" not in errors
    (line,) = errors.splitlines()
    assert line.startswith("synesthete: ada/nothing: the Hugging Face Hub: ")


def test_a_mistyped_run_is_not_asked_of_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def fetch(repository: str, _: object) -> Path:
        asked.append(repository)
        return artefact.find("digits")

    monkeypatch.setattr(hub, "fetch", fetch)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    for name in ("runs/archetpye", "./a/b", "/a/b", "a/b/c", "a\\b"):
        with pytest.raises(artefact.ArtefactError, match="no model"):
            synesthete.load(name)
    assert asked == []
    synesthete.load("ada/digits")
    assert asked == ["ada/digits"]


def test_without_the_library_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(HubError, match=r"pip install 'synesthete\[hub\]'"):
        synesthete.load("ada/digits")


def test_a_saved_model_is_the_model_with_its_scorecard(tmp_path: Path) -> None:
    model = synesthete.load("digits")
    for _ in range(2):  # a second time over the first
        model.save_pretrained(tmp_path / "copy")
    ours, theirs = tmp_path / "copy", artefact.find("digits")
    assert {path.name for path in ours.iterdir()} == set(artefact.FILES)
    for name in (artefact.CONFIG, artefact.WEIGHTS, artefact.SCORECARD):
        assert (ours / name).read_bytes() == (theirs / name).read_bytes()
    assert "| agreement |" in (ours / artefact.CARD).read_text(encoding="utf-8")
    synesthete.load(ours)
