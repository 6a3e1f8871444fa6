"""Join a user's own material into an alignment: merged, split, labels and file names apart."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from synesthete.data.alignment import Alignment, LeakageError, assemble
from synesthete.data.content import content_ids, opaque
from synesthete.data.labels import Labels
from synesthete.data.own import Edges, Form, Found, Item, OwnError
from synesthete.data.sides import Shares, deal, together

FILES = "files.parquet"
"""Beside an alignment: which file each node came from, and what was left out, and why."""


@dataclass(frozen=True)
class Own:
    """An alignment of a user's own, and what is stored beside it."""

    alignment: Alignment
    labels: Labels | None
    files: pa.Table
    left_out: Mapping[str, str]

    def save_beside(self, folder: Path) -> None:
        """Write the labels and the list of files into a folder."""
        if self.labels:
            self.labels.save(folder)
        pq.write_table(self.files, folder / FILES)


@dataclass(frozen=True)
class _Node:
    """One content, and the items that have it."""

    content: npt.NDArray[Any]
    items: list[Item]

    @property
    def group(self) -> str:
        """The opaque id of its first group; "" for none."""
        return next((opaque(item.group) for item in self.items if item.group), "")


def join(found: Found, form: Form, shares: Shares, provenance: Mapping[str, Any]) -> Own:
    """The alignment of what was found: each content a node once, each pair an edge once.

    Groups, equal contents and, unless `found.classed`, partners are on one side of the split.

    Raises:
        OwnError: nothing to pair, or nothing that a split could be made of.
        LeakageError: the user's own split puts one content on two sides.
    """
    if not len(found.edges):
        raise OwnError(f"no sound meets an image: nothing to learn from{_some(found.left_out)}")
    sounds, heard = _merged(found.sounds, found.waves, found.edges[:, 0])
    images, seen = _merged(found.images, found.pixels, found.edges[:, 1])
    edges = np.unique(np.stack([heard, seen], axis=1), axis=0)
    nodes = [*sounds, *images]
    given = any(item.split for node in nodes for item in node.items)
    sides = np.array(
        _given(nodes) if given else _drawn(sounds, images, edges, shares, found.classed)
    )
    audio_sides, image_sides = sides[: len(sounds)], sides[len(sounds) :]
    if found.classed:
        edges = edges[audio_sides[edges[:, 0]] == image_sides[edges[:, 1]]]
    alignment, audio_ids, image_ids = assemble(
        waveforms=[node.content for node in sounds],
        audio_groups=[node.group for node in sounds],
        audio_splits=audio_sides.tolist(),
        images=np.stack([node.content for node in images]),
        image_groups=[node.group for node in images],
        image_splits=image_sides.tolist(),
        edges=edges,
        rate=form.rate,
        provenance={
            "recipe": "own",
            **provenance,
            "split": "given" if given else "drawn",
            "seed": shares.seed,
            "shares": {} if given else shares.asked,
            "held_out_groups": [] if given else "all",
        },
    )
    ids = audio_ids, image_ids
    files = _files(ids, (sounds, images), found.left_out)
    return Own(alignment, _labels(ids, (sounds, images)), files, found.left_out)


def _merged(
    items: Sequence[Item], contents: Sequence[npt.NDArray[Any] | None], ends: npt.NDArray[np.int64]
) -> tuple[list[_Node], npt.NDArray[np.int64]]:
    """A node for each content that an edge ends at, and the node of each edge."""
    rows, at = np.unique(ends, return_inverse=True)
    kept = [content for row in rows if (content := contents[row]) is not None]
    keys = content_ids(kept)
    nodes: dict[str, _Node] = {}
    for row, content, key in zip(rows, kept, keys, strict=True):
        nodes.setdefault(key, _Node(content, [])).items.append(items[row])
    place = {key: number for number, key in enumerate(nodes)}
    return [*nodes.values()], np.array([place[key] for key in keys])[at]


def _given(nodes: Sequence[_Node]) -> list[str]:
    """The side of each node as the user gave it."""
    sides: list[str] = []
    for node in nodes:
        told = {item.split: item.file for item in node.items}
        if len(told) > 1:
            raise LeakageError(f"the split leaks: one content is on two sides, as {told}")
        sides += told
    return sides


def _drawn(
    sounds: Sequence[_Node], images: Sequence[_Node], edges: Edges, shares: Shares, classed: bool
) -> list[str]:
    """The side of each sound, then of each image, whole units at a time."""
    ties: defaultdict[str, list[int]] = defaultdict(list)
    for row, node in enumerate((*sounds, *images)):
        for item in node.items:
            ties[item.group].append(row)
    ties.pop("", None)
    pairs = edges + np.array([0, len(sounds)])
    units = together(
        len(sounds) + len(images), chain(ties.values(), [] if classed else pairs.tolist())
    )
    if classed:
        labels = [node.items[0].label for node in (*sounds, *images)]
        dealt = _by_label(units, labels, len(sounds), shares)
    else:
        counts = np.bincount(np.array(units)[pairs[:, 0]])
        weights = {int(unit): int(counts[unit]) for unit in np.flatnonzero(counts)}
        dealt = deal(weights, shares, np.random.default_rng(shares.seed))
    if lacking := {*shares.asked} - {*dealt.values()}:
        raise OwnError(
            f"nothing can be kept for {' and '.join(sorted(lacking))}: the pairs hang together in "
            f"{len({*units})} groups (of one speaker or video, or sharing a file); name finer "
            "groups, give a split, or ask for no share (--test 0)"
        )
    return [dealt[unit] for unit in units]


def _by_label(
    units: Sequence[int], labels: Sequence[str], sounds: int, shares: Shares
) -> dict[int, str]:
    """The side of each unit: of every label some sounds and some images, where it has enough."""
    dealt: dict[int, str] = {}
    for number, label in enumerate(sorted({*labels})):
        kinds = [
            {units[row]: 1 for row in rows if labels[row] == label and units[row] not in dealt}
            for rows in (range(sounds), range(sounds, len(units)))
        ]
        parts = [
            deal(kind, shares, np.random.default_rng((shares.seed, number, place)))
            for place, kind in enumerate(kinds)
        ]
        whole = all({*shares.asked} <= {*part.values()} for part in parts)
        for part in parts:
            dealt |= part if whole else dict.fromkeys(part, "train")
    return dealt


def _labels(ids: Sequence[Sequence[str]], kinds: Sequence[Sequence[_Node]]) -> Labels | None:
    """The labels of the nodes, and the names of their groups; None where no item has a label.

    Raises:
        OwnError: an item has no label while others have, or a content has two.
    """
    told: list[dict[str, str]] = []
    for keys, nodes in zip(ids, kinds, strict=True):
        told.append({})
        for key, node in zip(keys, nodes, strict=True):
            labels = {item.label: item.file for item in node.items}
            if len(labels) > 1:
                raise OwnError(
                    f"one content has two labels, as {labels}; give it one, or none at all"
                )
            told[-1][key] = next(iter(labels))
    found = [label for part in told for label in part.values()]
    if not any(found):
        return None
    if not all(found):
        raise OwnError(f"{found.count('')} of {len(found)} items have no label; label all, or none")
    names = {item.group for nodes in kinds for node in nodes for item in node.items} - {""}
    return Labels(told[0], told[1], {opaque(name): name for name in sorted(names)})


def _files(
    ids: Sequence[Sequence[str]], kinds: Sequence[Sequence[_Node]], left_out: Mapping[str, str]
) -> pa.Table:
    """A row for each use of a file, and for each that was left out."""
    rows = [
        {"kind": kind, "id": key, "file": item.file, "seconds": item.seconds, "fault": ""}
        for kind, keys, nodes in zip(("audio", "image"), ids, kinds, strict=True)
        for key, node in zip(keys, nodes, strict=True)
        for item in node.items
    ]
    rows += [
        {"kind": "", "id": "", "file": file, "seconds": None, "fault": why}
        for file, why in sorted(left_out.items())
    ]
    names = ("kind", "id", "file", "fault")
    schema = pa.schema([*((name, pa.string()) for name in names), ("seconds", pa.float64())])
    return pa.Table.from_pylist(rows, schema)


def _some(left_out: Mapping[str, str]) -> str:
    """The first of what was left out, if any."""
    for file, why in left_out.items():
        return f"; {len(left_out)} files were left out, the first: {file}: {why}"
    return ""
