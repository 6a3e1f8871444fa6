"""Run a command in a process of its own, and have one thing go wrong in it."""

import errno
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import pytest
import torch

from synesthete import cli

fcntl = pytest.importorskip("fcntl", reason="needs POSIX locks")
pwd = pytest.importorskip("pwd", reason="needs POSIX users")
resource = pytest.importorskip("resource", reason="needs POSIX resource limits")
_START = multiprocessing.get_context("forkserver")
_START.set_forkserver_preload(["synesthete.runs", "synesthete.generate", "synesthete.pairs"])

Fault = Callable[[], object]


def nothing() -> None:
    """No fault."""


class Ended(NamedTuple):
    """How a command ended: its status (-9: killed), and what it said."""

    status: int
    out: str
    err: str


class Running:
    """`synesthete ARGV` in the folder `at`, in a process in which torch is imported already."""

    def __init__(self, *argv: object, at: Path, fault: Fault = nothing) -> None:
        """Begin; `fault` is called in the process first."""
        self._said = at / f".said-{time.monotonic_ns()}"
        words = [str(word) for word in argv]
        task = (words, at, self._said, dict(os.environ), fault)
        self.process = _START.Process(target=_run, args=task)
        self.process.start()

    def end(self) -> Ended:
        """Wait for the end."""
        self.process.join(200)
        assert self.process.exitcode is not None, "it hangs"
        out, err = (self._said.with_suffix(f".{n}").read_text(encoding="utf-8") for n in (1, 2))
        return Ended(self.process.exitcode, out, err)


def command(*argv: object, at: Path, fault: Fault = nothing) -> Ended:
    """Run `synesthete ARGV` to its end."""
    return Running(*argv, at=at, fault=fault).end()


def _run(
    words: list[str], at: Path, said: Path, environment: dict[str, str], fault: Fault
) -> NoReturn:
    os.chdir(at)
    os.environ.clear()
    os.environ.update(environment)
    for number in (1, 2):
        file = said.with_suffix(f".{number}")
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT, 0o644), number)
    torch.set_num_threads(1)
    fault()
    sys.exit(cli.main(words))


def die() -> None:
    """As `kill -9`, or the machine's out-of-memory killer."""
    os.kill(os.getpid(), signal.SIGKILL)


def no_room(size: int) -> None:
    """No file grows beyond `size` bytes any more: the nearest to a full disk that needs no root."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def before_rename(number: int, fault: Fault) -> None:
    """Have `fault` happen when all is written and only the `number`th rename is to come."""
    rename, left = os.replace, [number]

    def replace(*args: Any, **kwargs: Any) -> None:
        left[0] -= 1
        if not left[0]:
            fault()
        rename(*args, **kwargs)

    os.replace = replace


def no_locks() -> None:
    """A network disk that has no file locks."""

    def refuse(*_: object) -> NoReturn:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    fcntl.flock = refuse


def others_folder() -> None:
    """The folder that we are in is another's: nothing new may be put into it."""
    here, access, opened = Path.cwd(), os.access, os.open

    def ours(path: Any, mode: int, **named: Any) -> bool:
        return Path(path) != here and access(path, mode, **named)

    def refuse(path: Any, flags: int, *more: Any, **named: Any) -> int:
        if flags & os.O_CREAT and Path(path).absolute().parent == here:
            raise OSError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return opened(path, flags, *more, **named)

    os.access, os.open = ours, refuse


def full_output() -> None:
    """Standard output goes to a device that has no room."""
    os.dup2(os.open("/dev/full", os.O_WRONLY), 1)


def no_home() -> None:
    """A user of whom the machine knows nothing, as in a container: no HOME, no entry in passwd."""

    def unknown(_: object) -> NoReturn:
        raise KeyError("no such user")

    for name in ("HOME", "USER", "LOGNAME", "SYNESTHETE_CACHE", "XDG_CACHE_HOME"):
        os.environ.pop(name, None)
    pwd.getpwuid = unknown


def clock_runs_backwards() -> None:
    """Each look at the wall clock finds it an hour earlier."""
    now: Iterator[float] = iter(range(2_000_000_000, 0, -3_600))
    time.time = lambda: float(next(now))
