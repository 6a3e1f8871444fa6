"""Save and restore a run in the middle: weights, averaged weights, optimisers, step."""

import errno
import hashlib
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors.torch import load_file
from safetensors.torch import save as to_bytes
from torch import Tensor

from synesthete.errors import UserError
from synesthete.files import DRAFT, read_json, whole_directory
from synesthete.progress import console

if TYPE_CHECKING:
    from synesthete.train import State

KEPT = 2
"""Checkpoints that stay on disk: the newest, and one before it."""
SUMS = "SHA256SUMS"
"""What vouches for the files of a checkpoint; `sha256sum --check` reads it."""


def save(state: "State", folder: Path) -> Path:
    """Write `folder/step-N` whole, then forget all but the newest `KEPT`."""
    target = folder / f"step-{state.step:08d}"
    with whole_directory(target) as draft:
        _write(draft / "model.safetensors", state.model.state_dict())
        if state.average is not None:
            _write(draft / "average.safetensors", state.average.state_dict())
        numbers: dict[str, Any] = {"step": state.step, "optimizers": {}}
        for phase, optimizer in state.optimizers.items():
            tensors, numbers["optimizers"][phase] = _flatten(optimizer.state_dict())
            _write(draft / f"optimizer-{phase}.safetensors", tensors)
        (draft / "state.json").write_text(json.dumps(numbers), encoding="utf-8")
        (draft / SUMS).write_text(_sums(draft), encoding="utf-8")
    for old in found(folder)[:-KEPT]:
        forgotten = old.rename(old.with_name(f"{DRAFT}{old.name}"))
        shutil.rmtree(forgotten, ignore_errors=True)
    return target


def found(folder: Path) -> list[Path]:
    """The checkpoints in `folder`, the newest last."""
    return sorted(folder.glob("step-*"))


def resume(state: "State", folder: Path) -> Path | None:
    """Bring `state` to the newest checkpoint in `folder` that is whole, and return it.

    None there changes nothing. One that is damaged is told and passed over: the steps since the one
    before it are done again, to the same end. What killed processes left in `folder` is removed.

    Raises:
        UserError: none of those there can be read.
    """
    for draft in folder.glob(f"{DRAFT}*"):
        shutil.rmtree(draft, ignore_errors=True)
    faults: list[str] = []
    for source in reversed(found(folder)):
        try:
            restore(state, source)
        except UserError as error:
            faults.append(str(error))
            continue
        for fault in faults:
            told = f"{fault}; going on from {source.name}"
            console.print(told, style="yellow", highlight=False, markup=False, soft_wrap=True)
        return source
    if faults:
        advice = f"train into another --out, or delete {folder.parent} to start over"
        raise UserError("; ".join((*faults, advice)))
    return None


def restore(state: "State", source: Path) -> None:
    """Bring `state` to exactly where `save` found it.

    Raises:
        UserError: the checkpoint was damaged, or belongs to another model.
    """
    try:
        _vouch(source)
        numbers = read_json(source / "state.json")
        state.model.load_state_dict(_read(source / "model.safetensors"))
        if state.average is not None:
            state.average.load_state_dict(_read(source / "average.safetensors"))
        for phase, optimizer in state.optimizers.items():
            tensors = _read(source / f"optimizer-{phase}.safetensors")
            optimizer.load_state_dict(_unflatten(tensors, numbers["optimizers"][phase]))
        step = int(numbers["step"])
    except Exception as error:
        raise UserError(f"{source}: this checkpoint cannot be read ({error})") from error
    state.step = step


def _vouch(source: Path) -> None:
    """Raise ValueError where a file is not what `save` wrote; older checkpoints have no sums."""
    listing = source / SUMS
    if listing.is_file() and listing.read_bytes() != _sums(source).encode():
        raise ValueError(f"its files are not those that {SUMS} lists")


def _sums(folder: Path) -> str:
    """What the command `sha256sum` prints for the files of a checkpoint."""
    files = sorted([*folder.glob("*.safetensors"), folder / "state.json"])
    return "".join(f"{_digest(path)}  {path.name}\n" for path in files)


def _digest(path: Path) -> str:
    if not path.is_file():
        raise FileNotFoundError(errno.ENOENT, "no such file", str(path))
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _read(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise FileNotFoundError(errno.ENOENT, "no such file", str(path))
    return load_file(path)


def _write(path: Path, tensors: dict[str, Tensor]) -> None:
    path.write_bytes(to_bytes({name: tensor.contiguous() for name, tensor in tensors.items()}))


def _flatten(state: dict[str, Any]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """An optimiser's state as tensors `{parameter}.{name}` and the JSON that remains."""
    tensors: dict[str, Tensor] = {}
    rest: dict[str, Any] = {}
    for parameter, entries in state["state"].items():
        for name, value in entries.items():
            if isinstance(value, Tensor):
                tensors[f"{parameter}.{name}"] = value
            else:
                rest[f"{parameter}.{name}"] = value
    return tensors, {"scalars": rest, "param_groups": state["param_groups"]}


def _unflatten(tensors: dict[str, Tensor], numbers: dict[str, Any]) -> dict[str, Any]:
    state: dict[int, dict[str, Any]] = {}
    for key, value in {**tensors, **numbers["scalars"]}.items():
        parameter, _, name = key.partition(".")
        state.setdefault(int(parameter), {})[name] = value
    return {"state": state, "param_groups": numbers["param_groups"]}
