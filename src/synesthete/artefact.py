"""A trained model as a folder of plain files: configuration, weights, scorecard, model card."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save

from synesthete import config, family, hub
from synesthete.errors import UserError, did_you_mean
from synesthete.family import Family, Shapes
from synesthete.files import read_json, read_whole, whole_file

FORMAT = 1
FILES = ("config.json", "model.safetensors", "scorecard.json", "README.md")
CONFIG, WEIGHTS, SCORECARD, CARD = FILES
LICENCE = "Apache-2.0 for the weights. FSDD is CC BY-SA 4.0, MNIST CC BY-SA 3.0."
HEADER = 1 << 20
"""Bytes that the names and shapes in a file of weights may take."""


class ArtefactError(UserError):
    """A folder that holds no model, half a model, or one of a newer format."""


@dataclass(frozen=True)
class Artefact:
    """A trained model and everything that is known about it."""

    model: Family
    preset: config.Preset
    shapes: Shapes
    training: Mapping[str, Any]
    """What happened: seed, steps, seconds, command, versions."""
    data: Mapping[str, Any]
    """What it was trained on: the alignment's provenance, counts and digest."""
    name: str = ""
    """The folder that it was loaded from."""

    @property
    def parameters(self) -> int:
        """Number of trained weights."""
        return sum(p.numel() for p in self.model.parameters())


def write(artefact: Artefact, directory: Path) -> None:
    """Put an artefact into `directory`, the configuration last: without it there is no model."""
    weights = save({k: v.contiguous() for k, v in artefact.model.state_dict().items()})
    about = {
        "format": FORMAT,
        "preset": artefact.preset.to_dict(),
        "shapes": asdict(artefact.shapes),
        "parameters": artefact.parameters,
        "training": dict(artefact.training),
        "data": dict(artefact.data),
        "weights_sha256": hashlib.sha256(weights).hexdigest(),
    }
    for name, content in (
        (WEIGHTS, weights),
        (CARD, card(artefact, None).encode()),
        (CONFIG, _json(about).encode()),
    ):
        with whole_file(directory / name) as draft:
            draft.write_bytes(content)


def write_scorecard(artefact: Artefact, directory: Path, scorecard: Mapping[str, Any]) -> None:
    """Put the scorecard beside the model and its numbers into the model card."""
    with whole_file(directory / SCORECARD) as draft:
        draft.write_text(_json(scorecard), encoding="utf-8")
    with whole_file(directory / CARD) as draft:
        draft.write_text(card(artefact, scorecard), encoding="utf-8")


def copy(artefact: Artefact, directory: Path) -> None:
    """Put an artefact into `directory`, with the scorecard of the folder it was loaded from."""
    scorecard = Path(artefact.name, SCORECARD)
    scored = bool(artefact.name) and scorecard.is_file()
    told = json.loads(scorecard.read_text(encoding="utf-8")) if scored else None
    write(artefact, directory)
    if told is not None:
        write_scorecard(artefact, directory, told)


def read(model: str) -> Artefact:
    """The artefact in a run or artefact folder, of a bundled name or on the Hub, in eval mode.

    Nothing in the folder is executed: the family is looked up among this package's own, weights
    are safetensors.

    Raises:
        ArtefactError: nothing of that name, training not finished, damaged, or a newer format.
        HubError: it looks like a repository's name, and the Hub does not give it.
        ConfigError: the configuration names a family or a key that this version does not know.
    """
    folder = find(model)
    try:
        about = read_json(folder / CONFIG)
        version, table, digest = about["format"], about["preset"], about["weights_sha256"]
        shapes = Shapes(**{name: tuple(shape) for name, shape in about["shapes"].items()})
        told = dict(about["training"]), dict(about["data"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ArtefactError(f"{folder / CONFIG}: cannot be read ({error!r})") from error
    if version != FORMAT:
        raise ArtefactError(f"{folder}: format {version!r}, this version reads {FORMAT}")
    preset = config.from_table(table)
    _check_shapes(folder, preset, shapes)
    weights = _read_weights(folder / WEIGHTS, digest)
    built = family.from_preset(preset, shapes, most=len(weights))
    _load_weights(built, folder / WEIGHTS, weights)
    held = Artefact(built.eval(), preset, shapes, *told, str(folder))
    try:
        card(held, None)
        _check_mix(held.data)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ArtefactError(f"{folder / CONFIG}: no record of a training ({error!r})") from error
    return held


def find(model: str) -> Path:
    """The folder of a model: a path, the name of one that comes with the package, or user/model.

    The last is looked for on the Hugging Face Hub only where there is no folder `user` here, in
    which `model` may have been mistyped.
    """
    folder = Path(model)
    if (folder / CONFIG).is_file():
        return folder
    bundled = _bundled()
    if (bundled / model / CONFIG).is_file() and folder.name == model:
        return bundled / model
    if (folder / "checkpoints").is_dir():
        raise ArtefactError(f"{folder}: its training is not finished; go on with --resume")
    if folder.exists():
        raise ArtefactError(f"{folder}: no model here ({CONFIG} is missing)")
    if hub.REPOSITORY.fullmatch(model) and not folder.parent.exists():
        return hub.fetch(model, FILES)
    names = sorted(p.parent.name for p in bundled.glob(f"*/{CONFIG}"))
    known = f" or one of the bundled models: {', '.join(names)}" if names else ""
    raise ArtefactError(
        f"no model '{model}': give the folder of a run{known}{did_you_mean(model, names)}"
    )


def is_bundled(artefact: Artefact) -> bool:
    """Whether it came with the package, and so is not ours to write to."""
    return Path(artefact.name).resolve().parent == _bundled().resolve()


def _bundled() -> Path:
    return Path(str(resources.files("synesthete") / "models"))


def _check_shapes(folder: Path, preset: config.Preset, shapes: Shapes) -> None:
    picture = (1, preset.spectrogram.bands, preset.spectrogram.columns)
    if shapes.audio != picture or shapes.image[0] not in (1, 3):
        raise ArtefactError(
            f"{folder / CONFIG}: sounds of {shapes.audio} and images of {shapes.image}; "
            f"wanted {picture} by its spectrogram, and 1 or 3 channels"
        )


def _check_mix(data: Mapping[str, Any]) -> None:
    """See that what decides on the alignment to score a model on is of its type."""
    for key, kind in (("split", str), ("crowd_speakers", int)):
        if not isinstance(data.get(key), kind | None):
            raise TypeError(f"{key} is {data[key]!r}")


def _read_weights(path: Path, digest: str) -> bytes:
    try:
        data = read_whole(path, family.LARGEST + HEADER)
    except OSError as error:
        raise ArtefactError(f"{path}: cannot be read ({error.strerror})") from error
    if hashlib.sha256(data).hexdigest() != digest:
        raise ArtefactError(
            f"{path}: not the weights that {CONFIG} was written with; "
            "copy the folder again, or train again"
        )
    if int.from_bytes(data[:8], "little") > HEADER:
        raise ArtefactError(f"{path}: a header of more than {HEADER:,} bytes")
    return data


def _load_weights(model: Family, path: Path, data: bytes) -> None:
    try:
        model.load_state_dict(load(data))
    except (SafetensorError, RuntimeError, ValueError, TypeError, KeyError) as error:
        raise ArtefactError(f"{path}: cannot be read ({error})") from error


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def card(artefact: Artefact, scorecard: Mapping[str, Any] | None) -> str:
    """The model card: data, recipe, numbers, limits, licence, in Markdown."""
    training, data = artefact.training, artefact.data
    sources = "\n".join(
        f"- {o['name']}: {o['place']}, SHA-256 `{o['sha256']}`" for o in data.get("origins", ())
    )
    return f"""---
license: apache-2.0
library_name: synesthete
---
# {artefact.preset.name}

A model of what is heard and seen together, trained by [synesthete](https://github.com/synesthete)
on the alignment of recordings and images alone: it has seen no label.

## Data
{sources or "- the user's own pairs"}

Split `{data.get("split")}`; alignment digest `{data.get("digest")}`.

## Recipe
Family `{artefact.preset.family}`, {artefact.parameters:,} parameters, {training["steps"]:,} steps
of batch {artefact.preset.training.batch_size}, seed {training["seed"]}, {training["seconds"]:.0f} s
on {training["threads"]} CPU threads with torch {training["torch"]}:

    {training["command"]}

## Numbers
{_numbers(scorecard)}

## Limits
It knows the voices, microphones and images it was trained on; other speakers are read worse. It
answers to any sound, also to one that is no digit.

## Licence
{LICENCE}
"""


def _numbers(scorecard: Mapping[str, Any] | None) -> str:
    if scorecard is None:
        return "Not scored yet: `synesthete evaluate` writes them here."
    rows = [f"| {name} | {value:.4g} |" for name, value in _numeric(scorecard)]
    interval = scorecard.get("agreement_ci95")
    told = f"\n\nAgreement, 95% interval over recordings: {interval}." if interval else ""
    source = scorecard.get("audio_source")
    return f"Audio: {source}.\n\n| | |\n|---|---|\n" + "\n".join(rows) + told


def _numeric(card: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, float]]:
    """The numbers of a scorecard and of its tables, but for those of single classes."""
    for key, value in card.items():
        if isinstance(value, int | float):
            yield before + key, value
        elif isinstance(value, Mapping) and "value" not in value:
            yield from _numeric(value, f"{before}{key} ")
