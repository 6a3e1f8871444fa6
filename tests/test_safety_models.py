"""Models from strangers: refused in words, before they cost memory or time, and never obeyed."""

import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from bounded import little_memory
from synesthete import artefact, checkpoint, config, family
from synesthete.artefact import ArtefactError
from synesthete.config import ConfigError
from synesthete.data import shards, storage
from synesthete.data.alignment import AlignmentError
from synesthete.errors import UserError
from synesthete.family import Shapes
from synesthete.generate import Model
from synesthete.train import State
from tiny import artefact_of, tone


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """An untrained flow, the family with the most to configure."""
    small = {"encoder_width": 8, "width": 8, "inner_width": 8, "code": 8}
    artefact.write(artefact_of("flow", model=small), tmp_path / "model")
    return tmp_path / "model"


def change(folder: Path, dotted: str, value: Any) -> None:
    """Put a value, NaN too, at a place of a configuration."""
    path = folder / artefact.CONFIG
    about = json.loads(path.read_text())
    *way, last = dotted.split(".")
    table = about
    for key in way:
        table = table[key]
    table[last] = value
    path.write_text(json.dumps(about))


def vouch(folder: Path, weights: bytes) -> None:
    """Put weights into an artefact, and the hash that vouches for them."""
    (folder / artefact.WEIGHTS).write_bytes(weights)
    change(folder, "weights_sha256", shards.stamp(weights)["sha256"])


class Bomb:
    """Whoever unpickles this runs its code."""

    gone_off = False

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return setattr, (Bomb, "gone_off", True)


@pytest.mark.parametrize(
    "name", [artefact.CONFIG, artefact.WEIGHTS, artefact.SCORECARD, artefact.CARD]
)
def test_a_pickle_in_the_place_of_a_models_file_is_never_opened(model: Path, name: str) -> None:
    assert artefact.read(str(model)).parameters
    vouch(model, pickle.dumps(Bomb())) if name == artefact.WEIGHTS else None
    (model / name).write_bytes(pickle.dumps(Bomb()))
    if name in (artefact.CONFIG, artefact.WEIGHTS):
        with pytest.raises(ArtefactError, match=f"{name}: "):
            artefact.read(str(model))
    else:
        assert artefact.read(str(model)).parameters
    assert not Bomb.gone_off


@pytest.mark.parametrize("name", ["state.json", "model.safetensors", "optimizer-all.safetensors"])
@pytest.mark.parametrize("kind", ["pickle", "pipe"])
def test_no_checkpoint_is_made_of_a_pickle_or_a_pipe(tmp_path: Path, name: str, kind: str) -> None:
    built = family.build("image_autoencoder", {}, Shapes())
    optimizers: dict[str, torch.optim.Optimizer] = {"all": torch.optim.Adam(built.parameters())}
    state = State(model=built, optimizers=optimizers, average=None)
    target = checkpoint.save(state, tmp_path)
    checkpoint.restore(state, target)
    (target / checkpoint.SUMS).unlink()  # which would give any change away
    (target / name).unlink()
    if kind == "pipe":
        os.mkfifo(target / name)
    else:
        (target / name).write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(UserError, match="this checkpoint cannot be read"):
        checkpoint.restore(state, target)
    assert not Bomb.gone_off


@pytest.mark.parametrize("name", [artefact.CONFIG, artefact.WEIGHTS])
def test_a_pipe_in_the_place_of_a_models_file_is_not_waited_for(model: Path, name: str) -> None:
    (model / name).unlink()
    os.mkfifo(model / name)
    with pytest.raises(ArtefactError, match=r"no model here|a directory or device"):
        artefact.read(str(model))


def header(weights: bytes) -> tuple[dict[str, Any], bytes]:
    size = int.from_bytes(weights[:8], "little")
    return json.loads(weights[8 : 8 + size]), weights[8 + size :]


def with_header(head: bytes, data: bytes) -> bytes:
    return len(head).to_bytes(8, "little") + head + data


def huge(weights: bytes) -> bytes:
    """One tensor is said to have a trillion numbers, and the file to end where it says."""
    head, data = header(weights)
    name = max(head, key=lambda name: head[name]["data_offsets"][1])
    start = head[name]["data_offsets"][0]
    head[name] |= {"shape": [10**6, 10**6], "data_offsets": [start, start + 4 * 10**12]}
    return with_header(json.dumps(head).encode(), data)


def overlapping(weights: bytes) -> bytes:
    """Every tensor lies where the first does."""
    head, data = header(weights)
    for entry in head.values():
        start, end = entry["data_offsets"]
        entry["data_offsets"] = [0, end - start]
    return with_header(json.dumps(head).encode(), data)


@pytest.mark.parametrize(
    "harm",
    [
        huge,
        overlapping,
        lambda weights: weights[:100],
        lambda weights: weights[:5],
        lambda weights: weights[:-1],
        lambda weights: b"",
        lambda weights: with_header(b"[" * 100_000, b""),
        lambda weights: with_header(b" " * (artefact.HEADER + 1), b""),
        lambda weights: b"\xff" * 8 + weights[8:],
    ],
    ids=["huge", "overlapping", "cut", "stub", "short", "empty", "deep", "long", "endless"],
)
def test_weights_whose_header_lies_are_refused(model: Path, harm: Callable[[bytes], bytes]) -> None:
    vouch(model, harm((model / artefact.WEIGHTS).read_bytes()))
    with little_memory(), pytest.raises(UserError, match=r"model|network"):
        artefact.read(str(model))


def test_more_weights_than_any_model_has_are_not_read(model: Path) -> None:
    with (model / artefact.WEIGHTS).open("wb") as file:
        file.truncate(10**12)
    with little_memory(), pytest.raises(ArtefactError, match="1,000,000,000,000 bytes, wanted"):
        artefact.read(str(model))


@pytest.mark.parametrize("name", ["os", "../x", "synesthete.cli", "families.vae", "vae\0", "", 3])
def test_a_configuration_cannot_name_an_import(model: Path, name: object) -> None:
    change(model, "preset.family", name)
    with pytest.raises(ConfigError, match=r"no family|wanted str"):
        artefact.read(str(model))


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("preset.model.width", 10**9),
        ("preset.model.width", 10**30),
        ("preset.model.width", 0),
        ("preset.model.width", -8),
        ("preset.model.width", 9),
        ("preset.model.code", 10**6),
        ("preset.model.blocks", 10**9),
        ("preset.model.evaluations", 10**9),
        ("preset.model.guidance", 0.0),
        ("preset.model.dropout", float("nan")),
        ("preset.model.dropout", 10**400),
        ("preset.model", [1]),
        ("preset.spectrogram.dft", 10**9),
        ("preset.spectrogram.columns", 10**9),
        ("preset.spectrogram.bands", 47),
        ("preset.spectrogram.low_hz", float("-inf")),
        ("preset.training.learning_rate", float("nan")),
        ("preset.training.learning_rate", float("inf")),
        ("preset.training", None),
        ("preset.name", "../../x"),
        ("preset.name", "\ud800"),
        ("preset", "flow"),
        ("shapes.image", [1, 10**9, 10**9]),
        ("shapes.image", [2, 28, 28]),
        ("shapes.image", [1, 28.0, 28]),
        ("shapes.audio", [[1], 48, 48]),
        ("shapes", {"video": [1, 2, 3]}),
        ("format", [[]]),
        ("training", {}),
        ("training.steps", "many"),
        ("data", 7),
        ("data.origins", [7]),
        ("data.split", ["random"]),
        ("data.deep", json.loads("[" * 100 + "]" * 100)),
    ],
)
def test_a_configuration_beyond_reason_is_refused_before_anything_is_made_of_it(
    model: Path, place: str, value: Any
) -> None:
    change(model, place, value)
    with little_memory(), pytest.raises(UserError):
        artefact.read(str(model))


@pytest.mark.parametrize(
    "text", ["[" * 10**6, '{"a":' * 10**5 + "1" + "}" * 10**5, '{"a": 1e9', "\xff"]
)
def test_json_that_is_nested_or_broken_is_refused(model: Path, text: str) -> None:
    for name, read, error in (
        (artefact.CONFIG, artefact.read, ArtefactError),
        (storage.HEADER, storage.load, AlignmentError),
    ):
        (model / name).write_text(text, encoding="latin-1")
        with pytest.raises(error, match=r"cannot be read|not an alignment"):
            read(str(model))


def test_a_network_beyond_memory_is_refused_wherever_it_is_asked_for() -> None:
    with little_memory(), pytest.raises(ConfigError, match="a network of more than 536,870,912"):
        family.build("autoencoder", {"width": 10**5}, Shapes())


def test_a_preset_is_no_path_and_no_binary(tmp_path: Path) -> None:
    for data in (b'name = "../../x"', b"name = 3", b"\xff\xfe", b"a = " + b"[" * 10**5):
        (tmp_path / "my.toml").write_bytes(data)
        with pytest.raises(ConfigError):
            config.read(str(tmp_path / "my.toml"))


def test_what_an_error_quotes_cannot_steer_a_terminal() -> None:
    told = str(UserError("a\x1b[2J\x07\udcff:\tna\u00efve\nnext"))
    assert told == "a\\x1b[2J\\x07\\udcff:\tna\u00efve\nnext"


def test_a_sound_model_still_draws_after_all_that(model: Path) -> None:
    images = Model(artefact.read(str(model))).generate(tone(440, 0.5), 2, sample_rate=8_000)
    assert images.shape == (2, 28, 28)
