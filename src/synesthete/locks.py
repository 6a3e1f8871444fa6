"""Hold a place on the disk against other processes; the system lets go of it however we end."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from synesthete.errors import UserError
from synesthete.files import DRAFT, naming, sweep
from synesthete.progress import console


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Be the one process that makes the folder `path`; what killed ones left beside it goes.

    Raises:
        UserError: another process is at it.
        OSError: nothing can be written beside `path`.
    """
    lock = _lock(path)
    try:
        with naming(path):
            lock.acquire(timeout=0)
    except Timeout:
        raise UserError(
            f"{path}: another process is writing there; wait for it, or name another --out"
        ) from None
    try:
        sweep(path)
        yield
    finally:
        with suppress(OSError):  # Windows deletes no open file
            Path(lock.lock_file).unlink()
        lock.release()


@contextmanager
def in_turn(path: Path, doing: str) -> Iterator[None]:
    """Wait until no other process makes `path`, and say what it is `doing` when that takes long.

    Raises:
        OSError: nothing can be written beside `path`.
    """
    lock = _lock(path)
    with naming(path):
        try:
            lock.acquire(timeout=1)
        except Timeout:
            console.print(f"Another process is {doing}; waiting for it.")
            lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _lock(path: Path) -> FileLock:
    """The lock of `path`: a hidden file beside it, or in a mount whose parent is another's."""
    path = path.absolute()
    with naming(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir() and not os.access(path.parent, os.W_OK):
        return FileLock(path / f"{DRAFT}lock")
    return FileLock(path.with_name(f".lock-{path.name}"))
