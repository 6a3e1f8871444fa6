"""An alignment as a bipartite graph: recordings, images, and the edges between them; no labels."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from synesthete.data.content import (
    content_ids,
    from_16_bit,
    images_fault,
    to_16_bit,
    unique_ids,
    waveform_fault,
)
from synesthete.errors import UserError

SPLITS = ("train", "validation", "test")

Waveform = npt.NDArray[np.float32]  # [T], mono, -1..1


class AlignmentError(UserError):
    """An alignment that is not one: wrong shapes or ranges, or a folder that cannot be read."""


class LeakageError(UserError):
    """A split that leaks: something tested or validated on is also trained on."""


@dataclass(frozen=True, eq=False)
class Grouped:
    """Each recording with the mean of its partners: the objective of all pairs without the noise.

    For a loss that is affine (Bernoulli) or quadratic (Gaussian) in its target, the mean over
    recordings of weight x loss(mean image) equals the mean over edges of loss(image), up to a
    constant that no parameter sees.
    """

    audio: npt.NDArray[np.int64]  # [G] rows of the recordings that have an edge, ascending
    mean_image: npt.NDArray[np.float32]  # [G, C, H, W] in 0..1
    weight: npt.NDArray[np.float32]  # [G] number of partners, scaled to mean 1


@dataclass(frozen=True, eq=False, repr=False)
class Alignment:
    """Recordings, images and edges; raises AlignmentError when shapes or ranges are wrong.

    Ids and groups (of one speaker, one source video) are opaque. `provenance` is plain JSON; its
    `held_out_groups`, a list of group ids or "all", names the groups kept on one side of a split.
    """

    audio_ids: tuple[str, ...]
    audio_groups: tuple[str, ...]  # "" where none
    audio_splits: tuple[str, ...]  # each one of SPLITS
    waveforms: tuple[Waveform, ...]
    image_ids: tuple[str, ...]
    image_groups: tuple[str, ...]
    image_splits: tuple[str, ...]
    images: npt.NDArray[np.uint8]  # [I, C, H, W], C = 1 (grey) or 3 (RGB)
    edges: npt.NDArray[np.int64]  # [E, 2]: audio row, image row
    rate: int  # Hz
    provenance: Mapping[str, Any]

    def __post_init__(self) -> None:
        _check_nodes("audio", self.audio_ids, self.audio_groups, self.audio_splits)
        _check_nodes("image", self.image_ids, self.image_groups, self.image_splits)
        for row, wave in enumerate(self.waveforms):
            fault = waveform_fault(wave)
            _require(not fault, f"waveform {row} {fault}")
        fault = images_fault(self.images)
        _require(not fault, f"images: {fault}")
        _require(self.rate > 0, f"the sampling rate is {self.rate} Hz")
        found = len(self.waveforms), len(self.images)
        _require(found == self._sizes, f"{found} waveforms and images for {self._sizes} ids")
        _check_edges(self.edges, *self._sizes)
        held = self.provenance.get("held_out_groups", [])
        named = isinstance(held, list | tuple) and all(isinstance(name, str) for name in held)
        _require(named or held == "all", f"held_out_groups is {held!r}, wanted a list or 'all'")

    def __repr__(self) -> str:
        nodes = f"{len(self.audio_ids)} recordings, {len(self.image_ids)} images"
        return f"Alignment({nodes}, {len(self.edges)} edges, {self.rate} Hz)"

    def subset(self, split: str) -> Alignment:
        """Return the nodes of one split and the edges between them."""
        if split not in SPLITS:
            raise AlignmentError(f"no split '{split}'; the splits are {', '.join(SPLITS)}")
        audio, image = (
            np.flatnonzero([name == split for name in splits])
            for splits in (self.audio_splits, self.image_splits)
        )
        return self._taken(audio, image)

    def recordings(self, rows: npt.NDArray[np.int64]) -> Alignment:
        """Return these recordings alone, in this order."""
        return self._taken(rows, np.arange(0))

    def _taken(self, audio: npt.NDArray[np.int64], image: npt.NDArray[np.int64]) -> Alignment:
        """Return these rows in this order, and the edges between them, sorted."""
        new_row = [np.full(size, -1) for size in self._sizes]
        new_row[0][audio], new_row[1][image] = np.arange(len(audio)), np.arange(len(image))
        moved = np.stack([new[old] for new, old in zip(new_row, self.edges.T, strict=True)], axis=1)
        kept = moved[(moved >= 0).all(axis=1)]
        return Alignment(
            audio_ids=tuple(self.audio_ids[row] for row in audio),
            audio_groups=tuple(self.audio_groups[row] for row in audio),
            audio_splits=tuple(self.audio_splits[row] for row in audio),
            waveforms=tuple(self.waveforms[row] for row in audio),
            image_ids=tuple(self.image_ids[row] for row in image),
            image_groups=tuple(self.image_groups[row] for row in image),
            image_splits=tuple(self.image_splits[row] for row in image),
            images=self.images[image],
            edges=kept[np.lexsort((kept[:, 1], kept[:, 0]))],
            rate=self.rate,
            provenance=self.provenance,
        )

    def grouped(self) -> Grouped:
        """Return every recording that has partners, with the mean of their images."""
        order = np.argsort(self.edges[:, 0], kind="stable")
        ends = self.edges[order, 0]
        rows, starts, counts = np.unique(ends, return_index=True, return_counts=True)
        partners = self.images[self.edges[order, 1]]
        total = np.add.reduceat(partners, starts, axis=0, dtype=np.uint32)  # exact to 2^24 partners
        mean = total / (255 * counts[:, None, None, None])
        weight = counts * (len(rows) / max(len(order), 1))
        return Grouped(rows, mean.astype(np.float32), weight.astype(np.float32))

    def check_leakage(self) -> None:
        """Raise LeakageError naming each content, held-out group or edge found in two splits."""
        faults = [
            _in_two_splits(
                "recording", zip(content_ids(self.waveforms), self.audio_splits, strict=True)
            ),
            _in_two_splits("image", zip(content_ids(self.images), self.image_splits, strict=True)),
            _in_two_splits("held-out group", self._held_out()),
            self._crossing(),
        ]
        if any(faults):
            raise LeakageError("the split leaks: " + "; ".join(filter(None, faults)))

    def digest(self) -> str:
        """SHA-256 over the decoded content of nodes and edges; the same in memory and on disk."""
        told = [
            [self.rate, self.images.shape[1:], self.edges.tolist()],
            [self.audio_ids, self.audio_groups, self.audio_splits, content_ids(self.waveforms)],
            [self.image_ids, self.image_groups, self.image_splits, content_ids(self.images)],
        ]
        return hashlib.sha256(json.dumps(told).encode()).hexdigest()

    def summary(self) -> dict[str, Any]:
        """Return counts, seconds and degrees of each split that has nodes, as plain JSON."""
        present = [s for s in SPLITS if s in self.audio_splits or s in self.image_splits]
        return {
            "rate": self.rate,
            "image_shape": list(self.images.shape[1:]),
            "splits": {split: self.subset(split)._counts() for split in present},
        }

    def _counts(self) -> dict[str, Any]:
        sides = zip(self.edges.T, self._sizes, strict=True)
        degrees = [np.bincount(rows, minlength=size) for rows, size in sides]
        return {
            "recordings": len(self.audio_ids),
            "images": len(self.image_ids),
            "edges": len(self.edges),
            "groups": len({*self.audio_groups, *self.image_groups} - {""}),
            "seconds": _spread([len(w) / self.rate for w in self.waveforms]),
            "images_per_recording": _spread(degrees[0]),
            "recordings_per_image": _spread(degrees[1]),
        }

    @property
    def _sizes(self) -> tuple[int, int]:
        return len(self.audio_ids), len(self.image_ids)

    def _held_out(self) -> list[tuple[str, str]]:
        """Return the group and split of every node whose group is promised to be held out."""
        promised = self.provenance.get("held_out_groups", ())
        groups = self.audio_groups + self.image_groups
        held = {*groups} if promised == "all" else {*promised}
        nodes = zip(groups, self.audio_splits + self.image_splits, strict=True)
        return [(group, split) for group, split in nodes if group and group in held]

    def _crossing(self) -> str:
        ends = zip(self.edges.T, (self.audio_splits, self.image_splits), strict=True)
        audio, image = (np.array(splits, dtype=str)[rows] for rows, splits in ends)
        found = np.flatnonzero(audio != image)
        pairs = sorted({f"{audio[row]}-{image[row]}" for row in found})
        return f"{len(found)} edge(s) join two splits: {', '.join(pairs)}" if pairs else ""


def assemble(
    *,
    waveforms: Sequence[npt.NDArray[np.floating[Any]]],
    audio_groups: Sequence[str],
    audio_splits: Sequence[str],
    images: npt.NDArray[np.uint8],
    image_groups: Sequence[str],
    image_splits: Sequence[str],
    edges: npt.NDArray[np.integer[Any]],
    rate: int,
    provenance: Mapping[str, Any],
) -> tuple[Alignment, list[str], list[str]]:
    """Make an alignment of items in any order; also return their ids, audio and images, in it.

    Fields are Alignment's. Ids come from the content and every order in the result is by id, so
    neither tells a label; groups are opaque already. Waveforms are rounded to 16 bits, so that
    what is in memory is what is on disk.
    """
    audio_ids, image_ids = unique_ids(waveforms), unique_ids(images)
    given = Alignment(
        audio_ids=tuple(audio_ids),
        audio_groups=tuple(audio_groups),
        audio_splits=tuple(audio_splits),
        waveforms=tuple(from_16_bit(to_16_bit(wave)) for wave in waveforms),
        image_ids=tuple(image_ids),
        image_groups=tuple(image_groups),
        image_splits=tuple(image_splits),
        images=images,
        edges=edges.astype(np.int64),
        rate=rate,
        provenance=json.loads(json.dumps(provenance)),
    )
    return given._taken(np.argsort(audio_ids), np.argsort(image_ids)), audio_ids, image_ids


def _in_two_splits(what: str, found: Iterable[tuple[str, str]]) -> str:
    """Say which keys of (key, split) are in more than one split; empty when none is."""
    homes: defaultdict[str, set[str]] = defaultdict(set)
    for key, split in found:
        homes[key].add(split)
    shared = [f"{key} ({', '.join(sorted(home))})" for key, home in homes.items() if len(home) > 1]
    some = ", ".join(shared[:3]) + ", …" * (len(shared) > 3)
    return f"{len(shared)} {what}(s) in more than one split: {some}" if shared else ""


def _spread(values: npt.ArrayLike) -> dict[str, float] | None:
    found = np.asarray(values, dtype=float)
    if not found.size:
        return None
    parts = np.min(found), np.median(found), np.mean(found), np.max(found)
    return dict(
        zip(("min", "median", "mean", "max"), (round(float(p), 4) for p in parts), strict=True)
    )


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise AlignmentError(message)


def _check_nodes(
    kind: str, ids: Sequence[str], groups: Sequence[str], splits: Sequence[str]
) -> None:
    sizes = len(ids), len(groups), len(splits)
    _require(len({*sizes}) == 1, f"{kind}: ids, groups and splits differ in length: {sizes}")
    _require(len({*ids}) == len(ids), f"{kind}: {len(ids) - len({*ids})} ids occur twice")
    unknown = sorted({*splits} - {*SPLITS})
    _require(not unknown, f"{kind}: unknown splits {unknown}; wanted some of {', '.join(SPLITS)}")


def _check_edges(edges: npt.NDArray[np.int64], recordings: int, images: int) -> None:
    fits = edges.ndim == 2 and edges.shape[1] == 2 and edges.dtype == np.int64
    _require(fits, f"edges are {edges.dtype}{[*edges.shape]}, wanted int64[E, 2]")
    inside = ((edges >= 0) & (edges < [recordings, images])).all()
    _require(bool(inside), f"edges point outside the {recordings} recordings x {images} images")
