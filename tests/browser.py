"""A real browser for tests: Debian's Chromium without a screen, with a sound for a microphone."""

import functools
import http.server
import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray
from playwright.sync_api import Browser, Page, ViewportSize, expect, sync_playwright

FLAGS = (
    "--no-sandbox", "--disable-background-networking",
    "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream",
)  # fmt: skip
PHONE = ViewportSize(width=390, height=844)
DESKTOP = ViewportSize(width=1280, height=1000)
PATIENCE = 60_000
"""Milliseconds that a busy machine may take to show something."""

STOP_WITHIN = 12
"""Seconds after a word before the microphone says it again."""


def chromium() -> str:
    """The path of Chromium; the test is skipped where there is none."""
    found = os.environ.get("CHROMIUM") or shutil.which("chromium")
    if not found:
        pytest.skip("no Chromium here: apt-get install chromium, or set CHROMIUM to its path")
    return found


@contextmanager
def launched(microphone: Path | None = None) -> Iterator[Browser]:
    """Chromium, with a microphone that plays a wav file over and over (`spoken`)."""
    heard = [f"--use-file-for-fake-audio-capture={microphone}"] if microphone else []
    executable = chromium()
    with sync_playwright() as play:
        held = play.chromium.launch(executable_path=executable, args=[*FLAGS, *heard])
        try:
            yield held
        finally:
            held.close()


@contextmanager
def browser(
    microphone: Path | None = None, size: ViewportSize = DESKTOP, *, dark: bool = False
) -> Iterator[Page]:
    """An empty page."""
    with launched(microphone) as held:
        page = held.new_page(viewport=size, color_scheme="dark" if dark else "light")
        page.set_default_timeout(PATIENCE)
        expect.set_options(timeout=PATIENCE)
        yield page


def spoken(wave: NDArray[np.float32], rate: int, path: Path) -> Path:
    """A microphone's file: half a second of silence, the word, and a silence to stop in."""
    before, after = np.zeros(rate // 2, np.float32), np.zeros(rate * STOP_WITHIN, np.float32)
    soundfile.write(path, np.concatenate([before, wave, after]), rate, subtype="PCM_16")
    return path


def hosts(requested: list[str]) -> set[str]:
    """The machines that addresses lead to; none for what a page holds itself."""
    return {urlsplit(url).hostname or "" for url in requested if url.startswith(("http", "ws"))}


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve a folder as any static host would; yields its URL, ending in a slash."""
    handler = functools.partial(_Quiet, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
