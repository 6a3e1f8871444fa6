"""A real browser for tests: Debian's Chromium without a screen, with a sound for a microphone."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray
from playwright.sync_api import Page, expect, sync_playwright

PHONE = {"width": 390, "height": 844}
DESKTOP = {"width": 1280, "height": 1000}
PATIENCE = 60_000
"""Milliseconds that a busy machine may take to show something."""

STOP_WITHIN = 12
"""Seconds after a word before the microphone says it again."""


@contextmanager
def browser(
    microphone: Path | None = None, size: dict[str, int] | None = None, *, dark: bool = False
) -> Iterator[Page]:
    """An empty page; the test is skipped where there is no Chromium.

    `microphone` is a wav file that is heard, over and over, from when a page begins to record; see
    `spoken`.
    """
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium")
    if not chromium:
        pytest.skip("no Chromium here: apt-get install chromium, or set CHROMIUM to its path")
    heard = ["--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"]
    heard += [f"--use-file-for-fake-audio-capture={microphone}"] if microphone else []
    with sync_playwright() as play:
        launched = play.chromium.launch(
            executable_path=chromium,
            args=["--no-sandbox", "--disable-background-networking", *heard],
        )
        try:
            page = launched.new_page(
                viewport=size or DESKTOP,  # type: ignore[arg-type]
                color_scheme="dark" if dark else "light",
            )
            page.set_default_timeout(PATIENCE)
            expect.set_options(timeout=PATIENCE)
            yield page
        finally:
            launched.close()


def spoken(wave: NDArray[np.float32], rate: int, path: Path) -> Path:
    """A microphone's file: half a second of silence, the word, and a silence to stop in."""
    before, after = np.zeros(rate // 2, np.float32), np.zeros(rate * STOP_WITHIN, np.float32)
    soundfile.write(path, np.concatenate([before, wave, after]), rate, subtype="PCM_16")
    return path


def hosts(requested: list[str]) -> set[str]:
    """The machines that addresses lead to; none for what a page holds itself."""
    return {urlsplit(url).hostname or "" for url in requested if url.startswith(("http", "ws"))}
