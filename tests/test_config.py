"""Presets: typos are errors that help, and overrides reach every key."""

import re
from pathlib import Path

import pytest

from synesthete import config
from synesthete.config import ConfigError
from synesthete.data.spectrogram import SpectrogramConfig
from synesthete.family import Shapes, build


def table(**changes: object) -> dict[str, object]:
    return {**config.read("archetype"), **changes}


@pytest.mark.parametrize("name", config.names())
def test_every_preset_states_its_command_and_time_first(name: str) -> None:
    path = Path(config.__file__).parent / "presets" / f"{name}.toml"
    head = path.read_text(encoding="utf-8").split("\n\n")[0]
    assert head.startswith("#")
    assert f"synesthete train {name}" in head
    assert re.search(r"~\d+ (min|h) on (2 cores|one core)", head)


def test_a_misspelt_key_is_refused_with_the_right_one() -> None:
    with pytest.raises(ConfigError, match=r"'stpes' in \[training\]; did you mean 'steps'"):
        config.from_table(table(training={"stpes": 3, "steps": 3}))
    with pytest.raises(ConfigError, match=r"'latnet' in \[model\].*did you mean 'latent'"):
        build("vae", {"latnet": 3}, Shapes())
    with pytest.raises(ConfigError, match=r"'famly' in the preset.*"):
        config.from_table(table(famly="vae"))


def test_a_missing_key_and_a_wrong_type_are_named() -> None:
    with pytest.raises(ConfigError, match=r"\[training\] lacks the key 'steps'"):
        config.from_table(table(training={}))
    with pytest.raises(ConfigError, match=r"'steps' in \[training\] is 'ten', wanted int"):
        config.from_table(table(training={"steps": "ten"}))
    with pytest.raises(ConfigError, match=r"'steps' in \[training\] is True, wanted int"):
        config.from_table(table(training={"steps": True}))


@pytest.mark.parametrize(
    "wrong",
    [
        {"steps": 0},
        {"objective": "paris"},
        {"schedule": "linear"},
        {"precision": "16"},
        {"ema": 1.0},
        {"learning_rate": 0.0},
        {"batch_size": -1},
        {"first_phase_steps": 6},
        {"readers": 0},
        {"batch_size": 8, "readers": 3},
        {"batch_size": 8, "readers": 4, "images_per_recording": 4, "objective": "pairs"},
    ],
)
def test_values_out_of_range_are_refused_by_name(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=f"training.{next(iter(wrong))}"):
        config.from_table(table(training={"steps": 5, **wrong}))


def test_any_key_can_be_overridden_bare_or_with_its_section() -> None:
    changed = config.from_table(
        config.read("archetype"),
        {"steps": "7", "training.learning-rate": "1e-4", "bands": "40", "model.code": "9"},
    )
    assert changed.training.steps == 7
    assert changed.training.learning_rate == 1e-4
    assert changed.spectrogram == SpectrogramConfig(bands=40)
    assert changed.model["code"] == 9
    with pytest.raises(ConfigError, match="no section 'trainig'; did you mean 'training'"):
        config.from_table(config.read("archetype"), {"trainig.steps": "7"})


def test_overriding_leaves_the_table_alone() -> None:
    given = config.read("archetype")
    before = config.from_table(given)
    config.from_table(given, {"steps": "7"})
    assert config.from_table(given) == before


def test_a_preset_is_a_bundled_name_or_a_file(tmp_path: Path) -> None:
    own = tmp_path / "mine.toml"
    own.write_text('family = "vae"\n[training]\nsteps = 3\n')
    assert config.from_table(config.read(str(own))).name == "mine"
    with pytest.raises(ConfigError, match="did you mean 'archetype'"):
        config.read("archetipe")
    own.write_text("family = ")
    with pytest.raises(ConfigError, match="not valid TOML"):
        config.read(str(own))


def test_an_unknown_family_is_refused_and_none_is_imported_by_path() -> None:
    for name in ("vea", "os", "..judges", "vae.Model"):
        with pytest.raises(ConfigError, match="no family"):
            build(name, {}, Shapes())
