"""A headless Chromium whose microphone plays a file, and a static server, both on loopback."""

import functools
import http.server
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray
from playwright.sync_api import Browser, sync_playwright

FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-background-networking",
    "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream",
)  # fmt: skip


def chromium() -> str:
    """The system's Chromium; the test is skipped where there is none."""
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        pytest.skip("no chromium on this machine (Debian: apt install chromium)")
    return found


@contextmanager
def chromium_hearing(hears: Path) -> Iterator[Browser]:
    """Chromium with a microphone that plays the wav file `hears`, over and over."""
    executable = chromium()
    flags = [*FLAGS, f"--use-file-for-fake-audio-capture={hears}"]
    with sync_playwright() as playwright:
        held = playwright.chromium.launch(executable_path=executable, args=flags)
        try:
            yield held
        finally:
            held.close()


def microphone(path: Path, wave: NDArray[np.float32], rate: int) -> Path:
    """Write a clip as what the microphone plays, with silence enough that it is heard once."""
    before, after = np.zeros(rate // 2, np.float32), np.zeros(6 * rate, np.float32)
    soundfile.write(path, np.concatenate([before, wave, after]), rate, subtype="PCM_16")
    return path


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
