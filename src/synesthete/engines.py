"""Where many items are worked on: in this process and its children, or elsewhere (`ray_engine`)."""

import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from functools import cache
from multiprocessing import get_context, parent_process
from typing import Protocol, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class Engine(Protocol):
    """Applies a function to items; what comes out does not depend on where that is done."""

    def map(
        self,
        function: Callable[[Item], Result],
        items: Iterable[Item],
        *,
        cores: int = 1,
        crashed: Callable[[Item], Result] | None = None,
    ) -> Iterator[Result]:
        """The function's result for each item, in the items' order, as they come.

        Function and items must be picklable, and the function may be called again for an item
        whose process was killed. An exception of the function's is raised here too.

        Args:
            function: of a module, or a `functools.partial` of one.
            items: small next to the work that they ask for.
            cores: that one call keeps busy.
            crashed: the result for an item that ends the process which works on it. A function
                that may do so, such as a decoder of strangers' files, is kept out of this process.
        """


@dataclass(frozen=True)
class Local:
    """The machine at hand: this process, an item at a time, or where that may crash, several."""

    workers: int = field(default_factory=lambda: os.cpu_count() or 1)
    """Processes."""

    def map(
        self,
        function: Callable[[Item], Result],
        items: Iterable[Item],
        *,
        cores: int = 1,
        crashed: Callable[[Item], Result] | None = None,
    ) -> Iterator[Result]:
        """As `Engine.map`."""
        if crashed is None:
            yield from map(function, items)
            return
        waiting = list(items)
        pool = _pool(max(1, self.workers // cores))
        try:
            futures = [pool.submit(function, item) for item in waiting]
            for item, future in zip(waiting, futures, strict=True):
                try:
                    result = future.result()
                except BrokenProcessPool:  # by this item or another
                    result = apart(function, item, crashed)
                yield result
        finally:
            pool.shutdown(cancel_futures=True)


HERE = Local()
"""What is taken unless another engine is named."""


def apart(
    function: Callable[[Item], Result], item: Item, crashed: Callable[[Item], Result]
) -> Result:
    """The function's result for an item, in a process beside this one that the next finds too."""
    try:
        return _beside().submit(function, item).result()
    except BrokenProcessPool:
        _beside.cache_clear()
        return crashed(item)


@cache
def _beside() -> ProcessPoolExecutor:
    return _pool(1)


def _pool(workers: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(workers, get_context("spawn"), _prepare)


def _prepare() -> None:
    """Leave Ctrl-C to the parent process, and end with it, however it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    if (parent := parent_process()) is not None:
        parent.join()
        os._exit(1)
