"""Have the system refuse memory, to show what never asks for it."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LITTLE = 200_000_000
"""Bytes that nothing below may need: what is declared is far more, or what is there far less."""


@contextmanager
def little_memory() -> Iterator[None]:
    """Have the system refuse this process more than `LITTLE` bytes besides what it has."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + LITTLE, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
