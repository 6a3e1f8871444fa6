"""Speak words in many voices through espeak-ng, which runs in a process of its own."""

import importlib.metadata
import json
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from synesthete.data.content import from_16_bit
from synesthete.errors import UserError

WORKER = Path(__file__).with_name("espeak_worker.py")
PATIENCE = 30.0
"""Seconds that espeak-ng may take to start; it takes a tenth of one."""
PATIENCE_PER_CHARACTER = 0.01
"""Seconds more that it may take to speak; it takes a thirtieth of that."""

Waveform = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Utterance:
    """A text and how to say it, in espeak-ng's units.

    `voice` is an accent and, after a plus, a variant that `voices` lists: "en-gb", "en-us+f3"; or
    another language's code, "de+f3", which reads the text by its own rules and in its own sounds.
    """

    text: str
    voice: str = "en-us"
    rate: int = 175  # words a minute, 80 to 450
    pitch: int = 50  # 0 to 100
    range: int = 50  # of the pitch, 0 (monotone) to 100

    def __post_init__(self) -> None:
        """Raise `UserError` for a value that espeak-ng would clip or pass over."""
        if not self.text.strip() or "\0" in self.text:
            raise UserError(f"cannot speak {self.text!r}: give it at least one word")
        limits = {"rate": (80, 450), "pitch": (0, 100), "range": (0, 100)}
        for name, (low, high) in limits.items():
            if not low <= getattr(self, name) <= high:
                raise UserError(f"{name} {getattr(self, name)} is not within {low} to {high}")


@dataclass(frozen=True)
class Voices:
    """What the name of a voice is made of: an accent alone, or accent+variant."""

    version: str  # of espeak-ng, as "1.52.0"
    accents: tuple[str, ...]  # of English
    variants: tuple[str, ...]


def speak(utterances: Sequence[Utterance]) -> tuple[list[Waveform], int]:
    """Return each utterance's waveform, float32[T] within -1 to 1, and their rate in Hz.

    About a millisecond a word after a tenth of a second for the process: give it many at once.
    The same sequence gives the same samples. One utterance's samples depend a little on those
    before it, as the library carries the flutter of its pitch on from one to the next.

    Raises `UserError`: not installed, unknown voice, crash, no answer in time.
    """
    header, samples = _ask(utterances)
    ends = np.cumsum(header["lengths"], dtype=np.int64)[:-1]
    spoken = np.split(from_16_bit(samples), ends) if utterances else []
    return spoken, header["rate"]


def voices() -> Voices:
    """Return the English accents and the variants there are. Raises `UserError` as `speak`."""
    header, _ = _ask(())
    return Voices(header["version"], tuple(header["accents"]), tuple(header["variants"]))


def package_version() -> str:
    """Return the version of the package that carries the library; `UserError` without it."""
    try:
        return importlib.metadata.version("espeakng-loader")
    except importlib.metadata.PackageNotFoundError:
        raise UserError(
            "synthetic speech needs espeak-ng, which is not installed: "
            "pip install 'synesthete[speech]'"
        ) from None


def _ask(utterances: Sequence[Utterance]) -> tuple[dict[str, Any], npt.NDArray[np.int16]]:
    """Run the worker once and return its header and the samples of all utterances, in a row."""
    package_version()
    request = [(u.text, u.voice, u.rate, u.pitch, u.range) for u in utterances]
    patience = PATIENCE + PATIENCE_PER_CHARACTER * sum(len(u.text) for u in utterances)
    try:
        done = subprocess.run(
            [sys.executable, "-P", str(WORKER)],
            input=json.dumps(request).encode(),
            capture_output=True,
            timeout=patience,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise UserError(f"espeak-ng gave no answer in {patience:g} seconds: try again") from None
    line, _, samples = done.stdout.partition(b"\n")
    if done.returncode != 0 or not line:
        raise UserError(f"espeak-ng did not speak: {_reason(done)}")
    return json.loads(line), np.frombuffer(samples, np.int16)


def _reason(done: subprocess.CompletedProcess[bytes]) -> str:
    """Return what the worker said last, or how it ended."""
    if done.returncode < 0:
        return f"it was ended by {signal.Signals(-done.returncode).name}; try again"
    said = done.stderr.decode(errors="replace").splitlines()
    return next(filter(str.strip, reversed(said)), "it ended without a word; try again")
