"""What each item shows, kept apart from the alignment: read by judging and reporting only."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from synesthete.data.tables import read_table
from synesthete.errors import UserError
from synesthete.files import read_whole, whole_file

FILE = "labels.parquet"
LARGEST = 1 << 27  # bytes

_SCHEMA = pa.schema(
    {"kind": pa.string(), "id": pa.string(), "label": pa.string(), "judge_unseen": pa.bool_()}
)


class LabelsError(UserError):
    """Labels that are missing, unreadable, or do not belong to the alignment at hand."""


class Nodes(Protocol):
    """What labels need to know of an alignment: the ids of its rows."""

    @property
    def audio_ids(self) -> tuple[str, ...]:
        """The recordings' ids, by row."""

    @property
    def image_ids(self) -> tuple[str, ...]:
        """The images' ids, by row."""


@dataclass(frozen=True)
class Labels:
    """The classes of an alignment's items and the names of its groups, keyed by opaque id."""

    audio: Mapping[str, str]  # recording id -> class
    images: Mapping[str, str]  # image id -> class
    groups: Mapping[str, str]  # group id -> name of the speaker or source
    judge_unseen: frozenset[str] = frozenset()  # train images that no judge was trained on

    @property
    def classes(self) -> tuple[str, ...]:
        """Every class, in sorted order: the order of all class indices."""
        return tuple(sorted({*self.audio.values(), *self.images.values()}))

    def of(self, alignment: Nodes) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Return the class indices of an alignment's recordings, int64[A], and images, int64[I].

        Raises LabelsError when an item has no label.
        """
        index = {name: number for number, name in enumerate(self.classes)}
        return (
            _indices(index, self.audio, alignment.audio_ids, "recordings"),
            _indices(index, self.images, alignment.image_ids, "images"),
        )

    def save(self, directory: str | os.PathLike[str]) -> None:
        """Write `labels.parquet` into a folder, whole or not at all; checksums guard its pages."""
        path = Path(directory) / FILE
        try:
            with whole_file(path) as draft:
                pq.write_table(self._table(), draft, write_page_checksum=True)
        except OSError as error:
            raise LabelsError(f"{path}: labels could not be written ({error})") from error

    def _table(self) -> pa.Table:
        rows = [
            (kind, key, label, key in self.judge_unseen and kind == "image")
            for kind, named in (
                ("audio", self.audio),
                ("image", self.images),
                ("group", self.groups),
            )
            for key, label in sorted(named.items())
        ]
        columns = zip(*rows, strict=True) if rows else [()] * len(_SCHEMA)
        return pa.table(dict(zip(_SCHEMA.names, columns, strict=True)), schema=_SCHEMA)


def load(directory: str | os.PathLike[str]) -> Labels:
    """Read the labels beside an alignment; LabelsError when there are none or they are damaged."""
    path = Path(directory) / FILE
    if not path.is_file():
        raise LabelsError(
            f"{path}: not there. An alignment without labels can be trained on, but judging by "
            "class needs this file: build the alignment again, or restore it"
        )
    try:
        rows = read_table(read_whole(path, LARGEST), _SCHEMA).to_pylist()
        parts: dict[str, dict[str, str]] = {"audio": {}, "image": {}, "group": {}}
        for row in rows:
            parts[row["kind"]][row["id"]] = row["label"]
        unseen = frozenset(row["id"] for row in rows if row["judge_unseen"])
    except (pa.ArrowException, OSError, ValueError, KeyError) as error:
        raise LabelsError(f"{path}: damaged ({error}); build the alignment again") from error
    return Labels(parts["audio"], parts["image"], parts["group"], unseen)


def _indices(
    index: Mapping[str, int], labels: Mapping[str, str], ids: Sequence[str], what: str
) -> npt.NDArray[np.int64]:
    missing = [key for key in ids if key not in labels]
    if missing:
        raise LabelsError(
            f"{len(missing)} of {len(ids)} {what} have no label (the first: {missing[0]}): "
            "these labels belong to another alignment"
        )
    return np.array([index[labels[key]] for key in ids], dtype=np.int64)
