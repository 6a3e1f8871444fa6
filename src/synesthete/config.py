"""Read a preset: TOML in, frozen dataclasses out, and every typo an error that helps."""

import dataclasses
import math
import re
import reprlib
import tomllib
from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from synesthete.data.augment import AugmentationConfig
from synesthete.data.scenes import SceneConfig
from synesthete.data.spectrogram import SpectrogramConfig
from synesthete.errors import UserError, did_you_mean
from synesthete.files import read_whole

T = TypeVar("T")

LARGEST = 1 << 20
"""Bytes of a preset."""
MOST = 2**31 - 1
"""The largest whole number that a preset may hold, either way."""
NAME = re.compile(r"\w[\w .+-]{0,99}")
"""What a preset may be called: its name becomes that of a folder."""


class ConfigError(UserError):
    """A preset that cannot be used: an unknown name, a misspelt key, a value of the wrong kind."""


@dataclasses.dataclass(frozen=True)
class TrainingConfig:
    """How a model is fitted; none of it changes what the model is."""

    steps: int
    """Optimiser steps (60,000 pairs / 128 a batch = 468.75 steps an epoch)."""
    first_phase_steps: int = 0
    """Steps in which the model's first phase is trained, its schedule ending there; what comes
    after them leaves it as it is. 0: all steps."""
    batch_size: int = 128
    """Edges (`objective = "pairs"`) or recordings (`"grouped"`) a step, over all processes."""
    readers: int = 1
    """Equal shares that a batch is read and computed in, each with random numbers of its own, their
    gradients averaged; they are dealt among the processes that torchrun started. Batch norm and
    contrastive losses see a share at a time."""
    objective: str = "grouped"
    """`"pairs"`: each edge is a sample. `"grouped"`: each recording meets the mean of its images,
    weighted by how many they are; the same expected gradient without the sampling noise."""
    images_per_recording: int = 1
    """Pairs that a recording brings to a batch: with k, the encoder runs on batch_size / k
    recordings. The same edges an epoch, in blocks (`"pairs"` only)."""
    learning_rate: float = 1e-3
    """Adam's step size; with a schedule, its peak."""
    schedule: str = "constant"
    """`"constant"`, or `"cosine"`: 10% linear warm-up, then down to zero."""
    weight_decay: float = 0.0
    """Decoupled (AdamW), on every parameter."""
    adam_beta1: float = 0.9
    """Adam's decay of the gradient's average; GANs take 0.5 (Radford et al. 2016, section 3)."""
    ema: float = 0.0
    """Decay a step of the averaged weights that the artefact keeps; 0 keeps the last weights."""
    precision: str = "32-true"
    """Lightning Fabric's name: `"32-true"` or `"bf16-mixed"`; `"auto"` is the latter where the
    machine multiplies bfloat16 faster than float32, the former elsewhere."""
    checkpoint_every: int = 200
    """Steps between checkpoints."""

    def __post_init__(self) -> None:
        counts = ("steps", "batch_size", "readers", "checkpoint_every", "images_per_recording")
        for name in counts:
            if getattr(self, name) < 1:
                raise ConfigError(f"training.{name} is {getattr(self, name)}, wanted 1 or more")
        if not 0 <= self.first_phase_steps <= self.steps:
            raise ConfigError(
                f"training.first_phase_steps is {self.first_phase_steps}, "
                f"wanted 0 to training.steps, {self.steps}"
            )
        _one_of("training.objective", self.objective, ("pairs", "grouped"))
        _one_of("training.schedule", self.schedule, ("constant", "cosine"))
        _one_of("training.precision", self.precision, ("32-true", "bf16-mixed", "auto"))
        if self.batch_size % self.readers:
            raise ConfigError(
                f"training.batch_size is {self.batch_size}, no multiple of "
                f"training.readers, {self.readers}"
            )
        if self.batch_size // self.readers % self.images_per_recording:
            among = f" for each of {self.readers} training.readers" if self.readers > 1 else ""
            raise ConfigError(
                f"training.batch_size is {self.batch_size}, no multiple of "
                f"training.images_per_recording, {self.images_per_recording}{among}"
            )
        if self.images_per_recording > 1 and self.objective == "grouped":
            raise ConfigError(
                "training.images_per_recording above 1 needs objective 'pairs': a grouped "
                "recording has one image, its mean"
            )
        if not 0 <= self.adam_beta1 < 1:
            raise ConfigError(f"training.adam_beta1 is {self.adam_beta1}, wanted 0 <= beta < 1")
        if not 0 <= self.ema < 1:
            raise ConfigError(f"training.ema is {self.ema}, wanted 0 <= ema < 1")
        if self.learning_rate <= 0:
            raise ConfigError(f"training.learning_rate is {self.learning_rate}, wanted above 0")


@dataclasses.dataclass(frozen=True)
class Preset:
    """One recipe, whole: what `synesthete train NAME` does."""

    name: str
    family: str
    """A file of `synesthete.families`."""
    training: TrainingConfig
    model: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """The family's own keys; `family.build` checks them against its `Config`."""
    spectrogram: SpectrogramConfig = dataclasses.field(default_factory=SpectrogramConfig)
    scene: SceneConfig = dataclasses.field(default_factory=SceneConfig)
    augmentation: AugmentationConfig = dataclasses.field(default_factory=AugmentationConfig)

    def __post_init__(self) -> None:
        _check_name(self.name)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as `from_table` takes them back."""
        return dataclasses.asdict(self)


_SECTIONS: dict[str, type] = {
    "training": TrainingConfig,
    "spectrogram": SpectrogramConfig,
    "scene": SceneConfig,
    "augmentation": AugmentationConfig,
}


def names() -> list[str]:
    """The presets that come with the package."""
    folder = resources.files("synesthete") / "presets"
    return sorted(f.name.removesuffix(".toml") for f in folder.iterdir() if f.name[-5:] == ".toml")


def read(preset: str) -> dict[str, Any]:
    """The table of a preset: a name of `names()`, or the path of a TOML file.

    Raises:
        ConfigError: no such preset, or not TOML.
    """
    path = Path(preset)
    if path.suffix != ".toml" or not path.is_file():
        if preset not in names():
            hint = did_you_mean(preset, names())
            raise ConfigError(f"no preset '{preset}'{hint}; there are: {', '.join(names())}")
        path = Path(str(resources.files("synesthete") / "presets" / f"{preset}.toml"))
    try:
        table = {"name": path.stem, **tomllib.loads(read_whole(path, LARGEST).decode())}
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"{preset}: not valid TOML: {error}") from error
    _check_name(table["name"])
    return table


def from_table(table: Mapping[str, Any], overrides: Mapping[str, str] | None = None) -> Preset:
    """Check a table and make it a `Preset`; `overrides` are `key` or `section.key` to text.

    Raises:
        ConfigError: an unknown key, or a value of the wrong type.
    """
    _check_table(table, "the preset")
    table = override(table, overrides or {}, _SECTIONS)
    parts: dict[str, Any] = {
        name: parse(kind, table.get(name, {}), f"[{name}]") for name, kind in _SECTIONS.items()
    }
    return parse(Preset, {**table, **parts}, "the preset")


def override(
    table: Mapping[str, Any], overrides: Mapping[str, str], sections: Mapping[str, type]
) -> dict[str, Any]:
    """`table` with `key` or `section.key` replaced; a bare key is looked for in every section."""
    result = {k: dict(v) if isinstance(v, Mapping) else v for k, v in table.items()}
    homes = {f.name: name for name, kind in sections.items() for f in dataclasses.fields(kind)}
    for dotted, text in overrides.items():
        section, _, key = dotted.replace("-", "_").rpartition(".")
        section = section or homes.get(key, "model")
        if section not in {*sections, "model"}:
            raise ConfigError(
                f"--{dotted}: no section '{section}'{did_you_mean(section, sections)}"
            )
        result.setdefault(section, {})[key] = _value(text)
    return result


def parse(kind: type[T], table: Mapping[str, Any], where: str) -> T:
    """`kind(**table)` for a dataclass, with unknown keys, missing keys and wrong types refused."""
    _check_table(table, where)
    fields = {field.name: field for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    hints = get_type_hints(kind)
    for key in table:
        if key not in fields:
            known = [*fields, *(f.name for c in _SECTIONS.values() for f in dataclasses.fields(c))]
            raise ConfigError(
                f"unknown key {reprlib.repr(key)} in {where}{did_you_mean(key, known)}"
            )
    for name, field in fields.items():
        required = field.default is field.default_factory is dataclasses.MISSING
        if required and name not in table:
            raise ConfigError(f"{where} lacks the key '{name}'")
    return kind(**{k: _checked(v, hints[k], f"'{k}' in {where}") for k, v in table.items()})


def _checked(value: Any, hint: Any, where: str) -> Any:
    """`value` if it is of the type asked for, and finite; whole numbers pass for floats."""
    if type(value) is int and abs(value) > MOST:
        raise ConfigError(f"{where} is {reprlib.repr(value)}, wanted at most {MOST}")
    if hint is float and type(value) is int:
        return float(value)
    if hint in (int, float, str, bool) and type(value) is not hint:
        raise ConfigError(f"{where} is {reprlib.repr(value)}, wanted {hint.__name__}")
    if type(value) is float and not math.isfinite(value):
        raise ConfigError(f"{where} is {value}, wanted a finite number")
    return value


def _check_table(value: Any, where: str) -> None:
    if not isinstance(value, Mapping):
        raise ConfigError(f"{where} is {reprlib.repr(value)}, wanted a table of keys and values")


def _check_name(name: Any) -> None:
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise ConfigError(
            f"the preset's name is {reprlib.repr(name)}, wanted a word that names a folder"
        )


def _value(text: str) -> Any:
    """The TOML value that `text` spells, or `text` itself as a string."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _one_of(where: str, value: str, known: Iterable[str]) -> None:
    if value not in known:
        raise ConfigError(f"{where} is '{value}', wanted one of: {', '.join(known)}")
