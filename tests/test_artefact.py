"""Artefacts: plain files, written whole, loaded without running anything that lies in them."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import synesthete
from synesthete import artefact, config, runs
from synesthete.artefact import ArtefactError
from synesthete.config import ConfigError
from synesthete.data.alignment import Alignment
from synesthete.data.labels import Labels


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, toy_world: tuple[Alignment, Labels]) -> Path:
    out = tmp_path_factory.mktemp("run") / "toy"
    table = config.read("archetype")
    table["training"] |= {"steps": 3, "batch_size": 8}
    runs.run(config.from_table(table), toy_world[0], {"split": "toy"}, out, command="a command")
    return out


@pytest.fixture
def copied(trained: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    target = tmp_path / "copy"
    target.mkdir()
    for name in (artefact.CONFIG, artefact.WEIGHTS, artefact.CARD):
        (target / name).write_bytes((trained / name).read_bytes())
    return target


def change(folder: Path, **values: object) -> None:
    path = folder / artefact.CONFIG
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def test_what_is_written_comes_back(trained: Path) -> None:
    held = artefact.read(str(trained))
    weights = load_file(trained / artefact.WEIGHTS)
    assert held.parameters == sum(p.numel() for p in held.model.parameters())
    for name, value in held.model.state_dict().items():
        assert torch.equal(value, weights[name])
    assert held.preset.training.steps == 3
    assert held.shapes.image == (1, 28, 28)
    assert held.training["command"] == "a command"
    assert not held.model.training


def test_a_copy_draws_the_same_images(trained: Path, copied: Path) -> None:
    clip = np.random.default_rng(0).normal(0, 0.1, 4_000)
    ours, theirs = (
        synesthete.load(folder).generate(clip, sample_rate=8_000) for folder in (trained, copied)
    )
    np.testing.assert_array_equal(ours, theirs)


def test_the_card_has_recipe_command_and_numbers(trained: Path) -> None:
    held = artefact.read(str(trained))
    assert "a command" in (trained / artefact.CARD).read_text()
    assert "Not scored yet" in (trained / artefact.CARD).read_text()
    card = artefact.card(held, {"agreement": 0.9876, "fld": None, "agreement_ci95": [0.9, 1.0]})
    assert "| agreement | 0.9876 |" in card
    assert "[0.9, 1.0]" in card
    assert "fld" not in card
    tables = {"retrieval": {"there": {"mAP": 0.5, "mAP_ci95": [0.4, 0.6]}, "back": None}}
    shares = {"agreement_per_class": {"3": {"value": 0.1, "n": 7}}}
    card = artefact.card(held, {**tables, **shares})
    assert "| retrieval there mAP | 0.5 |" in card
    assert "per_class" not in card


def test_altered_weights_are_refused(copied: Path) -> None:
    weights = load_file(copied / artefact.WEIGHTS)
    name = next(iter(weights))
    save_file({**weights, name: weights[name] + 1}, copied / artefact.WEIGHTS)
    with pytest.raises(ArtefactError, match="not the weights"):
        artefact.read(str(copied))


def test_a_pickle_in_the_place_of_weights_is_never_opened(copied: Path) -> None:
    (copied / artefact.WEIGHTS).write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(ArtefactError):
        artefact.read(str(copied))
    assert not Bomb.gone_off


class Bomb:
    """Whoever unpickles this runs its code."""

    gone_off = False

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return setattr, (Bomb, "gone_off", True)


@pytest.mark.parametrize("family", ["os", "..judges", "synesthete.judges", "", "__init__"])
def test_a_configuration_cannot_name_an_import(copied: Path, family: str) -> None:
    preset = json.loads((copied / artefact.CONFIG).read_text())["preset"]
    change(copied, preset={**preset, "family": family})
    with pytest.raises(ConfigError, match="no family"):
        artefact.read(str(copied))


def test_a_newer_format_and_broken_json_are_told(copied: Path) -> None:
    change(copied, format=99)
    with pytest.raises(ArtefactError, match="format 99"):
        artefact.read(str(copied))
    for text in ("{", "[]", "{}", '{"format": 1}'):
        (copied / artefact.CONFIG).write_text(text)
        with pytest.raises(ArtefactError, match="cannot be read"):
            artefact.read(str(copied))


def test_what_is_no_model_is_told_apart(tmp_path: Path) -> None:
    with pytest.raises(ArtefactError, match="no model 'nowhere'"):
        artefact.read("nowhere")
    with pytest.raises(ArtefactError, match="no model here"):
        artefact.read(str(tmp_path))
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(ArtefactError, match="--resume"):
        artefact.read(str(tmp_path))
