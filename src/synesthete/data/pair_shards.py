"""Pair shards: an alignment to stream, each tar a WebDataset of recordings with their images.

header.json               format, version, what all samples share, and of each shard its size,
                          SHA-256 and how many samples have how many images
SPLIT/pairs-000000.tar    a sample a recording: {key}.flac, then {key}.0000.png, {key}.0001.png, …

A recording with more than MOST_IMAGES images is several samples. An image that meets several
recordings is stored with each.
"""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from synesthete.data import remote, storage
from synesthete.data.alignment import SPLITS, AlignmentError
from synesthete.data.content import images_fault, to_flac, to_png, waveform_fault
from synesthete.data.shards import LONGEST_SIDE, members, packed, shard_name, stamp
from synesthete.errors import UserError
from synesthete.files import LARGEST_JSON, parse_json, read_json, whole_directory
from synesthete.locks import alone

FORMAT = storage.STREAMED
VERSION = 1
HEADER = storage.HEADER
SHARD_BYTES = 16_000_000
"""A shard ends with the sample that reaches so many."""
LARGEST_SHARD = 1 << 26
"""Bytes; a reader holds several."""
MOST_IMAGES = 64
"""Of a sample."""
LARGEST_IMAGE = 3 << 20
"""Values of an image, as 1,024 x 1,024 in colour has them."""
LONGEST = 1 << 25
"""Samples of a recording."""
ADVICE = "bring it again from where it came, or write the shards again; a run goes on with --resume"

Encoded = tuple[bytes, int, Iterator[bytes]]
"""A recording as FLAC, its length in samples, its images as PNGs."""
Places = npt.NDArray[np.int64]  # [N, 2]: offset and size within a shard


@dataclass(frozen=True)
class Shard:
    """What the header tells of one shard."""

    size: int
    """Bytes."""
    sha256: str
    degrees: Mapping[int, int]
    """How many samples have so many images: {images: samples}."""

    def blocks(self, together: int) -> int:
        """Groups of up to `together` images of one sample."""
        return sum(count * -(-images // together) for images, count in self.degrees.items())

    @property
    def samples(self) -> int:
        """Recordings, or parts of those that have many images."""
        return sum(self.degrees.values())

    @property
    def edges(self) -> int:
        """Pairs of a recording and an image."""
        return self.blocks(1)


@dataclass(frozen=True)
class PairShards:
    """The header of pair shards, and where they lie."""

    place: str
    split: str
    rate: int
    """Hz."""
    image_shape: tuple[int, int, int]
    """[C, H, W]."""
    longest: int
    """Samples of the longest recording."""
    shards: tuple[Shard, ...]
    provenance: Mapping[str, Any]
    alignment: str | None
    """The digest of the alignment that they were made of."""

    @property
    def samples(self) -> int:
        """Of all shards."""
        return sum(shard.samples for shard in self.shards)

    @property
    def edges(self) -> int:
        """Of all shards."""
        return sum(shard.edges for shard in self.shards)

    def digest(self) -> str:
        """SHA-256 over the stamps of the shards and what their samples share."""
        told = [self.split, self.rate, self.image_shape, self.longest, _table(self.shards)]
        return hashlib.sha256(json.dumps(told).encode()).hexdigest()

    def counts(self) -> dict[str, Any]:
        """As an alignment's header has them."""
        sizes = {"recordings": self.samples, "images": self.edges, "edges": self.edges}
        return {
            "rate": self.rate,
            "image_shape": list(self.image_shape),
            "splits": {self.split: sizes},
        }


@dataclass(frozen=True)
class Held:
    """One shard in memory, as it is stored; `cut` gives the files."""

    name: str
    data: bytes
    flac: Places
    """[S, 2], a row a sample."""
    image: Places
    """[E, 2], sample after sample."""
    degrees: npt.NDArray[np.int64]
    """[S], images of each sample."""

    def cut(self, place: npt.NDArray[np.int64]) -> bytes:
        """The file at a place."""
        offset, size = place.tolist()
        return self.data[offset : offset + size]


def write(
    pairs: Iterable[tuple[npt.NDArray[np.float32], npt.NDArray[np.uint8]]],
    directory: str | os.PathLike[str],
    *,
    rate: int,
    split: str = "train",
    provenance: Mapping[str, Any] | None = None,
    shard_bytes: float = SHARD_BYTES,
) -> None:
    """Write recordings with their images, one after the other, as pair shards.

    Of what `pairs` gives, one shard's worth is held at a time. A reader shuffles within a few
    shards and the shards among each other: give neighbours that have little in common where that
    is easy. Written whole or not at all, in place of earlier pair shards there.

    Args:
        pairs: waveform float32[T] in -1..1 at `rate`, its images uint8[n, C, H, W], all of one
            shape, C = 1 or 3. One without images is left out.
        directory: the folder to write.
        rate: Hz.
        split: `"train"`, `"validation"` or `"test"`.
        provenance: plain JSON, for the record.
        shard_bytes: of a shard, about.

    Raises:
        AlignmentError: nothing to write, wrong shapes or ranges, or the folder cannot be written.
        UserError: another process is writing there.
    """
    waiting = iter(pairs)
    first = list(islice(waiting, 1))
    shape = first[0][1].shape[1:] if first else ()

    def encoded() -> Iterator[Encoded]:
        for row, (wave, images) in enumerate(chain(first, waiting)):
            fault = waveform_fault(wave) or images_fault(images)
            if not fault and images.shape[1:] != shape:
                fault = f"images of {[*images.shape[1:]]}, the first are {[*shape]}"
            if fault:
                raise AlignmentError(f"recording {row} and its images: {fault}; nothing was kept")
            yield to_flac(wave, rate), len(wave), map(to_png, images)

    write_encoded(
        encoded(), directory, rate=rate, image_shape=shape, split=split, provenance=provenance,
        shard_bytes=shard_bytes,
    )  # fmt: skip


def write_encoded(
    recordings: Iterable[Encoded],
    directory: str | os.PathLike[str],
    *,
    rate: int,
    image_shape: Sequence[int],
    split: str = "train",
    provenance: Mapping[str, Any] | None = None,
    alignment: str | None = None,
    shard_bytes: float = SHARD_BYTES,
) -> None:
    """Write recordings that are mono 16-bit FLAC already, with images that are PNGs, as `write`.

    They are taken as they are; `alignment` is the digest of the one that they come from.
    """
    if split not in SPLITS:
        raise AlignmentError(f"no split '{split}'; the splits are {', '.join(SPLITS)}")
    told = {
        "split": split, "rate": rate, "image_shape": [*image_shape], "alignment": alignment,
        "provenance": dict(provenance or {}),
    }  # fmt: skip
    if not 1 <= shard_bytes <= LARGEST_SHARD // 2:
        raise AlignmentError(
            f"shards of {shard_bytes:,.0f} bytes, wanted 1 to {LARGEST_SHARD // 2:,}"
        )
    target = Path(directory).absolute()
    shards: list[Shard] = []
    longest = 0
    try:
        if target.exists() and not is_there(target) and any(target.iterdir()):
            raise AlignmentError(f"{target}: there is something else; name another folder")
        with alone(target), whole_directory(target) as folder:
            for draft in _in_shards(recordings, shard_bytes):
                name = shard_name(split, "pairs", len(shards))
                shards.append(_written(folder / name, draft))
                longest = max(longest, draft.longest)
            if not shards:
                raise AlignmentError("no recording has an image: there is nothing to write")
            (folder / HEADER).write_bytes(_header({**told, "longest": longest}, tuple(shards)))
    except OSError as error:
        raise AlignmentError(f"{target}: cannot be written ({error}); nothing was kept") from error
    except ValueError as error:
        raise AlignmentError(f"{target}: {error}; nothing was kept") from error


def convert(
    alignment: str | os.PathLike[str],
    directory: str | os.PathLike[str],
    *,
    split: str = "train",
    shard_bytes: float = SHARD_BYTES,
) -> None:
    """Write a split of an alignment's folder as pair shards, of which one is held at a time.

    Raises:
        AlignmentError: as `storage.load` and `write`.
    """
    header = storage.read_header(alignment)
    shape = header["counts"].get("image_shape")
    if split not in header["counts"].get("splits", ()) or not isinstance(shape, list):
        raise AlignmentError(f"{alignment}: has no split '{split}'")
    write_encoded(
        storage.encoded(alignment, split), directory, rate=header["counts"].get("rate"),
        image_shape=shape, split=split, provenance=header["provenance"],
        alignment=header["digest"], shard_bytes=shard_bytes,
    )  # fmt: skip


def is_there(place: str | os.PathLike[str]) -> bool:
    """Whether a place is a URL, or a folder of pair shards."""
    if remote.is_url(str(place)):
        return True
    try:
        return bool(read_json(Path(place) / HEADER)["format"] == FORMAT)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def read(place: str | os.PathLike[str]) -> PairShards:
    """The header of the pair shards in a folder or at a URL; no shard is opened.

    Raises:
        AlignmentError: there are none, of a newer version, or the header is damaged.
    """
    where = str(place)
    try:
        data = remote.read(where, HEADER, LARGEST_JSON, lambda data: None)
        return _parsed(where, parse_json(data))
    except UserError as error:
        raise AlignmentError(f"{error}; name pair shards that `pairs stream` wrote") from error
    except (KeyError, ValueError, TypeError, AttributeError, OverflowError) as error:
        told = f"{where}/{HEADER}: damaged ({type(error).__name__}: {error})"
        raise AlignmentError(f"{told}; {ADVICE}") from error


def hold(pairs: PairShards, number: int) -> Held:
    """Read a shard, checked against the header, and find its files.

    Raises:
        AlignmentError: it is missing, cut or altered, or not what the header tells.
    """
    name, wanted = shard_name(pairs.split, "pairs", number), pairs.shards[number]

    def check(data: bytes) -> None:
        if len(data) != wanted.size:
            raise ValueError(f"has {len(data)} bytes, wanted {wanted.size}")
        if stamp(data)["sha256"] != wanted.sha256:
            raise ValueError("was altered: its SHA-256 is not the header's")

    try:
        data = remote.read(pairs.place, name, wanted.size, check)
    except UserError as error:
        raise AlignmentError(f"{error}; {ADVICE}") from error
    try:
        held = _indexed(name, data)
        if Counter(held.degrees.tolist()) != wanted.degrees:
            raise ValueError("not as many samples and images as the header tells")
    except ValueError as error:
        raise AlignmentError(f"{pairs.place}/{name}: damaged ({error}); {ADVICE}") from error
    return held


def _indexed(name: str, data: bytes) -> Held:
    flac: list[tuple[int, int]] = []
    image: list[tuple[int, int]] = []
    degrees: list[int] = []
    key = None
    for member, offset, size in members(data):
        stem, _, ending = member.partition(".")
        if ending == "flac":
            key = stem
            flac.append((offset, size))
            degrees.append(0)
        elif stem == key and ending.endswith(".png"):
            image.append((offset, size))
            degrees[-1] += 1
        else:
            raise ValueError(f"'{member}' belongs to no recording")
    places = (np.array(found, np.int64).reshape(-1, 2) for found in (flac, image))
    return Held(name, data, next(places), next(places), np.array(degrees, np.int64))


def _header(told: Mapping[str, Any], shards: tuple[Shard, ...]) -> bytes:
    made = _made("", told, shards)
    header = {
        "format": FORMAT, "version": VERSION, **told, "counts": made.counts(),
        "digest": made.digest(), "shards": _table(shards),
    }  # fmt: skip
    data = json.dumps(header, separators=(",", ":"), allow_nan=False).encode() + b"\n"
    if len(data) > LARGEST_JSON:
        raise ValueError(f"{len(shards):,} shards are too many; ask for larger ones")
    return data


@dataclass
class _Draft:
    """The samples of a shard that is not full yet."""

    files: list[tuple[str, bytes]]
    degrees: Counter[int]
    size: int = 0
    longest: int = 0


def _in_shards(recordings: Iterable[Encoded], shard_bytes: float) -> Iterator[_Draft]:
    draft, key = _Draft([], Counter()), 0
    for flac, samples, pngs in recordings:
        while part := list(islice(pngs, MOST_IMAGES)):
            images = [(f"{key:09d}.{n:04d}.png", png) for n, png in enumerate(part)]
            draft.files += [(f"{key:09d}.flac", flac), *images]
            draft.degrees[len(part)] += 1
            draft.size += len(flac) + sum(map(len, part)) + 1_024 * (1 + len(part))
            draft.longest = max(draft.longest, samples)
            key += 1
            if draft.size >= shard_bytes:
                yield draft
                draft = _Draft([], Counter())
    if draft.files:
        yield draft


def _written(path: Path, draft: _Draft) -> Shard:
    data = packed(draft.files)
    if len(data) > LARGEST_SHARD:
        raise ValueError(f"a recording and its images make a shard of {len(data):,} bytes")
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    return Shard(**stamp(data), degrees=dict(draft.degrees))


def _table(shards: Sequence[Shard]) -> list[list[Any]]:
    """Shards as JSON has them, as short as can be: size, SHA-256, degrees."""
    return [
        [s.size, s.sha256, [[images, count] for images, count in sorted(s.degrees.items())]]
        for s in shards
    ]


def _parsed(place: str, header: Any) -> PairShards:
    """Check a header and its bounds; ValueError, KeyError or TypeError where it is none."""
    if header["format"] != FORMAT:
        raise AlignmentError(f"{place}: format {header['format']!r}, wanted {FORMAT!r}")
    if header["version"] != VERSION:
        raise AlignmentError(
            f"{place}: version {header['version']!r} of the format, this synesthete reads "
            f"{VERSION}: upgrade it"
        )
    shards = tuple(Shard(size, sha256, dict(degrees)) for size, sha256, degrees in header["shards"])
    found = _made(place, header, shards)
    if found.digest() != header["digest"]:
        raise ValueError("its digest is another")
    return found


def _made(place: str, table: Mapping[str, Any], shards: tuple[Shard, ...]) -> PairShards:
    """Pair shards whose numbers can be relied on."""
    shape = tuple(table["image_shape"])
    _whole("rate", table["rate"], 1, 1_000_000)
    _whole("longest", table["longest"], 1, LONGEST)
    for side in shape:
        _whole("a side of the images", side, 1, LONGEST_SIDE)
    if len(shape) != 3 or shape[0] not in (1, 3) or np.prod(shape) > LARGEST_IMAGE:
        raise ValueError(f"images of {[*shape]}, wanted [1 or 3, H, W]")
    if table["split"] not in SPLITS or not isinstance(table["provenance"], dict) or not shards:
        raise ValueError("no split, provenance or shard")
    for shard in shards:
        _whole("the size of a shard", shard.size, 1, LARGEST_SHARD)
        for images, count in shard.degrees.items():
            _whole("images", images, 1, MOST_IMAGES)
            _whole("samples", count, 1, shard.size)
        if not shard.degrees or 1_024 * (shard.samples + shard.edges) > shard.size:
            raise ValueError("a shard of more files than fit into it")
    return PairShards(
        place=place,
        split=table["split"],
        rate=table["rate"],
        image_shape=shape,
        longest=table["longest"],
        shards=shards,
        provenance=table["provenance"],
        alignment=table["alignment"],
    )


def _whole(what: str, value: Any, least: int, most: int) -> None:
    if type(value) is not int or not least <= value <= most:
        raise ValueError(f"{what} is {value!r:.40}, wanted {least} to {most}")
