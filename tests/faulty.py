"""Run a command in a process of its own, and have one thing go wrong in it."""

import multiprocessing
import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple, NoReturn

import torch

from synesthete import cli

_START = multiprocessing.get_context("forkserver")
_START.set_forkserver_preload(["synesthete.runs", "synesthete.generate", "synesthete.pairs"])

Fault = Callable[[], object]


class Ended(NamedTuple):
    """How a command ended: its status (-9: killed), and what it said."""

    status: int
    out: str
    err: str


class Running:
    """A command under way, in a process that begins where torch is imported already."""

    def __init__(self, *argv: object, at: Path, fault: Fault = lambda: None) -> None:
        """Run `synesthete ARGV` in the folder `at`; `fault` is called in its process before."""
        self._files = at / "stdout", at / "stderr"
        words = [str(word) for word in argv]
        self.process = _START.Process(target=_run, args=(words, at, dict(os.environ), fault))
        self.process.start()

    def end(self, patience: float = 200) -> Ended:
        """Wait for it."""
        self.process.join(patience)
        assert self.process.exitcode is not None, "it hangs"
        out, err = (path.read_text(encoding="utf-8") for path in self._files)
        return Ended(self.process.exitcode, out, err)


def command(*argv: object, at: Path, fault: Fault = lambda: None) -> Ended:
    """Run `synesthete ARGV` to its end, as `Running`."""
    return Running(*argv, at=at, fault=fault).end()


def _run(words: list[str], at: Path, environment: dict[str, str], fault: Fault) -> NoReturn:
    os.chdir(at)
    os.environ.clear()
    os.environ.update(environment)
    for number, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644), number)
    torch.set_num_threads(1)
    fault()
    sys.exit(cli.main(words))
