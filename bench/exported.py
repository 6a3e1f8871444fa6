"""The bundled model as an ONNX file: how fast it runs, and what each variant costs in agreement."""

import itertools
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from clock import best
from numpy.typing import NDArray
from onnxruntime.quantization import quantize_dynamic

from synesthete import evaluate, material
from synesthete.data.audio import trim_silence
from synesthete.data.spectrogram import pad
from synesthete.export import Drawing, export, session
from synesthete.family import noise
from synesthete.generate import Model, load, to_uint8
from synesthete.judges import load_judge, read

ROUNDS = 30
SAMPLES = 4
"""Images a recording, for agreement."""

Images = NDArray[np.float32]


@contextmanager
def variants(model: Model) -> Iterator[dict[str, Path]]:
    """The files that `synesthete export` writes, and one that it does not: 8-bit arithmetic.

    The front end is left as it is; the convolutions and products of the network are quantised by
    onnxruntime, weights beforehand and activations as they come.
    """
    with tempfile.TemporaryDirectory() as folder:
        files = {name: Path(folder) / f"{name}.onnx" for name in ("float32", "half", "int8")}
        export(model, files["float32"])
        export(model, files["half"], half=True)
        quantize_dynamic(files["float32"], files["int8"], op_types_to_quantize=["Conv", "Gemm"])
        yield files


def speeds() -> list[dict[str, Any]]:
    """Milliseconds from a waveform of half a second to its images, the best of `ROUNDS`.

    One way after the other: the waiting threads of one would take the others' cores.
    """
    model, rows = load("digits"), []
    drawing, own = Drawing(model).eval(), torch.get_num_threads()
    with variants(model) as files:
        for threads, n in itertools.product((1, 2), (1, 16)):
            torch.set_num_threads(threads)
            feed = drawing.feed(1, n, 0.5)
            times = {
                "eager": best(
                    partial(_eager, drawing, *map(torch.from_numpy, feed.values())), ROUNDS
                )
            }
            for name, file in files.items():
                times[name] = best(partial(session(file, threads).run, None, feed), ROUNDS)
            rows.append({
                "images": n, "threads": threads,
                **{f"{name} ms": 1_000 * seconds for name, seconds in times.items()},
                "times faster": times["eager"] / times["float32"],
            })  # fmt: skip
    torch.set_num_threads(own)
    return rows


def costs() -> list[dict[str, Any]]:
    """Agreement on the 200 test recordings, beside PyTorch's own images of the same noise."""
    model = load("digits")
    alignment, labels = material.load(material.default(material.MixConfig()))
    exam = evaluate.prepare(alignment, labels)
    noises = noise(0, 0, len(exam.heard), SAMPLES, model.generator.noise_size)
    drawing = Drawing(model).eval()
    rows, wanted = [], _drawn(partial(_eager, drawing), exam, noises)
    with variants(model) as files:
        rows.append(_cost("PyTorch", 0, wanted, wanted, exam))
        for name, file in files.items():
            images = _drawn(partial(_onnx, file), exam, noises)
            rows.append(_cost(name, file.stat().st_size, images, wanted, exam))
    return rows


def _cost(
    name: str, size: int, images: Images, wanted: Images, exam: evaluate.Exam
) -> dict[str, Any]:
    digits, others = _read(images), _read(wanted)
    off = np.abs(images - wanted)
    return {
        "variant": name, "MB": size / 1e6 if size else "",
        "agreement": float((digits == exam.heard[:, None]).mean()),
        "read otherwise": f"{(digits != others).sum()} of {digits.size}",
        "largest difference": float(off.max()), "mean difference": float(off.mean()),
    }  # fmt: skip


def _read(images: Images) -> NDArray[np.int64]:
    """The digits int64[R, SAMPLES] that the judge reads in float32[R, SAMPLES, 1, 28, 28]."""
    flat = to_uint8(torch.from_numpy(images)).reshape(-1, 28, 28)
    digits: NDArray[np.int64] = read(load_judge("lenet5"), flat)[1].argmax(1)
    return digits.reshape(images.shape[:2])


def _drawn(
    draw: Callable[[torch.Tensor, torch.Tensor, torch.Tensor], Images],
    exam: evaluate.Exam,
    noises: torch.Tensor,
) -> Images:
    waves, size = [trim_silence(wave) for wave in exam.alignment.waveforms], 50
    parts = [
        draw(*pad(waves[first : first + size]), noises[first : first + size])
        for first in range(0, len(waves), size)
    ]
    return np.concatenate(parts)


@torch.inference_mode()
def _eager(
    drawing: Drawing, waveform: torch.Tensor, lengths: torch.Tensor, noises: torch.Tensor
) -> Images:
    images: Images = drawing(waveform, lengths, noises).numpy()
    return images


def _onnx(
    file: Path, waveform: torch.Tensor, lengths: torch.Tensor, noises: torch.Tensor
) -> Images:
    feed = {"waveform": waveform.numpy(), "lengths": lengths.numpy(), "noise": noises.numpy()}
    images: Images = session(file).run(["images"], feed)[0]
    return images
