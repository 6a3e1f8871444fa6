"""The exam of a user's own pairs: one side of them, a matcher, and a judge of their labels."""

import hashlib
import json
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synesthete import judges, matching
from synesthete.data import labels, sides, storage
from synesthete.data.alignment import Alignment
from synesthete.data.labels import Labels
from synesthete.data.sources import cache_directory
from synesthete.errors import UserError
from synesthete.evaluate import DIGITS, Images, Rows
from synesthete.pixels import seen

MOST = 10_000
"""Pairs that are scored; of more, so many are drawn."""


@dataclass(frozen=True)
class Exam:
    """One side of an alignment, and what there is to score a model with."""

    alignment: Alignment
    """The side being scored, on its own."""
    train: Alignment
    split: str
    matcher: matching.Model | None
    """Trained on the train side of the same alignment."""
    labels: Labels | None
    judge: judges.Judge | None
    """Trained on the train side's images and `labels`."""

    @property
    def recordings(self) -> Rows:
        """int64[E], the recording of each pair."""
        return self.alignment.edges[:, 0]

    @property
    def real(self) -> Images:
        """uint8[E, H, W] or [E, H, W, 3], the real image of each pair."""
        return seen(self.alignment.images[self.alignment.edges[:, 1]])

    @cached_property
    def kinds(self) -> tuple[Rows, Rows]:
        """int64[R], int64[I]: the labels' classes, or which connected part of the graph it is."""
        if self.labels:
            return self.labels.of(self.alignment)
        count = len(self.alignment.audio_ids)
        ties = (self.alignment.edges + np.array([0, count])).tolist()
        parts = np.array(sides.together(count + len(self.alignment.image_ids), ties))
        return parts[:count], parts[count:]

    @property
    def heard(self) -> Rows:
        """int64[R], the kind of each recording."""
        return self.kinds[0]

    @property
    def seen(self) -> Rows:
        """int64[I], the kind of each image."""
        return self.kinds[1]

    @property
    def wanted(self) -> Rows:
        """int64[E], the kind of each pair."""
        return self.seen[self.alignment.edges[:, 1]]

    @property
    def speakers(self) -> NDArray[Any]:
        """str[R], the name of each recording's group, as far as it is known."""
        names = self.labels.groups if self.labels else {}
        return np.array([names.get(group, group) for group in self.alignment.audio_groups])


def digits(folder: Path) -> bool:
    """Whether an alignment is of labelled digits, which the judges of the package can read."""
    if storage.read_header(folder)["counts"]["image_shape"] != [1, 28, 28]:
        return False
    return (folder / labels.FILE).is_file() and {*labels.load(folder).classes} <= {*DIGITS}


def prepare(
    folder: Path, matcher: Path | None, split: str = "test", *, judged: bool = True
) -> Exam:
    """Set the exam on one side of an alignment, with a judge of its labels where it has any.

    Args:
        folder: the alignment.
        matcher: the run folder of an `ave` or `avc` trained on it; None for none.
        split: the side.
        judged: whether a judge is wanted.

    Raises:
        UserError: the alignment has no such side, or the matcher was trained on another one.
    """
    header = storage.read_header(folder)
    both = storage.load(folder, ("train", split))
    side, train = both.subset(split), both.subset("train")
    held = None if matcher is None else matching.load(matcher)
    if held and held.artefact.data.get("digest") != header["digest"]:
        raise UserError(f"{matcher}: trained on another alignment than {folder}; train one on it")
    names = labels.load(folder) if (folder / labels.FILE).is_file() else None
    judge = _judge(train, names, header["digest"]) if names and judged else None
    return Exam(_at_most(side, MOST), train, split, held, names, judge)


def _at_most(side: Alignment, count: int) -> Alignment:
    if len(side.edges) <= count:
        return side
    rows = np.random.default_rng(0).choice(len(side.edges), count, replace=False)
    return replace(side, edges=side.edges[np.sort(rows)])


def _judge(train: Alignment, names: Labels, digest: str) -> judges.Judge:
    """A judge of these labels, from the cache where it was trained before."""
    told = json.dumps([digest, sorted(names.images.items())])
    key = hashlib.sha256(told.encode()).hexdigest()[:16]
    classes = names.of(train)[1]
    return judges.learn(
        train.images, classes, len(names.classes), cache_directory() / "judges" / key
    )
