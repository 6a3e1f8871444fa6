"""`synesthete app` in a process of its own, whose every network connection is written down."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

DRIVER = """import sys
log = open(sys.argv[1], "a", buffering=1)
def watch(event, arguments):
    if event == "socket.connect" and isinstance(arguments[1], tuple):
        print("connect", arguments[1][0], file=log)
    elif event == "socket.getaddrinfo":
        print("resolve", arguments[0], file=log)
sys.addaudithook(watch)
from synesthete import app, cli
app.SWEEP, app.KEEP = eval(sys.argv[2])
sys.exit(cli.main(sys.argv[3:]))
"""


@dataclass
class Served:
    """A running page."""

    process: subprocess.Popen[str]
    url: str
    folder: Path
    """Where its temporary files go."""
    log: Path
    said: list[str] = field(default_factory=list)

    def machines(self) -> set[str]:
        """Every machine that it connected to or asked the address of."""
        return {line.split()[1] for line in self.log.read_text().splitlines()}

    def files(self) -> list[Path]:
        """What visitors have left there."""
        kept = {path.name for path in self.folder.glob("synesthete-app-*/*.wav")}
        return [p for p in self.folder.rglob("*") if p.is_file() and p.name not in kept]

    def mebibytes(self) -> float:
        """Its resident memory."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


@contextmanager
def served(
    folder: Path, *arguments: str, sweep: tuple[int, int] = (60, 600), patience: float = 900
) -> Iterator[Served]:
    """The page for `arguments` of the command, from when it answers until it is asked to stop."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    place = folder / "temporary"
    place.mkdir()
    log = folder / "connections.txt"
    log.touch()
    process = subprocess.Popen(
        [sys.executable, "-c", DRIVER, str(log), repr(sweep), "app", *arguments,
         "--no-browser", "--port", port],
        stderr=subprocess.PIPE, text=True,
        env={**os.environ, "TMPDIR": str(place), "NO_COLOR": "1", "COLUMNS": "200"},
    )  # fmt: skip
    said: list[str] = []
    ready = threading.Event()

    def listen() -> None:
        assert process.stderr
        for line in process.stderr:
            said.append(line)
            if re.search(r"http://127\.0\.0\.1:\d+/", line):
                ready.set()
        ready.set()

    listener = threading.Thread(target=listen)
    listener.start()
    try:
        assert ready.wait(patience), said
        assert process.poll() is None, said
        yield Served(process, f"http://127.0.0.1:{port}/", place, log, said)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(300)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        listener.join()
        assert process.stderr
        process.stderr.close()
