"""Functions for engines to work on; the processes that do so import no more than this."""

import os
import signal
import time
from pathlib import Path


def double(number: int) -> int:
    time.sleep(0.02 * (number % 3))
    return 2 * number


def negative(number: int) -> int:
    return -number


def leave_at_three(number: int) -> int:
    if number == 3:
        os._exit(139)
    return number


def full_at_three(number: int) -> int:
    if number == 3:
        raise OSError(28, "no room", "there")
    return number


def once_slow(folder: Path, function, item):  # type: ignore[no-untyped-def]
    """The function, but whoever comes first tells its process and waits to be killed."""
    try:
        (folder / "claimed").mkdir()
    except FileExistsError:
        return function(item)
    (folder / "draft").write_text(str(os.getpid()))
    (folder / "draft").rename(folder / "pid")
    time.sleep(600)
    raise AssertionError("not killed")


def kill(folder: Path, parent: bool = False) -> None:
    """End the process that `once_slow` told, or the one that it is a child of."""
    while not (folder / "pid").exists():
        time.sleep(0.05)
    process = int((folder / "pid").read_text())
    if parent:
        status = Path(f"/proc/{process}/status").read_text(encoding="utf-8")
        process = next(int(x.split()[1]) for x in status.splitlines() if x.startswith("PPid"))
    os.kill(process, signal.SIGKILL)
