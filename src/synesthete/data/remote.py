"""Read the files of a folder wherever it lies: on disk, on a web server, in an object storage."""

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

import fsspec
import requests

from synesthete.data.download import SourceError, reason, within
from synesthete.errors import UserError
from synesthete.files import read_whole

T = TypeVar("T")

PATIENCE = 30.0
"""Seconds for an answer, and for each further piece of a file."""
PAUSES = (0.5, 2.0, 8.0)
"""Seconds before a file that could not be had is asked for again."""
PIECE = 1 << 22
"""Bytes that are asked for at a time."""
BUSY = (408, 425, 429)
"""Answers of a web server, beside all from 500 on, that another time may be better."""


class Gone(Exception):
    """A file cannot be had, and asking again is of no use."""


def is_url(place: str) -> bool:
    """Whether a place is a URL rather than a folder on this disk."""
    return "://" in place


def read(place: str, name: str, most: int, check: Callable[[bytes], None]) -> bytes:
    """The bytes of the file `name` in the folder or URL `place`, if `check` accepts them.

    Over a network, what was refused, cut or altered on the way is asked for again, each time after
    a longer pause.

    Args:
        place: a folder; an http(s) URL; or any URL that fsspec opens (s3://, gs://, file://, …),
            given the package for it.
        name: relative to `place`, with slashes.
        most: bytes; a longer file is refused.
        check: raises ValueError where the bytes are not what they should be.

    Raises:
        UserError: saying what was wrong with which file.
    """
    pauses = PAUSES if is_url(place) else ()
    for pause in (*pauses, None):
        try:
            data = _once(place, name, most)
            check(data)
        except (Gone, OSError, ValueError, SourceError) as error:
            if pause is None or isinstance(error, Gone):
                tries = f", tried {len(pauses) + 1} times" if pause is None and pauses else ""
                raise UserError(f"{_join(place, name)}: {_why(error)}{tries}") from error
            time.sleep(pause)
        else:
            return data
    raise AssertionError("the last pause is None")


def _join(place: str, name: str) -> str:
    return f"{place.rstrip('/')}/{name}"


def _why(error: Exception) -> str:
    return reason(error) if isinstance(error, OSError) else str(error)


def _once(place: str, name: str, most: int) -> bytes:
    if not is_url(place):
        return read_whole(Path(place) / name, most)
    url = _join(place, name)
    if url.startswith(("http://", "https://")):
        return _over_http(url, most)
    return _by_fsspec(url, most)


def _over_http(url: str, most: int) -> bytes:
    """As `requests` brings it, which the package has anyway; fsspec would need aiohttp."""

    def ask() -> requests.Response:
        plain = {"Accept-Encoding": "identity"}
        return requests.get(url, headers=plain, stream=True, timeout=PATIENCE)

    with within(PATIENCE, ask) as answer:
        if not answer.ok:
            told = f"the server answered {answer.status_code} {answer.reason}"
            raise OSError(told) if _may_pass(answer.status_code) else Gone(told)
        data = bytearray()
        for piece in answer.iter_content(PIECE):
            data += piece
            if len(data) > most:
                raise Gone(f"more than {most:,} bytes")
    return bytes(data)


def _may_pass(status: int) -> bool:
    return status >= 500 or status in BUSY


def _by_fsspec(url: str, most: int) -> bytes:
    try:
        system, path = fsspec.url_to_fs(url)
    except (ImportError, ValueError) as error:  # no package for it; no such protocol
        raise Gone(str(error)) from error
    size = within(PATIENCE, partial(_asked, partial(system.size, path)))
    if size > most:
        raise Gone(f"{size:,} bytes, wanted at most {most:,}")
    data = bytearray()
    for start in range(0, size, PIECE):
        end = min(start + PIECE, size)
        ask = partial(system.cat_file, path, start=start, end=end)
        data += within(PATIENCE, partial(_asked, ask))
    return bytes(data)


def _asked(call: Callable[[], T]) -> T:
    """What a file system answers; its errors, of whatever kind, as ours."""
    try:
        return call()
    except (FileNotFoundError, PermissionError) as error:
        raise Gone(f"{type(error).__name__}: {error}") from error
    except Exception as error:  # each file system has errors of its own
        raise OSError(f"{type(error).__name__}: {error}") from error
