"""The files of an alignment: tar shards, read by place, and the stamps that vouch for them."""

import hashlib
import io
import math
import tarfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from synesthete.files import read_whole

SHARD_FILES = 10_000
SHARD_BYTES = 100_000_000
LARGEST = 2 * SHARD_BYTES  # with the tar's own blocks
LONGEST_SIDE = 4_096  # of an image, in pixels
ALWAYS, RATIO = 1 << 28, 32  # bytes that any alignment may unpack to; else, so many times its own


@dataclass(frozen=True)
class Place:
    """Where a file's bytes lie."""

    shard: int  # number of the tar
    offset: int  # of the first byte within it
    size: int  # bytes


def shard_name(split: str, kind: str, number: int) -> str:
    """Return a shard's path within its alignment, the same on every system."""
    return f"{split}/{kind}-{number:06d}.tar"


def write_shards(
    folder: Path, split: str, kind: str, files: Iterable[tuple[str, bytes]]
) -> Iterator[Place]:
    """Write files (name, content) to as many shards as they need; yields the place of each.

    No times, no owners: equal files give equal bytes.
    """
    for number, shard in enumerate(_in_shards(files)):
        path = folder / shard_name(split, kind, number)
        path.parent.mkdir(exist_ok=True)
        with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
            for name, data in shard:
                yield Place(number, tar.offset + tarfile.BLOCKSIZE, len(data))
                _add(tar, name, data)


def packed(files: Iterable[tuple[str, bytes]]) -> bytes:
    """One shard of these files (name, content), in memory; equal files give equal bytes."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, data in files:
            _add(tar, name, data)
    return file.getvalue()


def members(shard: bytes) -> Iterator[tuple[str, int, int]]:
    """Name, offset and size of each file of a shard: what `packed` wrote, and no other tar.

    Faster than tarfile, which knows links, owners and all the dialects.

    Raises:
        ValueError: it is another kind of file, or ends before its last member does.
    """
    at = 0
    while any(block := shard[at : at + tarfile.BLOCKSIZE]):
        if block[257:262] != b"ustar" or block[156:157] != tarfile.REGTYPE or any(block[345:500]):
            raise ValueError(f"no tar of plain files (byte {at})")
        name, size = block[:100].rstrip(b"\0").decode("ascii"), int(block[124:135], 8)
        at += tarfile.BLOCKSIZE
        if not 0 <= size <= len(shard) - at:
            raise ValueError(f"'{name}' has {size} bytes in a shard of {len(shard)}")
        yield name, at, size
        at += -(-size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE


def cut(shard: bytes, offset: int, size: int) -> bytes:
    """Return the file at a place of a shard in memory; ValueError when the shard ends before it."""
    if not 0 <= offset <= offset + size <= len(shard):
        raise ValueError(f"no {size} bytes at {offset} in a shard of {len(shard)}")
    return shard[offset : offset + size]


def check_size(
    folder: Path, shards: Iterable[str], samples: Iterable[int], images: int, shape: Sequence[int]
) -> None:
    """Refuse what unpacks to far more than its files, as recordings and images do not.

    Raises:
        ValueError: saying how much.
    """
    if len(shape) != 3 or not all(1 <= side <= LONGEST_SIDE for side in shape):
        raise ValueError(f"images of {shape}, wanted three sides from 1 to {LONGEST_SIDE}")
    unpacked = 4 * sum(map(abs, samples)) + images * math.prod(shape)
    packed = sum(path.stat().st_size for name in shards if (path := folder / name).is_file())
    if unpacked > max(ALWAYS, RATIO * packed):
        raise ValueError(f"{packed:,} bytes of recordings and images that unpack to {unpacked:,}")


def stamp(data: bytes) -> dict[str, Any]:
    """Return what a header keeps of a file."""
    return {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def vouched(path: Path, wanted: Mapping[str, Any]) -> bytes:
    """Return a file's bytes if they have this stamp; ValueError if missing, cut or altered."""
    if not path.is_file():
        raise ValueError(f"{path} is missing")
    size = path.stat().st_size
    if size != wanted["size"]:
        raise ValueError(f"{path} has {size} bytes, wanted {wanted['size']}")
    data = read_whole(path, LARGEST)
    if stamp(data) != wanted:
        raise ValueError(f"{path} was altered: its SHA-256 is not the header's")
    return data


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))


def _in_shards(files: Iterable[tuple[str, bytes]]) -> Iterator[list[tuple[str, bytes]]]:
    shard: list[tuple[str, bytes]] = []
    total = 0
    for name, data in files:
        if shard and (len(shard) == SHARD_FILES or total + len(data) > SHARD_BYTES):
            yield shard
            shard, total = [], 0
        shard.append((name, data))
        total += len(data)
    if shard:
        yield shard
