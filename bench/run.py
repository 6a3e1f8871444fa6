"""Measure speeds as ratios in one run: `make bench` -> results.json, README.md."""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import digits
import exported
import faithful
import numpy as np
import page
import soundfile
import spectrogram
import torch
from clock import best
from lightning_fabric import Fabric
from torch.utils.flop_counter import FlopCounterMode

from synesthete import config, evaluate, family, material, runs, train, viewer
from synesthete.answers import Answers
from synesthete.data import batches
from synesthete.data.alignment import Alignment
from synesthete.demo import WATCHED, Watch
from synesthete.family import Shapes
from synesthete.generate import Model, load
from synesthete.progress import bar, console

HERE = Path(__file__).parent
TARGET = 0.937
"""The deck's agreement: what the race runs to."""

RACES = {
    "deck-vae, pairs": ("deck-vae", {"steps": "4_000"}),  # of the deck's 46,875
    "deck-vae, grouped": ("deck-vae-grouped", {}),
    "archetype": ("archetype", {}),
}


PEAK = """import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, capture_output=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"""
"""Runs a command in a process that has no other children."""


def main() -> None:
    """Measure everything, writing the page after each part."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="parts whose title begins so; keep the others")
    only = parser.parse_args().only
    path = HERE / "results.json"
    kind = f"{platform.machine()}, {torch.backends.cpu.get_cpu_capability()}"
    machine = f"{os.cpu_count()} cores ({kind}), torch {torch.__version__}"
    tables: dict[str, list[dict[str, Any]]] = {}
    if only:
        tables = json.loads(path.read_text(encoding="utf-8"))["tables"]
    for title, measure in (
        ("Spectrogram against librosa, one thread", lambda: [spectrogram.measure()]),
        ("Start-up", startup),
        ("The demo's peak memory", memory),
        (f"Race to {TARGET:.1%} agreement on the test pairs", race),
        ("A training step of batch 128", steps),
        ("A VAE-GAN step of 128 images: few recordings x many images", sharing),
        ("The VAE-GAN, whole", whole),
        ("The bundled model: training to each bar, of the test split", bars),
        ("The bundled model: images by evaluations of its network", rates),
        ("The bundled model: from a sound file to images, warm", latencies),
        ("The bundled model: from a shell, cold, a process each", cold),
        ("The bundled model: many clips in one call, 4 images each", many),
        ("ONNX export: milliseconds from a waveform to images", exported.speeds),
        ("ONNX export: images of the 200 test recordings", exported.costs),
        ("The page: from a recording to its answer, on the server, warm", answered),
        ("The page: from the end of speech to the first drawing, in Chromium, warm", spoken),
    ):
        if not title.startswith(only):
            continue
        console.print(title)
        tables[title] = measure()
        for row in tables[title]:
            console.print(row)
        found = {"machine": machine, "tables": tables}
        path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        page.write()


def startup() -> list[dict[str, Any]]:
    """Seconds of `synesthete --help`, best of five, over those of Python doing nothing."""
    rows: list[dict[str, Any]] = []
    for name, command in (
        ("python -c pass", ["-c", "pass"]),
        ("synesthete --help", ["-m", "synesthete.cli", "--help"]),
    ):
        seconds = best(partial(_quiet, [sys.executable, *command]), 5)
        rows.append({"command": name, "seconds": seconds})
    return [{**row, "ratio": row["seconds"] / rows[0]["seconds"]} for row in rows]


def steps() -> list[dict[str, Any]]:
    """Achieved FLOP/s of a training step over this machine's matrix product, fp32 and bf16."""
    rows = []
    for precision, dtype in (("32-true", torch.float32), ("bf16-mixed", torch.bfloat16)):
        peak = matmul(dtype)
        for preset in ("deck-vae", "archetype"):
            flop, seconds = step(preset, precision)
            rows.append({
                "preset": preset, "precision": precision, "GFLOP": flop / 1e9, "ms": 1e3 * seconds,
                "GFLOP/s": flop / seconds / 1e9, "matmul GFLOP/s": peak / 1e9,
                "share of matmul": flop / seconds / peak,
            })  # fmt: skip
    return rows


def matmul(dtype: torch.dtype, size: int = 1_024) -> float:
    """FLOP/s of a square matrix product, best of ten."""
    a, b = (torch.randn(size, size).to(dtype) for _ in range(2))
    return 2 * size**3 / best(lambda: a @ b, 10)


def sharing() -> list[dict[str, Any]]:
    """A VAE-GAN step with several images a recording, over one with a recording an image."""
    rows = []
    for precision in ("32-true", "auto"):
        naive = 0.0
        for together in (1, 8, 16, 32):
            flop, seconds = step("vae-gan", precision, recordings=128 // together)
            naive = naive or seconds
            rows.append({
                "precision": precision, "images a recording": together, "GFLOP": flop / 1e9,
                "ms a step": 1e3 * seconds, "ms an image": 1e3 * seconds / 128,
                "times faster": naive / seconds,
            })  # fmt: skip
    return rows


def whole() -> list[dict[str, Any]]:
    """The deck's VAE-GAN from nothing to its scores; resumable, in `runs/bench`."""
    folder = material.default(material.MixConfig())
    alignment, labels = material.load(folder)
    recipe = config.from_table(config.read("vae-gan"))
    held = runs.run(
        recipe, alignment, material.facts(folder), Path("runs/bench/vae-gan"),
        resume=True, command="synesthete train vae-gan --seed 0",
    )  # fmt: skip
    card = evaluate.evaluate(Model(held), evaluate.prepare(alignment, labels)).scorecard
    return [{
        "steps": held.training["steps"], "minutes": held.training["seconds"] / 60,
        "threads": held.training["threads"], "agreement": card["agreement"],
        "diversity ratio": card["diversity_ratio"],
    }]  # fmt: skip


def step(preset: str, precision: str, recordings: int = 128) -> tuple[float, float]:
    """FLOP and seconds (best of three) of one training step of 128 images."""
    recipe = config.from_table(config.read(preset), {"precision": precision, "steps": "100"})
    fabric = Fabric(accelerator="cpu", devices=1, precision=train.precision(recipe.training))  # type: ignore[arg-type]
    state = train.prepare(family.from_preset(recipe, Shapes()), recipe.training, fabric)
    audio, image = torch.rand(recordings, 1, 48, 48), torch.rand(128, 1, 28, 28)
    audio_of = torch.arange(128) % recordings
    batch = batches.Batch(audio, image, audio_of, torch.ones(128), audio)
    fitted = train.fit(state, lambda _, __: iter([batch] * 5), recipe.training, fabric, 0)
    next(fitted)
    with FlopCounterMode(display=False) as counter:
        next(fitted)
    return float(counter.get_total_flops()), best(lambda: next(fitted), 3)


def race() -> list[dict[str, Any]]:
    """Steps and seconds until the deck's agreement on the test pairs, or what was reached."""
    alignment, labels = material.load(material.default(material.MixConfig()))
    exam = evaluate.prepare(alignment, labels)
    rows: list[dict[str, Any]] = []
    for name, (preset, overrides) in RACES.items():
        recipe = config.from_table(config.read(preset), overrides)
        with tempfile.TemporaryDirectory() as place:
            step, agreement = run_until(recipe, alignment.subset("train"), exam, Path(place))
        rows.append(
            {
                "recipe": name,
                "steps": step.number,
                "seconds": step.seconds,
                "agreement then": agreement,
                "reached": "yes"
                if agreement >= TARGET
                else f"not in {recipe.training.steps:,} steps",
            }
        )
    fastest = rows[-1]["seconds"]
    return [{**row, "seconds over archetype's": row["seconds"] / fastest} for row in rows]


def run_until(
    recipe: config.Preset, side: Alignment, exam: evaluate.Exam, place: Path
) -> tuple[train.Step, float]:
    """Train until the agreement is reached or the recipe ends; the last step and agreement."""
    source = batches.samples(side, recipe.spectrogram, recipe.training.objective, recipe.scene)
    torch.manual_seed(0)
    fabric = Fabric(accelerator="cpu", devices=1, precision=train.precision(recipe.training))  # type: ignore[arg-type]
    state = train.prepare(family.from_preset(recipe, Shapes()), recipe.training, fabric)
    watch = Watch(exam, recipe, place)
    agreement, step = 0.0, None
    with bar(recipe.name, recipe.training.steps) as progress:
        stream = runs.stream(source, recipe, 0)
        for step in train.fit(state, stream, recipe.training, fabric, seed=0):
            progress.advance()
            watch(step, state.result)
            looks = train.read_log(place, WATCHED)
            agreement = looks[-1]["agreement"] if looks else 0.0
            if agreement >= TARGET:
                break
    assert step is not None
    return step, agreement


def bars() -> list[dict[str, Any]]:
    """Steps and seconds after which `make digits` first met a bar, and after which it always did.

    Read from its own record, on the machine and beside the runs that it was made on.
    """
    record = json.loads(digits.TRAINING.read_text(encoding="utf-8"))
    rows = []
    for name, asked, met in faithful.BARS:
        passed = [met(card) for card in record]
        first = passed.index(True) if any(passed) else None
        last = len(passed) - passed[::-1].index(False) if not all(passed) else 0
        rows.append({
            "bar": f"{name} {asked}", "first met": _moment(record, first),
            "met from then on": _moment(record, last),
        })  # fmt: skip
    return rows


def _moment(record: list[dict[str, Any]], row: int | None) -> str:
    if row is None or row == len(record):
        return "never"
    return f"step {record[row]['step']:,}, {record[row]['seconds']:,.0f} s"


def rates() -> list[dict[str, Any]]:
    """Images a second of batches of 512, best of five, by the number of evaluations."""
    rows = []
    audio, noises = torch.rand(32, 1, 48, 48), torch.randn(32, 16, 784)
    for evaluations in (1, 2, 4, 8):
        generator = load("digits", evaluations=evaluations).generator
        with torch.inference_mode():
            seconds = best(partial(generator.sample, audio, noises), 5)
        rows.append({
            "evaluations": evaluations, "threads": torch.get_num_threads(),
            "images_per_second": 512 / seconds,
        })  # fmt: skip
    return rows


def latencies() -> list[dict[str, Any]]:
    """Milliseconds of `Model.generate` on a wav file of half a second, of 300 calls."""
    rows, model = [], load("digits")
    with tempfile.TemporaryDirectory() as folder:
        clip = _clip(Path(folder))
        for n in (1, 16):
            seconds = []
            for _ in range(320):
                started = time.perf_counter()
                model.generate(clip, n)
                seconds.append(time.perf_counter() - started)
            p50, p99 = np.percentile(seconds[20:], (50, 99))
            rows.append({"images": n, "p50_ms": 1_000 * p50, "p99_ms": 1_000 * p99})
    return rows


def answered() -> list[dict[str, Any]]:
    """Milliseconds from a recording to the first answer, and to all of it, of 200 recordings."""
    answers = Answers(viewer.load(["digits"], lambda _: Path()))
    seconds = []
    with tempfile.TemporaryDirectory() as folder:
        clip = str(_clip(Path(folder)))
        for _ in range(220):
            started = time.perf_counter()
            seconds.append([time.perf_counter() - started for _ in answers.see(clip, 1.0)])
    rows = []
    for name, column in zip(
        ("drawings", "and what is beside them"), np.array(seconds).T, strict=True
    ):
        p50, p99 = np.percentile(column[20:], (50, 99))
        rows.append({"answer": name, "p50_ms": 1_000 * p50, "p99_ms": 1_000 * p99})
    return rows


def spoken() -> list[dict[str, Any]]:
    """Milliseconds of 40 takes, in a process of its own (`spoken.py`)."""
    done = subprocess.run(
        [sys.executable, str(HERE / "spoken.py")], check=True, capture_output=True, text=True
    )
    taken = json.loads(done.stdout)
    p50, p90 = np.percentile(taken, (50, 90))
    again = np.random.default_rng(0).choice(taken, (2_000, len(taken)))
    low, high = np.percentile(np.median(again, 1), (2.5, 97.5))
    return [{
        "takes": len(taken), "least_ms": min(taken), "p50_ms": p50,
        "p50_95%": f"{low:.0f} to {high:.0f}", "p90_ms": p90,
    }]  # fmt: skip


def cold() -> list[dict[str, Any]]:
    """Seconds, best of five, and peak memory of a whole process that draws 16 images."""
    with tempfile.TemporaryDirectory() as folder:
        clip = str(_clip(Path(folder)))
        draw = ["-m", "synesthete.cli", "generate", "digits", clip, "--out", f"{folder}/out"]
        commands = {"import torch": ["-c", "import torch"], "generate digits": draw}
        seconds = {
            name: best(partial(_quiet, [sys.executable, *words]), 5)
            for name, words in commands.items()
        }
        peak = [_peak([sys.executable, *words]) for words in commands.values()]
    alone = seconds["import torch"]
    return [
        {"process": name, "seconds": seconds[name], "over_import_torch": seconds[name] / alone,
         "peak_mib": mib}
        for name, mib in zip(commands, peak, strict=True)
    ]  # fmt: skip


def many() -> list[dict[str, Any]]:
    """Images a second, busy cores and peak memory, in a process each."""
    command = [sys.executable, str(HERE / "many.py")]
    return [
        json.loads(subprocess.run([*command, clips], check=True, capture_output=True).stdout)
        for clips in ("100", "1000")
    ]


def _clip(folder: Path) -> Path:
    """A wav file of half a second of noise that fades."""
    wave = np.random.default_rng(0).normal(0, 0.1, 4_000) * np.linspace(1, 0, 4_000)
    soundfile.write(folder / "clip.wav", wave, 8_000)
    return folder / "clip.wav"


def memory() -> list[dict[str, Any]]:
    """Peak resident memory of `synesthete demo`, MiB."""
    with tempfile.TemporaryDirectory() as place:
        _quiet([sys.executable, "-m", "synesthete.cli", "demo", "--out", f"{place}/demo"])
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1_024
    return [{"command": "synesthete demo", "MiB": peak}]


def _peak(command: list[str]) -> float:
    """Peak resident memory of a process, MiB."""
    told = subprocess.run(
        [sys.executable, "-c", PEAK, *command], check=True, capture_output=True, text=True
    )
    return int(told.stdout) / 1_024


def _quiet(command: list[str]) -> None:
    subprocess.run(command, check=True, capture_output=True)


if __name__ == "__main__":
    main()
