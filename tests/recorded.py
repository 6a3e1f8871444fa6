"""Recordings as browsers and telephones store them, made by PyAV."""

import io
from typing import Any

import numpy as np
import pytest

av: Any = pytest.importorskip("av", reason="needs PyAV: pip install 'synesthete[video]'")

KINDS = [("webm", "libopus"), ("mp4", "aac"), ("adts", "aac"), ("mp4", "mp3")]


def recorded(
    container: str,
    codec: str,
    seconds: float = 0.5,
    layout: str = "mono",
    peak: float = 0.5,
    hertz: float = 440,
) -> bytes:
    """A tone at 48 kHz, as a browser would store it."""
    time = np.arange(int(48_000 * seconds)) / 48_000
    wave = (peak * np.sin(2 * np.pi * hertz * time)).astype(np.float32)
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=container) as file:
        stream = file.add_stream(codec, rate=48_000, layout=layout)
        frame = av.AudioFrame.from_ndarray(
            np.stack([wave] * len(stream.layout.channels)), "fltp", layout
        )
        frame.sample_rate = 48_000
        fitting = av.AudioResampler(
            stream.format, layout, 48_000, frame_size=stream.frame_size or 960
        )
        for part in (*fitting.resample(frame), None):
            file.mux(stream.encode(part))
    return buffer.getvalue()
