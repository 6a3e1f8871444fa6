"""Progress bars, on standard error, for everything that lasts longer than a glance."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from synesthete import torchrun

console = Console(stderr=True, quiet=torchrun.rank() > 0)
"""Where people are told things, once; standard output is for results."""


class Bar:
    """One running bar."""

    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress, self._task = progress, task

    def advance(self, by: float = 1, note: str | None = None) -> None:
        """`by` units further; `note` replaces the text at the end of the bar."""
        self._progress.advance(self._task, by)
        if note is not None:
            self._progress.update(self._task, note=note)


def busy(description: str) -> AbstractContextManager[object]:
    """A sign of life while the block runs, for work that cannot be counted."""
    return console.status(description) if console.is_terminal else nullcontext()


@contextmanager
def bar(description: str, total: int, done: int = 0) -> Iterator[Bar]:
    """A bar from `done` to `total` units while the block runs."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        yield Bar(progress, progress.add_task(description, total=total, completed=done, note=""))
