"""Write a model as one ONNX file, from waveform to images, that runs with nothing of ours."""

import logging
import math
import warnings
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from synesthete import __version__
from synesthete.artefact import LICENCE
from synesthete.errors import UserError
from synesthete.files import whole_file
from synesthete.generate import Model
from synesthete.progress import busy

try:
    import onnx
    import onnxruntime
    import onnxscript  # noqa: F401 (torch's exporter needs it)
    from onnx import TensorProto, helper, numpy_helper
except ImportError as error:
    raise UserError(f"export needs {error.name}: pip install 'synesthete[export]'") from error

TOLERANCE = 1e-3
"""Most that an image, in 0..1, may differ from PyTorch's."""
HALF_TOLERANCE = 0.1
"""The same where the weights are stored in half precision; usually it is some thousandths."""
LARGE = 1_000
"""Numbers from which a weight is stored in half precision: smaller ones take no room."""

MEANING = {
    "waveform": "mono sound at the rate told in the metadata, trimmed of silence; zeros after the "
    "end of the shorter clips",
    "lengths": "samples of each clip, at most T",
    "noise": "standard normal, n images of each clip; multiplied by the diversity: 0 for one image "
    "a clip, 1 for images as various as was learnt, at most 1.5",
    "images": "in 0..1",
}
"""What each tensor of the file holds."""

Feed = dict[str, NDArray[np.float32] | NDArray[np.int64]]

logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it tells of operators that nobody uses


class Drawing(nn.Module):
    """Front end, encoder and sampler as one function: what the file computes."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.log_mel = model.log_mel
        self.generator = model.generator

    def forward(self, waveform: Tensor, lengths: Tensor, noise: Tensor) -> Tensor:
        """Float32[B, T], int64[B], float32[B, n, D] -> float32[B, n, C, H, W] in 0..1."""
        spectrogram = self.log_mel(waveform, lengths).unsqueeze(1)
        return self.generator.sample(spectrogram, noise)

    def feed(self, clips: int, n: int, seconds: float) -> Feed:
        """Clips of noise, the first of them the longest, and noise to draw `n` images of each."""
        rng, longest = np.random.default_rng(0), int(seconds * self.log_mel.config.rate)
        return {
            "waveform": rng.normal(0, 0.1, (clips, longest)).astype(np.float32),
            "lengths": np.linspace(longest, longest / 2, clips).astype(np.int64),
            "noise": rng.standard_normal((clips, n, self.generator.noise_size), np.float32),
        }


def export(model: Model, path: Path, *, half: bool = False) -> float:
    """Write `model` to the ONNX file `path`; the largest difference of its images from PyTorch's.

    The tensors are those of `Drawing.forward`, by the names of `MEANING`; clips, samples and
    images may be any number. `half` stores the network's large weights in half precision: half
    the size; what is computed with them stays float32.

    Raises:
        RuntimeError: what was written draws other images than the model.
    """
    drawing = Drawing(model).eval()
    with busy("exporting"), whole_file(path) as draft:
        written = _traced(drawing)
        if half:
            _halve(written.graph)
        _describe(written, model)
        draft.write_bytes(written.SerializeToString())
        found = difference(drawing, draft)
        if not found <= (HALF_TOLERANCE if half else TOLERANCE):
            raise RuntimeError(f"{path}: its images differ from PyTorch's by {found:.3g}")
    return found


def session(path: Path, threads: int = 1) -> onnxruntime.InferenceSession:
    """The file, ready to run on `threads` threads of the CPU."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


@torch.inference_mode()
def difference(drawing: Drawing, path: Path) -> float:
    """The most that any pixel in 0..1 differs, on other numbers of clips, images and samples."""
    file, most = session(path), 0.0
    for feed in (drawing.feed(1, 1, 0.4), drawing.feed(3, 2, 0.9)):
        wanted = drawing(**{name: torch.from_numpy(array) for name, array in feed.items()})
        (found,) = file.run(["images"], feed)
        most = float(np.maximum(most, np.abs(found - wanted.numpy()).max()))
    return most


def _traced(drawing: Drawing) -> onnx.ModelProto:
    """The graph of any number of clips, samples and images, without notes on where it was made."""
    clips, samples, n = (torch.export.Dim(name) for name in ("B", "T", "n"))
    example = {name: torch.from_numpy(array) for name, array in drawing.feed(2, 3, 0.5).items()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about torch's own future
        program = torch.onnx.export(
            drawing, kwargs=example, dynamo=True, external_data=False, verbose=False,
            input_names=list(example), output_names=["images"],
            dynamic_shapes={
                "waveform": {0: clips, 1: samples}, "lengths": {0: clips},
                "noise": {0: clips, 1: n},
            },
        )  # fmt: skip
    assert program is not None
    written = program.model_proto
    del written.graph.value_info[:], written.graph.metadata_props[:]
    for part in (*written.graph.node, *written.graph.initializer):
        del part.metadata_props[:]
    return written


def _halve(graph: onnx.GraphProto) -> None:
    """Store large weights in half precision, each widened before its use.

    The front end keeps its own: half precision's noise would lie only some 60 dB below a peak.
    """
    for weight in list(graph.initializer):
        large = weight.data_type == TensorProto.FLOAT and math.prod(weight.dims) >= LARGE
        if large and not weight.name.startswith("log_mel."):
            narrow = numpy_helper.to_array(weight).astype(np.float16)
            stored = numpy_helper.from_array(narrow, f"{weight.name}.half")
            widen = helper.make_node("Cast", [stored.name], [weight.name], to=TensorProto.FLOAT)
            graph.node.insert(0, widen)
            graph.initializer.remove(weight)
            graph.initializer.append(stored)


def _describe(written: onnx.ModelProto, model: Model) -> None:
    """Have the file say what it is, what goes in and what comes out."""
    written.producer_name, written.producer_version = "synesthete", __version__
    written.doc_string = "Images from sound: a waveform in, images out."
    for tensor in (*written.graph.input, *written.graph.output):
        tensor.doc_string = MEANING[tensor.name]
    helper.set_model_props(written, _metadata(model))


def _metadata(model: Model) -> dict[str, str]:
    held = model.artefact
    evaluations = model.generator.evaluations
    return {
        "name": held.preset.name,
        "family": held.preset.family,
        "sample_rate": str(held.preset.spectrogram.rate),
        "licence": LICENCE,
        **({} if evaluations is None else {"evaluations": str(evaluations)}),
    }
