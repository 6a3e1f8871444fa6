"""Decode what browsers and telephones record (webm, m4a), which libsndfile cannot, by PyAV."""

import importlib
import io
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

FORMATS = "matroska,webm,mov,mp4,m4a,3gp,3g2,mj2,aac"
"""FFmpeg's readers that may look at a file: none that follows an address written in it, as those
of playlists do."""
CODECS = frozenset({"aac", "flac", "libopus", "mp3", "mp3float", "opus", "vorbis"})
"""Whose packets decode to a second or so at most, however large the file says they are."""

Check = Callable[[int, int, float], None]


class Undecodable(Exception):
    """The bytes are no such container, hold no sound, or PyAV is not installed; says which."""


def decode(data: bytes, check: Check) -> tuple[npt.NDArray[np.float32], int]:
    """Sound of a container, float32[T, channels] with full scale 1, and its rate in Hz.

    `check` is called with the frames so far, the channels and the rate, before the first packet
    and after each: what it raises ends the decoding. Of a truncated file, or one that goes on at
    another rate or in other channels, what comes before counts.

    Raises:
        Undecodable: saying why.
    """
    try:
        av: Any = importlib.import_module("av")
    except ImportError:
        raise Undecodable("webm and m4a need PyAV: pip install 'synesthete[video]'") from None
    options = {"format_whitelist": FORMATS, "protocol_whitelist": ""}
    try:
        container = av.open(io.BytesIO(data), options=options, metadata_errors="ignore")
    except (av.FFmpegError, ValueError) as error:
        raise Undecodable("nor is it webm or m4a") from error
    with container:
        return _sound(av, container, check)


def _sound(av: Any, container: Any, check: Check) -> tuple[npt.NDArray[np.float32], int]:
    """The first stream of sound in an opened container."""
    if not container.streams.audio:
        raise Undecodable("no sound in it")
    stream = container.streams.audio[0]
    codec = stream.codec_context
    name = codec.name if codec else "nothing known"
    if name not in CODECS:
        raise Undecodable(f"sound coded as {name}")
    check(0, codec.channels, codec.sample_rate)
    parts: list[npt.NDArray[np.float32]] = []
    kinds, frames = set(), 0
    planar = av.AudioResampler(format="fltp")
    try:
        for frame in container.decode(stream):
            kinds.add((frame.layout.nb_channels, frame.sample_rate))
            if len(kinds) > 1:
                break
            frames += frame.samples
            check(frames, *next(iter(kinds)))
            parts += [part.to_ndarray().T for part in planar.resample(frame)]
    except (av.FFmpegError, ValueError):
        pass  # cut short
    if not parts:
        raise Undecodable("no sound in it")
    return np.concatenate(parts), next(iter(kinds))[1]
