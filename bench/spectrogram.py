"""Clips per second of the log-mel picture against librosa: `python bench/spectrogram.py`."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import librosa
import numpy as np
import torch
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from synesthete.data import audio
from synesthete.data.spectrogram import LogMel, SpectrogramConfig, pad

CLIPS = 64
ROUNDS = 15


def clips() -> list[audio.Wave]:
    """Return 64 recordings of FSDD, or noise of such lengths where there are none."""
    files = sorted(Path(os.environ.get("SYNESTHETE_DATA", "")).glob("fsdd/recordings/*.wav"))
    if len(files) >= CLIPS:
        return [audio.load(file) for file in files[:: len(files) // CLIPS][:CLIPS]]
    rng = np.random.default_rng(0)
    lengths = rng.integers(1_500, 6_000, CLIPS)
    return [rng.normal(0, 0.1, length).astype(np.float32) for length in lengths]


def librosa_picture(wave: audio.Wave, config: SpectrogramConfig) -> Any:
    """Librosa's nearest equal: as many windows (about), of the same size, into as many bands."""
    power = librosa.feature.melspectrogram(
        y=wave,
        sr=config.rate,
        n_fft=config.dft,
        win_length=config.window,
        hop_length=max(1, len(wave) // config.windows),
        n_mels=config.bands,
        fmin=config.low_hz,
        fmax=config.high_hz,
    )
    return librosa.power_to_db(power, ref=np.max, top_db=config.dynamic_range_db)


def measure() -> dict[str, float]:
    """Clips/s of ours (one clip a call; one batch) and of librosa, and ours over librosa's.

    One thread, the contestants taking turns over the same clips, the best round of each. Ours
    starts from numpy arrays, as librosa does: padding counts.
    """
    waves, model = clips(), LogMel()
    contestants: dict[str, Callable[[], object]] = {
        "librosa": lambda: [librosa_picture(wave, model.config) for wave in waves],
        "one_by_one": lambda: [model(*pad([wave])) for wave in waves],
        "batched": lambda: model(*pad(waves)),
    }
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with threadpool_limits(1), torch.no_grad():
        rounds = [{name: _seconds(run) for name, run in contestants.items()} for _ in range(ROUNDS)]
    torch.set_num_threads(threads)
    speed = {name: len(waves) / min(each[name] for each in rounds) for name in contestants}
    return {
        **{f"{name}_clips_per_second": value for name, value in speed.items()},
        "one_by_one_over_librosa": speed["one_by_one"] / speed["librosa"],
        "batched_over_librosa": speed["batched"] / speed["librosa"],
    }


def _seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


if __name__ == "__main__":
    for name, value in measure().items():
        print(f"{name:28} {value:10.2f}")
