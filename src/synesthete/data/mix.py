"""The deck's mix: every MNIST image meets one FSDD recording of its digit, drawn once."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from synesthete.data import audio
from synesthete.data.alignment import SPLITS, Alignment, assemble
from synesthete.data.content import opaque
from synesthete.data.fsdd import Recording, Recordings
from synesthete.data.labels import Labels
from synesthete.data.mnist import Mnist
from synesthete.errors import UserError

OFFICIAL_TEST = range(5)  # FSDD's own split: these indices of each speaker and digit are test
SPEAKER = "speaker:"
CROWD = "crowd"

Column = npt.NDArray[Any]  # [n] one value a node


class MixError(UserError):
    """A mix that cannot be made: an unknown split or speaker, or a digit that nobody says."""


def build(
    recordings: Recordings,
    mnist: Mnist,
    *,
    split: str = "random",
    seed: int = 0,
    validation: str | None = None,
    crowd: Recordings | None = None,
) -> tuple[Alignment, Labels]:
    """Build the MNIST/FSDD mix: the alignment, and its labels apart (deck, "MNIST/FSDD Mix").

    `split` says which recordings are test: "random" (a tenth; the same whatever the seed, so that
    every published number has one test set), "official" (FSDD's: indices 0 to 4) or
    "speaker:NAME" (all of one speaker's). `seed` draws the pairs. `validation`, for tuning, holds
    out some of the train recordings in the same way ("random", drawn by the seed, or
    "speaker:NAME" inside a speaker split) for the last 10,000 train images, which no judge sees.
    A `crowd` of further speakers is train whatever the split, and changes none of the other sides'
    pairs; with it, "crowd" makes all of `recordings` test.
    Raises MixError for a split that cannot be made, LeakageError if two sides share a recording.
    """
    items = sorted(recordings.items, key=lambda item: f"{item.name}.wav")
    audio_splits = split_recordings(items, split, validation, seed, crowded=crowd is not None)
    if crowd is not None:
        items += sorted(crowd.items, key=lambda item: item.name)
        audio_splits = np.concatenate([audio_splits, np.full(len(crowd.items), "train")])
    digits = np.concatenate([mnist.train_labels, mnist.test_labels])
    unseen = _judge_unseen(mnist)
    image_splits = np.repeat(SPLITS[::2], [len(mnist.train_labels), len(mnist.test_labels)])
    if validation:
        image_splits = np.where(unseen, "validation", image_splits)
    spoken = np.array([item.digit for item in items])
    edges = pair(spoken, audio_splits, digits, image_splits, np.random.default_rng(seed))
    if crowd is not None and split != CROWD:  # the other sides' pairs are those without a crowd
        own, held = slice(len(recordings.items)), image_splits != "train"
        alone = np.random.default_rng(seed)
        edges[held] = pair(spoken[own], audio_splits[own], digits, image_splits, alone)[held]
    alignment, audio_ids, image_ids = assemble(
        waveforms=[_waveform(item) for item in items],
        audio_groups=[opaque(item.speaker) for item in items],
        audio_splits=audio_splits.tolist(),
        images=np.concatenate([mnist.train_images, mnist.test_images])[:, None],
        image_groups=[""] * len(digits),
        image_splits=image_splits.tolist(),
        edges=edges,
        rate=audio.RATE,
        provenance=_provenance(recordings, mnist, split, seed, validation, crowd),
    )
    alignment.check_leakage()
    return alignment, Labels(
        audio=dict(zip(audio_ids, map(str, spoken), strict=True)),
        images=dict(zip(image_ids, map(str, digits), strict=True)),
        groups={opaque(item.speaker): item.speaker for item in items},
        judge_unseen=frozenset(np.array(image_ids)[unseen].tolist()),
    )


def split_recordings(
    items: Sequence[Recording],
    split: str,
    validation: str | None = None,
    seed: int = 0,
    *,
    crowded: bool = False,
) -> Column:
    """Return the split of each recording, str[n]; `items` are in the order of their file names.

    `crowded` says that others will be train: then split "crowd" makes all of `items` test.
    """
    if crowded and split == CROWD and not validation:
        return np.full(len(items), "test", dtype="<U10")
    if (validation or "").startswith(SPEAKER) and not split.startswith(SPEAKER):
        raise MixError(f"validation {validation!r} needs a split by speaker too, not {split!r}")
    splits = np.full(len(items), "train", dtype="<U10")
    splits[_held_out(items, split, np.random.default_rng(0))] = "test"
    if validation:
        rows = np.flatnonzero(splits == "train")
        rng = np.random.default_rng((seed, 1))  # apart from the stream that draws the pairs
        splits[rows[_held_out([items[row] for row in rows.tolist()], validation, rng)]] = (
            "validation"
        )
    return splits


def pair(
    audio_labels: Column,
    audio_splits: Column,
    image_labels: Column,
    image_splits: Column,
    rng: np.random.Generator,
) -> npt.NDArray[np.int64]:
    """Draw for each image, with replacement, a recording of its label and split: edges [I, 2].

    Split after split and image after image. Raises MixError when some image has no candidate.
    """
    edges = np.empty((len(image_labels), 2), np.int64)
    edges[:, 1] = np.arange(len(image_labels))
    for split in SPLITS:
        audio_rows = np.flatnonzero(audio_splits == split)
        image_rows = np.flatnonzero(image_splits == split)
        wanted = image_labels[image_rows]
        silent = sorted({*wanted.tolist()} - {*audio_labels[audio_rows].tolist()})
        if silent:
            raise MixError(f"no {split} recording of {silent}: add recordings or split otherwise")
        order = audio_rows[np.argsort(audio_labels[audio_rows], kind="stable")]
        first, last = (
            np.searchsorted(audio_labels[order], wanted, side) for side in ("left", "right")
        )
        edges[image_rows, 0] = order[rng.integers(first, last)]
    return edges


def shuffled(alignment: Alignment, seed: int = 0) -> Alignment:
    """The control: the same nodes and splits, each split's edges given each other's images.

    Every recording and image keeps its number of edges, but who meets whom is chance; what a
    model still learns from it, it did not learn from the alignment. `provenance` says so.
    """
    rng = np.random.default_rng((seed, 2))  # apart from the streams of pairs and validation
    edges = alignment.edges.copy()
    home = np.array(alignment.image_splits, dtype=str)[edges[:, 1]]
    for split in SPLITS:
        rows = np.flatnonzero(home == split)
        edges[rows, 1] = edges[rng.permutation(rows), 1]
    return replace(
        alignment,
        edges=edges[np.lexsort((edges[:, 1], edges[:, 0]))],
        provenance={**alignment.provenance, "shuffled": True, "shuffle_seed": seed},
    )


def _held_out(
    items: Sequence[Recording], protocol: str, rng: np.random.Generator
) -> npt.NDArray[np.bool_]:
    """Return bool[n]: the recordings that a protocol holds out."""
    if protocol == "random":
        return rng.permutation(len(items)).argsort() < len(items) // 10
    if protocol == "official":
        return np.array([item.index in OFFICIAL_TEST for item in items], np.bool_)
    speakers = sorted({item.speaker for item in items})
    name = protocol.removeprefix(SPEAKER)
    if protocol.startswith(SPEAKER) and name in speakers:
        return np.array([item.speaker == name for item in items], np.bool_)
    names = ", ".join(f"{SPEAKER}{speaker}" for speaker in speakers)
    raise MixError(f"no way to hold out {protocol!r}; there are random, official, {names}")


def _waveform(item: Recording) -> npt.NDArray[np.float32]:
    try:
        return audio.load(item.data, trim=False)
    except audio.AudioError as error:
        raise MixError(f"recording {item.name}: {error}") from error


def _judge_unseen(mnist: Mnist) -> npt.NDArray[np.bool_]:
    """Return bool[I]: the last sixth of the train images, 10,000 of MNIST's 60,000."""
    train = len(mnist.train_labels)
    row = np.arange(train + len(mnist.test_labels))
    return (row >= train - train // 6) & (row < train)


def _provenance(
    recordings: Recordings,
    mnist: Mnist,
    split: str,
    seed: int,
    validation: str | None,
    crowd: Recordings | None,
) -> dict[str, Any]:
    protocols = [protocol for protocol in (split, validation) if protocol]
    speakers = [p.removeprefix(SPEAKER) for p in protocols if p.startswith(SPEAKER)]
    more: dict[str, Any] = {}
    if crowd is not None:
        people = len({item.speaker for item in crowd.items})
        more = {"crowd": asdict(crowd.origin), "crowd_speakers": people}
    return {
        "recipe": "mix",
        "audio_source": recordings.origin.name,
        **more,
        "audio_synthetic": recordings.synthetic,
        "audio": asdict(recordings.origin),
        "images": asdict(mnist.origin),
        "split": split,
        "validation": validation,
        "seed": seed,
        "held_out_groups": "all" if split == CROWD else [opaque(who) for who in speakers],
    }
