"""FSDD, the Free Spoken Digit Dataset: the deck's 2,000 recordings, verified one by one."""

import io
import re
import tarfile
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from importlib import resources
from pathlib import Path, PurePosixPath
from typing import Self

from synesthete.data.download import LIMIT, SourceError, download, inflate
from synesthete.data.sources import (
    Dataset,
    Files,
    Origin,
    Place,
    cache_directory,
    obtain,
    user_directory,
)
from synesthete.files import read_whole

LAYOUTS = ("fsdd/recordings", "recordings", ".")  # where in a directory the recordings may be
MOST_MEMBERS = 20_000  # of an archive; FSDD's has some 3,000
NAME = re.compile(r"([0-9])_(\w[\w-]*)_([0-9]+)\.wav")  # digit, speaker, index


@dataclass(frozen=True)
class Recording:
    """One spoken digit."""

    name: str  # "{digit}_{speaker}_{index}"
    digit: int  # 0..9
    speaker: str
    index: int
    data: bytes = field(repr=False)  # of the wav file
    verified: bool  # its hash is in the manifest


@dataclass(frozen=True)
class Recordings:
    """Recordings sorted by name, and where they came from."""

    items: tuple[Recording, ...] = field(repr=False)
    origin: Origin
    synthetic: bool


def load(
    directory: Path | None = None,
    *,
    other_speakers: bool = False,
    cache: Path | None = None,
    dataset: Dataset | None = None,
) -> Recordings:
    """Return the recordings of jackson, nicolas, theo and yweweler, 50 of each digit by each.

    They come from the first of: `directory` (else SYNESTHETE_DATA), which holds them itself or in
    recordings/ or fsdd/recordings/; `cache` (else SYNESTHETE_CACHE, else the user's cache
    directory); the archive of the data set's own repository. With `other_speakers`, further
    recordings found there come along, unverified. `dataset` describes another release.
    Raises `sources.Unavailable` when no place has all 2,000, unaltered.
    """
    data = dataset or release()
    folder = cache_directory(cache)
    far = [Place("upstream", url, partial(_fetch, url, folder)) for url in data.homes]
    files, origin = obtain(
        data,
        read,
        far,
        directory=user_directory(directory),
        cache=folder,
        extras=other_speakers,
    )
    items = tuple(_recording(name, files[name], data.sha256) for name in sorted(files))
    return Recordings(items, replace(origin, notes=origin.notes + _notes(items)), synthetic=False)


@lru_cache
def release() -> Dataset:
    """Return what this project knows as FSDD: the four speakers' hashes and the archive's URL."""
    manifest = resources.files("synesthete.data").joinpath("fsdd_manifest.sha256").read_text()
    pairs = (line.split() for line in manifest.splitlines())
    return Dataset(
        name="FSDD v1.0.10",
        folder="fsdd",
        sha256={name: sha256 for sha256, name in pairs},
        homes=(
            "https://github.com/Jakobovski/free-spoken-digit-dataset/archive/refs/tags/v1.0.10.tar.gz",
        ),
        advice="Put the recordings (7_theo_3.wav and so on) into DIR/fsdd/recordings and set "
        "SYNESTHETE_DATA=DIR, or try again where the network reaches further.",
    )


def read(directory: Path) -> Files:
    """Return the recordings of the first of the known layouts that has any."""
    for layout in LAYOUTS:
        found = {
            path.name: read_whole(path, LIMIT)
            for path in (directory / layout).glob("*.wav")
            if NAME.fullmatch(path.name)
        }
        if found:
            return found
    return {}


def unpack(archive: bytes) -> Files:
    """Return the recordings in a (gzipped) tar archive by their bare names.

    Only regular files named like a recording in a folder recordings/ are read, into memory: no
    name in the archive becomes a path, no link is followed. Raises `SourceError` if damaged.
    """
    try:
        plain = io.BytesIO(inflate(archive))
        with tarfile.open(fileobj=plain, mode="r:", tarinfo=_Plain) as tar:
            return dict(_members(tar))
    except (tarfile.TarError, ValueError, EOFError, RecursionError, OSError) as error:
        raise SourceError(f"damaged archive: {error}") from error


class _Plain(tarfile.TarInfo):
    """A member that costs no more than its bytes, whatever its header says.

    Refused are sizes below 0, from which Python reads in circles (CVE-2025-8194), and extensions of
    more than a block, in which it may search for as long as it likes (CVE-2024-6232).
    """

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        info = super().frombuf(buf, encoding, errors)
        plain = info.type in (*tarfile.REGULAR_TYPES, tarfile.DIRTYPE, tarfile.SYMTYPE)
        if not 0 <= info.size <= (LIMIT if plain else tarfile.BLOCKSIZE):
            raise tarfile.ReadError(f"{info.name}: {info.size} bytes")
        return info


def _members(tar: tarfile.TarFile) -> Iterator[tuple[str, bytes]]:
    for count, member in enumerate(tar):
        if count == MOST_MEMBERS:
            raise SourceError(f"an archive of more than {MOST_MEMBERS:,} files")
        path = PurePosixPath(member.name)
        if path.parent.name != "recordings" or not NAME.fullmatch(path.name):
            continue
        # A sparse member may declare any size, whatever the archive's own.
        plain = member.isreg() and not member.issparse()
        if plain and (file := tar.extractfile(member)):
            yield path.name, file.read()


def _fetch(url: str, cache: Path) -> Files:
    archive = download(url, cache / "downloads" / "fsdd.tar.gz")
    try:
        return unpack(archive.read_bytes())
    finally:
        archive.unlink()


def _recording(file_name: str, data: bytes, verified: Container[str]) -> Recording:
    name = file_name.removesuffix(".wav")
    digit, _, rest = name.partition("_")
    speaker, _, index = rest.rpartition("_")
    return Recording(name, int(digit), speaker, int(index), data, file_name in verified)


def _notes(items: Sequence[Recording]) -> tuple[str, ...]:
    further = [item.speaker for item in items if not item.verified]
    if not further:
        return ()
    speakers = sorted(set(further))
    who = f"{len(speakers)} further speaker{'s' * (len(speakers) > 1)} ({', '.join(speakers)})"
    return (f"{len(further):,} recordings of {who}, unverified",)
