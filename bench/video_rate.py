"""What pairs from videos cost: `python bench/video_rate.py` -> video_rate.json, docs/scale.md.

Films of 640x360 pixels at 30 frames a second, H.264 and AAC, are made here and cut; then their
pairs are stored, and images are drawn and judged: all of it by one thread.
"""

import argparse
import json
import math
import platform
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch

from synesthete import evaluate
from synesthete.data import joining, storage, videos
from synesthete.data.own import Form, Found
from synesthete.data.sides import Shares
from synesthete.data.video import Cut
from synesthete.engines import HERE
from synesthete.generate import load
from synesthete.pairs import provenance

OUT = Path(__file__).with_suffix(".json")
PAGE = Path(__file__).parents[1] / "docs" / "scale.md"
MARKS = "<!-- measured: written by `python bench/video_rate.py` -->\n", "<!-- /measured -->"
HOURS = 1_000_000
"""Of video, that the estimate is for."""
PRICE = 0.04
"""Dollars a core-hour: an assumption."""
CUTTING = "CPU-hours of cutting, an hour of video"
PAIRS = "pairs an hour of video"
FILMS = "GiB of film, an hour of video"
KEPT = "GiB kept until the pairs are whole, an hour of video"
JOINING = "CPU-hours of joining and storing, a million pairs"
STORED = "GiB of pairs, a million pairs"

WIDTH, HEIGHT, FPS, RATE = 640, 360, 30, 44_100
BITS = 800_000
"""Of the picture, a second."""
T95 = (12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26, 2.23, 2.20, 2.18, 2.16, 2.14, 2.13)
"""Student's t for 95% by degrees of freedom from 1."""


def main() -> None:
    """Make films, measure, write the numbers with their intervals."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--films", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--fps", type=float, default=1)
    parser.add_argument("--blocks", type=int, default=8, help="of 256 images drawn")
    a = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as place:
        rows = [*cutting(Path(place), a.films, a.seconds, a.fps), *drawing(a.blocks)]
    about = {
        "machine": f"{platform.machine()}, {torch.backends.cpu.get_cpu_capability()}, one thread",
        "films": a.films, "seconds each": a.seconds, "frames taken a second": a.fps,
        "size": f"{WIDTH}x{HEIGHT}, {FPS} frames a second, H.264 and AAC",
    }  # fmt: skip
    OUT.write_text(json.dumps({"about": about, "rows": rows}, indent=1) + "\n", encoding="utf-8")
    write_page()


def write_page() -> None:
    """Put what was measured, and the estimate from it, into the page."""
    held = json.loads(OUT.read_text(encoding="utf-8"))
    found = {row["what"]: row for row in held["rows"]}
    lines = ["| measured | mean | 95% | samples |", "|---|---|---|---|"]
    for name, each in found.items():
        lines.append(
            f"| {name} | {_short(each['mean'])} | {_between(each['ci95'])} | {each['n']} |"
        )
    about = ", ".join(f"{key}: {value}" for key, value in held["about"].items())
    lines += ["", f"({about}.)", "", f"| {HOURS:,} hours | | 95% |", "|---|---|---|"]
    pairs = found[PAIRS]["mean"] * HOURS / 1e6
    for name, key, times in (
        ("core-hours of cutting", CUTTING, HOURS),
        (f"dollars of cutting, at {PRICE} a core-hour", CUTTING, HOURS * PRICE),
        ("core-hours of joining and storing", JOINING, pairs),
        (f"dollars of joining and storing, at {PRICE} a core-hour", JOINING, pairs * PRICE),
        ("million pairs", PAIRS, HOURS / 1e6),
        ("TiB of films read", FILMS, HOURS / 1_024),
        ("TiB kept until the pairs are whole", KEPT, HOURS / 1_024),
        ("TiB of pairs", STORED, pairs / 1_024),
    ):
        mean, ci95 = found[key]["mean"] * times, found[key]["ci95"]
        between = _between(ci95 and [end * times for end in ci95])
        lines.append(f"| {name} | {_short(mean)} | {between} |")
    before, rest = PAGE.read_text(encoding="utf-8").split(MARKS[0])
    after = rest.split(MARKS[1])[1]
    text = before + MARKS[0] + "\n".join(lines) + "\n" + MARKS[1] + after
    PAGE.write_text(text, encoding="utf-8")


def _between(ci95: Sequence[float] | None) -> str:
    return "" if ci95 is None else " to ".join(map(_short, ci95))


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:.3g}"


def cutting(place: Path, films: int, seconds: float, fps: float) -> list[dict[str, Any]]:
    """CPU-hours an hour of video, and bytes on disk of films, kept results and pairs."""
    (place / "films").mkdir()
    form, cut = Form(rate=16_000, size=64), Cut(fps=fps)
    hours, sizes, costs, kept, counts = seconds / 3_600, [], [], [], []
    for number in range(films):
        path = place / "films" / f"{number}.mp4"
        film(path, seconds, number)
        task = videos.Task(path, form, cut, place / f"{number}.npz")
        costs.append(cpu(lambda task=task: videos.work(task)) / 3_600 / hours)  # type: ignore[misc]
        sizes.append(path.stat().st_size / hours / 2**30)
        with np.load(task.result) as held:
            counts.append(len(held["seconds"]) / hours)
        kept.append(task.result.stat().st_size / hours / 2**30)
    found = videos.found(place / "films", form, cut, place / "work", HERE)
    about = provenance({"audio_source": "bench"}, form)

    def store() -> None:
        made = joining.join(found, form, Shares(0.1, 0, 0), about)
        storage.save(made.alignment, place / "pairs", beside=made.save_beside)

    pairs = len(found.edges)
    storing = [cpu(store) / pairs * 1e6 / 3_600 for _ in range(5)]
    stored = [_size(one, form, place / "one") * 1e6 / 2**30 for one in _films(found)]
    return [
        row(CUTTING, costs),
        row(PAIRS, counts),
        row(FILMS, sizes),
        row(KEPT, kept),
        row(JOINING, storing),
        row(STORED, stored),
    ]


def _films(found: Found) -> list[Found]:
    """What each film gave, on its own."""
    groups = [item.group for item in found.sounds]
    parts = []
    for group in sorted({*groups}):
        rows = [row for row, other in enumerate(groups) if other == group]
        items = [found.sounds[row] for row in rows]
        waves, pixels = [found.waves[row] for row in rows], [found.pixels[row] for row in rows]
        edges = np.repeat(np.arange(len(rows))[:, None], 2, axis=1)
        parts.append(Found(items, waves, items, pixels, edges))
    return parts


def _size(found: Found, form: Form, out: Path) -> float:
    """Bytes on disk a pair."""
    made = joining.join(found, form, Shares(0, 0, 0), provenance({"audio_source": "bench"}, form))
    storage.save(made.alignment, out, beside=made.save_beside)
    files = [path for path in out.rglob("*") if path.is_file()]
    return sum(path.stat().st_size for path in files) / len(made.alignment.edges)


def drawing(blocks: int) -> list[dict[str, Any]]:
    """Images a CPU-hour of the bundled model, drawn and read by both judges."""
    model, audio = load("digits"), torch.rand(16, 1, 48, 48)
    images = model.sample(audio, 16)
    flat = images.reshape(-1, 28, 28)
    evaluate.judged(flat)
    drawn = [256 * 3_600 / cpu(lambda: model.sample(audio, 16)) for _ in range(blocks)]
    judged = [256 * 3_600 / cpu(lambda: evaluate.judged(flat)) for _ in range(blocks)]
    return [
        row("images of digits drawn, a CPU-hour", drawn),
        row("images read by both judges, a CPU-hour", judged),
    ]


def film(path: Path, seconds: float, seed: int) -> None:
    """Smooth coloured clouds that drift, in a little noise, with a tone that wanders in noise."""
    rng = np.random.default_rng(seed)
    patches = np.kron(rng.integers(0, 256, (12, 40, 3)), np.ones((30, 32, 1)))
    moved = [np.roll(patches, (i, j), (0, 1)) for i in (-8, 0, 8) for j in (-8, 0, 8)]
    clouds = np.mean(moved, axis=0).astype(np.int16)
    grain = rng.normal(0, 4, (8, HEIGHT, WIDTH, 1)).astype(np.int16)
    time_ = np.arange(int(seconds * RATE)) / RATE
    pitch = 300 + 100 * np.sin(2 * np.pi * 0.2 * time_)
    wave = 0.3 * np.sin(2 * np.pi * np.cumsum(pitch) / RATE) + rng.normal(0, 0.02, len(time_))
    with av.open(str(path), "w") as container:
        picture: Any = container.add_stream("libx264", rate=FPS, options={"preset": "veryfast"})
        picture.width, picture.height = WIDTH, HEIGHT
        picture.pix_fmt, picture.bit_rate = "yuv420p", BITS
        sound: Any = container.add_stream("aac", rate=RATE, layout="mono")
        for number in range(int(seconds * FPS)):
            view = np.roll(clouds, 2 * number, axis=1)[:, :WIDTH] + grain[number % 8]
            pixels = view.clip(0, 255).astype(np.uint8)
            container.mux(picture.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(picture.encode(None))
        samples = wave.astype(np.float32)[None]
        frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
        frame.sample_rate = RATE
        container.mux(sound.encode(frame))
        container.mux(sound.encode(None))


def cpu(run: Callable[[], object]) -> float:
    """CPU-seconds of a call: what other processes do meanwhile counts little."""
    started = time.process_time()
    run()
    return time.process_time() - started


def row(name: str, values: Sequence[float]) -> dict[str, Any]:
    """The mean of several measurements and its 95% interval (Student's t); null of one."""
    mean, n = float(np.mean(values)), len(values)
    told: dict[str, Any] = {"what": name, "mean": mean, "ci95": None, "n": n}
    if n > 1:
        half = T95[min(n - 2, len(T95) - 1)] * float(np.std(values, ddof=1)) / math.sqrt(n)
        told["ci95"] = [mean - half, mean + half]
    return told


if __name__ == "__main__":
    main()
