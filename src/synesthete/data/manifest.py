"""Read which sounds meet which images from a table: CSV, TSV, JSON Lines or Parquet."""

import csv
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from synesthete.data.alignment import SPLITS
from synesthete.data.own import Item, Listing, OwnError
from synesthete.errors import did_you_mean

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Columns:
    """What the columns of a manifest are called; an optional one that is None may be absent."""

    audio: str = "audio"
    image: str = "image"
    group: str | None = None
    split: str | None = None
    label: str | None = None


SIDES = {
    **{name: name for name in SPLITS},
    "training": "train", "val": "validation", "valid": "validation", "dev": "validation",
    "eval": "test", "testing": "test",
}  # fmt: skip
"""What a split column may say -> the side."""


def listing(path: Path, columns: Columns | None = None) -> Listing:
    """Read a manifest, a row a pair; relative paths are relative to its folder.

    The group, split and label of a row are those of its sound and of its image.

    Raises:
        OwnError: a table that cannot be read, a column that is not there, a row without a side.
    """
    rows = _rows(path)
    if not rows:
        raise OwnError(f"{path}: no rows")
    names = _named(path, rows, columns or Columns())
    found: tuple[dict[Item, int], dict[Item, int]] = ({}, {})
    edges, lonely = [], {}
    for number, row in enumerate(rows, start=1):
        files = [_text(row, names["audio"]), _text(row, names["image"])]
        if not all(files):
            lonely[f"{path}, row {number}"] = "no sound or no image in it"
            continue
        about = _text(row, names["group"]), _text(row, names["label"])
        side = _side(row, names["split"], f"{path}, row {number}")
        items = (Item(str(path.parent / file), *about, side) for file in files)
        edges.append(
            [kind.setdefault(item, len(kind)) for kind, item in zip(found, items, strict=True)]
        )
    return Listing(
        tuple(found[0]),
        tuple(found[1]),
        np.array(edges, np.int64).reshape(-1, 2),
        f"by the columns {', '.join(name for name in names.values() if name)}",
        lonely,
    )


def _rows(path: Path) -> Sequence[Row]:
    """The rows of a table of any of the known kinds."""
    if path.suffix.lower() not in READERS:
        raise OwnError(
            f"{path}: wanted a manifest called {', '.join('*' + name for name in READERS)}"
        )
    try:
        return READERS[path.suffix.lower()](path)
    except (OSError, ValueError, csv.Error, pa.ArrowException) as error:
        raise OwnError(f"{path}: cannot be read as a {path.suffix} table ({error})") from error


def _separated(separator: str) -> Callable[[Path], Sequence[Row]]:
    def read(path: Path) -> Sequence[Row]:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return list(csv.DictReader(file, delimiter=separator, strict=True))

    return read


def _json_lines(path: Path) -> Sequence[Row]:
    lines = path.read_text(encoding="utf-8-sig").splitlines()
    rows = [json.loads(line) for line in lines if line.strip()]
    if not all(isinstance(row, dict) for row in rows):
        raise ValueError("a line is no object")
    return rows


def _parquet(path: Path) -> Sequence[Row]:
    rows: list[Row] = pq.read_table(path).to_pylist()
    return rows


READERS: Mapping[str, Callable[[Path], Sequence[Row]]] = {
    ".csv": _separated(","), ".tsv": _separated("\t"),
    ".jsonl": _json_lines, ".ndjson": _json_lines, ".parquet": _parquet,
}  # fmt: skip


def _named(path: Path, rows: Sequence[Row], columns: Columns) -> dict[str, str]:
    """What each kind of column is called here; "" for an optional one that is absent."""
    known = list(dict.fromkeys(name for row in rows for name in row if isinstance(name, str)))
    named = {}
    for kind in ("audio", "image", "group", "split", "label"):
        asked = getattr(columns, kind)
        if asked and asked not in known:
            near = did_you_mean(asked, known)
            raise OwnError(f"{path}: no column '{asked}'{near}; there are: {', '.join(known)}")
        named[kind] = asked or (kind if kind in known else "")
    return named


def _text(row: Row, name: str) -> str:
    value = row.get(name) if name else None
    return "" if value is None else str(value).strip()


def _side(row: Row, name: str, where: str) -> str:
    """The side that a row names; "" where there is no such column."""
    told = _text(row, name).lower()
    if name and told not in SIDES:
        raise OwnError(f"{where}: split '{told}'; wanted one of {', '.join(SIDES)}")
    return SIDES[told] if name else ""
