"""What streaming takes as alignments grow: `make streaming`, from 10,000 to a million pairs.

Synthetic pairs are written as shards of `SHARD` bytes, so that the smallest alignment too is
several windows, and as one alignment to load, as far as that goes. Then processes of their own
take batches. Results go to streaming.json, docs/streaming.png and the table in docs/streaming.md;
what streaming.json has already is kept.
"""

import argparse
import json
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray

from synesthete.data import alignment, batches, pair_shards, storage, streaming
from synesthete.data.augment import AugmentationConfig
from synesthete.data.content import to_flac, to_png
from synesthete.data.scenes import SceneConfig
from synesthete.data.spectrogram import LogMel, SpectrogramConfig
from synesthete.files import whole_file

HERE = Path(__file__).parent
FOUND = HERE / "streaming.json"
PAGE = HERE.parent / "docs" / "streaming.md"
BEGIN, END = "<!-- bench/streaming.py -->\n", "<!-- end -->\n"
SIZES = (10_000, 100_000, 1_000_000)
LOADED = 100_000
"""The largest alignment that is loaded whole."""
SHARD = 1_000_000
IMAGES = 4
"""Of each recording."""
DIFFERENT = 10_000
"""Pairs that are made; more are copies, which a reader does not know."""
RATE, BATCH, WARM, STEPS = 8_000, 128, 20, 200


def pairs(count: int) -> Iterator[tuple[NDArray[np.float32], NDArray[np.uint8]]]:
    """Tones of 0.3 s in some noise, each with images of gradients 28 x 28."""
    seconds = np.arange(int(0.3 * RATE)) / RATE
    line = np.arange(28)
    for row in range(count // IMAGES):
        rng = np.random.default_rng(row)
        tone = np.sin(2 * np.pi * rng.uniform(200, 2_000) * seconds) / 2
        wave = (tone + rng.normal(0, 0.003, len(tone))).astype(np.float32)
        across, down = rng.integers(0, 4, (2, IMAGES, 1, 1, 1))
        yield wave, (across * line + down * line[:, None]).astype(np.uint8)


def write(count: int, shard: int, out: Path) -> dict[str, Any]:
    """Write so many pairs as shards, the first `DIFFERENT` of them over and over."""
    kept = [
        (to_flac(wave, RATE), len(wave), [to_png(image) for image in images])
        for wave, images in pairs(min(count, DIFFERENT))
    ]
    each = islice(cycle(kept), count // IMAGES)
    recordings = ((flac, samples, iter(pngs)) for flac, samples, pngs in each)
    pair_shards.write_encoded(
        recordings, out, rate=RATE, image_shape=(1, 28, 28), shard_bytes=shard
    )
    return {"mb": size(out) / 1e6}


def save(count: int, out: Path) -> dict[str, Any]:
    """Write so many pairs as an alignment."""
    waves, images = zip(*pairs(count), strict=True)
    edges = np.stack([np.arange(count) // IMAGES, np.arange(count)], axis=1)
    made, *_ = alignment.assemble(
        waveforms=waves, audio_groups=[""] * len(waves), audio_splits=["train"] * len(waves),
        images=np.concatenate(images), image_groups=[""] * count, image_splits=["train"] * count,
        edges=edges, rate=RATE, provenance={},
    )  # fmt: skip
    storage.save(made, out)
    return {"mb": size(out) / 1e6}


def stream(place: Path) -> dict[str, Any]:
    """Take batches from shards: samples a second, and how soon the first comes in mid-epoch."""
    found = pair_shards.read(place)
    recipe = streaming.Recipe(
        SpectrogramConfig(), AugmentationConfig(), SceneConfig(), "pairs", BATCH
    )
    middle = found.edges // BATCH // 2
    started = time.perf_counter()
    resumed = streaming.batches(found, recipe, 0, middle)
    next(resumed)
    first = time.perf_counter() - started
    del resumed
    told = take(streaming.batches(found, recipe, 0))
    return {"pairs": found.edges, "shards": len(found.shards), "first_batch_seconds": first, **told}


def load(place: Path) -> dict[str, Any]:
    """Take batches from the same pairs in memory."""
    whole = storage.load(place)
    source = batches.samples(whole, SpectrogramConfig(), "pairs")
    del whole
    return take(batches.batches(source, BATCH, AugmentationConfig(), 0))


def take(source: Iterator[batches.Batch]) -> dict[str, Any]:
    """Samples a second, of the process' own time and by the clock, and its largest memory."""
    for _ in islice(source, WARM):
        pass
    started, busy = time.perf_counter(), time.process_time()
    for _ in islice(source, STEPS):
        pass
    seconds, busy = time.perf_counter() - started, time.process_time() - busy
    return {
        "samples_per_second": STEPS * BATCH / seconds,
        "samples_per_cpu_second": STEPS * BATCH / busy,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1_024 / 1e6,
    }


def nothing() -> dict[str, Any]:
    """The memory of a process that has imported what the others do, and made one spectrogram."""
    batches.pictures([next(pairs(IMAGES))[0]], LogMel(SpectrogramConfig()))
    return {"peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1_024 / 1e6}


def size(folder: Path) -> int:
    """Bytes of all files."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def alone(*arguments: object) -> dict[str, Any]:
    """One of the functions above in a process of its own."""
    command = [sys.executable, __file__, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    told: dict[str, Any] = json.loads(done.stdout)
    print(*arguments[:2], json.dumps(told), flush=True)
    return told


def measure(largest: int) -> dict[str, Any]:
    """Everything that was not measured yet, with a folder at a time on disk."""
    found: dict[str, Any] = json.loads(FOUND.read_text()) if FOUND.exists() else {}

    def keep(key: str, row: dict[str, Any]) -> None:
        found[key] = row
        with whole_file(FOUND) as draft:
            draft.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")

    loaded = [(n, f"{n} loaded") for n in SIZES if n <= min(LOADED, largest)]
    streamed = [(n, SHARD, f"{n} streamed") for n in SIZES if n <= largest]
    usual = (min(LOADED, largest), pair_shards.SHARD_BYTES, "usual shards")
    if "nothing" not in found:
        threads = f"torch {torch.__version__}, {torch.get_num_threads()} thread(s)"
        keep("nothing", {"machine": f"{platform.machine()}, {threads}", **alone("nothing")})
    for count, shard, key in [*streamed, usual]:
        if key not in found:
            with tempfile.TemporaryDirectory() as out:
                told = {"shard_mb": shard / 1e6, **alone("write", count, shard, out)}
                keep(key, told | alone("stream", out))
    for count, key in loaded:
        if key not in found:
            with tempfile.TemporaryDirectory() as out:
                alone("save", count, out)
                keep(key, {"pairs": count, **alone("load", out)})
    return found


def rows_of(found: dict[str, Any], way: str) -> list[dict[str, Any]]:
    """What was measured one way, from few pairs to many."""
    return [found[key] for key in (f"{count} {way}" for count in SIZES) if key in found]


def draw(found: dict[str, Any], path: Path) -> None:
    """Memory and throughput against the number of pairs, logarithmic."""
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    base = found["nothing"]["peak_mb"]
    for name in ("streamed", "loaded"):
        told = rows_of(found, name)
        x = [row["pairs"] for row in told]
        left.plot(x, [row["peak_mb"] - base for row in told], "o-", label=name)
        if name == "streamed":
            right.plot(x, [row["samples_per_cpu_second"] for row in told], "o-", label=name)
    left.set(ylabel="memory beyond the libraries', MB", ylim=(0, None))
    right.set(ylabel="samples streamed a second of a core", ylim=(0, None))
    for axes in (left, right):
        axes.set(xlabel="pairs", xscale="log")
        axes.grid(alpha=0.3)
    left.legend(frameon=False)
    figure.savefig(path, dpi=110)


def table(found: dict[str, Any]) -> str:
    """The results as Markdown."""
    base = found["nothing"]["peak_mb"]
    head = (
        "pairs", "on disk, MB", "shards", "memory, MB", "samples a second of a core",
        "first batch in mid-epoch, s",
    )  # fmt: skip
    lines = [head, ("---",) * len(head)]
    for row in [*rows_of(found, "streamed"), found["usual shards"]]:
        shards = f"{row['shards']:,} of {row['shard_mb']:g} MB"
        numbers = (
            f"{row['pairs']:,}", f"{row['mb']:,.0f}", shards,
            f"{row['peak_mb'] - base:,.0f}", f"{row['samples_per_cpu_second']:,.0f}",
            f"{row['first_batch_seconds']:.1f}",
        )  # fmt: skip
        lines.append(numbers)
    for row in rows_of(found, "loaded"):
        memory = f"{row['peak_mb'] - base:,.0f}"
        lines.append((f"{row['pairs']:,}, loaded", "", "", memory, "", ""))
    machine = found["nothing"]["machine"]
    told = f"{machine}; memory beyond the {base:,.0f} MB of a process with the libraries."
    return "".join(f"| {' | '.join(line)} |\n" for line in lines) + f"\n{told}\n"


def publish(found: dict[str, Any]) -> None:
    """Bring what was found into the docs."""
    draw(found, PAGE.with_suffix(".png"))
    before, rest = PAGE.read_text(encoding="utf-8").split(BEGIN)
    page = before + BEGIN + table(found) + END + rest.split(END)[1]
    with whole_file(PAGE) as draft:
        draft.write_text(page, encoding="utf-8")


def main() -> None:
    """Run one part, or everything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--largest", type=int, default=SIZES[-1], help="pairs, at most")
    parser.add_argument("part", nargs="*", help=argparse.SUPPRESS)
    a = parser.parse_args()
    match a.part:
        case ["write", count, shard, out]:
            print(json.dumps(write(int(count), int(shard), Path(out))))
        case ["save", count, out]:
            print(json.dumps(save(int(count), Path(out))))
        case ["stream", place]:
            print(json.dumps(stream(Path(place))))
        case ["load", place]:
            print(json.dumps(load(Path(place))))
        case ["nothing"]:
            print(json.dumps(nothing()))
        case ["publish"]:
            publish(json.loads(FOUND.read_text(encoding="utf-8")))
        case _:
            publish(measure(a.largest))


if __name__ == "__main__":
    main()
