"""One call for many clips, in a process of its own: `python bench/many.py CLIPS` prints JSON."""

import json
import resource
import sys
import time

import numpy as np

from synesthete.generate import load

SAMPLES = 4


def main(clips: int) -> None:
    """Draw `SAMPLES` images of each of as many half-second noises; say what it took."""
    model = load("digits")
    waves = np.random.default_rng(0).normal(0, 0.1, (100, 4_000)) * np.linspace(1, 0, 4_000)
    started, busy = time.perf_counter(), time.process_time()
    images = model.generate([waves[i % 100] for i in range(clips)], SAMPLES, sample_rate=8_000)
    seconds = time.perf_counter() - started
    told = {
        "clips": clips, "images_per_second": images.shape[0] * SAMPLES / seconds,
        "cores_busy": (time.process_time() - busy) / seconds,
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1_024,
        "of_it_images_mib": images.nbytes / 2**20,
    }  # fmt: skip
    print(json.dumps(told))


if __name__ == "__main__":
    main(int(sys.argv[1]))
