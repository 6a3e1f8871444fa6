"""Write files and folders whole, or not at all; read whole what a stranger may have written."""

import errno
import glob
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

DRAFT = ".draft-"
"""How the names of drafts begin."""
LARGEST_JSON = 1 << 23
"""Bytes of a JSON file: an alignment's header with 100,000 held-out groups takes a quarter."""
DEEPEST_JSON = 32
"""Lists and tables within each other; ours have 6."""


@contextmanager
def whole_directory(path: Path) -> Iterator[Path]:
    """Yield an empty draft folder that replaces `path` when the block ends well.

    The draft lies beside `path`, so the final step is one rename; a crash, a full disk or a kill
    leaves `path` as it was (at worst a hidden `.draft-*` folder beside it, see `sweep`).
    """
    with naming(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f"{DRAFT}{path.name}-", dir=path.parent))
        try:
            draft.chmod(0o755)
            yield draft
            for file in draft.rglob("*"):
                if file.is_file():
                    _flush(file)
            if path.exists():
                old = Path(tempfile.mkdtemp(".old", f"{DRAFT}{path.name}-", path.parent))
                path.replace(old / path.name)
                draft.replace(path)
                shutil.rmtree(old)
            else:
                draft.replace(path)
        finally:
            shutil.rmtree(draft, ignore_errors=True)


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a draft file name beside `path` that replaces it when the block ends well.

    A device or a pipe is nothing to replace: it is yielded itself.
    """
    with naming(path):
        if path.exists() and not path.is_file() and not path.is_dir():
            yield path
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f"{DRAFT}{path.name}-", dir=path.parent)
        os.close(handle)
        draft = Path(name)
        try:
            yield draft
            draft.chmod(0o644)
            _flush(draft)
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)


def sweep(path: Path) -> None:
    """Remove what killed processes left beside the folder `path`, which nobody else writes now.

    One that was killed between its last two renames had put the folder aside: it comes back.
    """
    name = glob.escape(path.name)
    for old in path.parent.glob(f"{DRAFT}{name}-????????.old"):
        if not path.exists() and (old / path.name).exists():
            (old / path.name).replace(path)
        shutil.rmtree(old, ignore_errors=True)
    for draft in path.parent.glob(f"{DRAFT}{name}-????????"):
        shutil.rmtree(draft, ignore_errors=True)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Have an `OSError` of the block name `path`, where it names no file or one of our own making.

    Whoever reads that a disk is full wants to know which.
    """
    try:
        yield
    except OSError as error:
        told = str(error.filename or DRAFT)
        if error.errno and any(ours in told for ours in (DRAFT, ".lock-")):
            error.filename = str(path)
        raise


def read_whole(path: Path, most: int) -> bytes:
    """The bytes of a regular file; a pipe or device, which might never end, is not opened.

    Raises:
        OSError: no such file, another kind of file, or more than `most` bytes.
    """
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "a directory or device", str(path))
    if status.st_size > most:
        told = f"{status.st_size:,} bytes, wanted at most {most:,}"
        raise OSError(errno.EFBIG, told, str(path))
    with path.open("rb") as stream:
        return stream.read(status.st_size)


def read_json(path: Path) -> Any:
    """The value of a JSON file.

    Raises:
        OSError: as `read_whole`.
        ValueError: as `parse_json`.
    """
    return parse_json(read_whole(path, LARGEST_JSON))


def parse_json(data: bytes) -> Any:
    """The value that `data` spells.

    Raises:
        ValueError: not JSON, NaN or infinity in it, or nested too deeply.
    """
    try:
        value = json.loads(data, parse_constant=_refuse)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    layer = [value]
    for _ in range(DEEPEST_JSON):
        layer = [inner for outer in layer for inner in _parts(outer)]
    if layer:
        raise ValueError("nested too deeply")
    return value


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no number of JSON")


def _parts(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [*value.values()]
    return value if isinstance(value, list) else []


def _flush(file: Path) -> None:
    """Have the disk hold the bytes before a rename makes them official."""
    with file.open("rb") as stream:
        os.fsync(stream.fileno())
