"""Commands that carry a trained model to where others use it."""

from pathlib import Path
from typing import Any

from synesthete.cli import completion, options
from synesthete.cli.options import Arguments, Commands


def export(a: Arguments) -> None:
    """One ONNX file, from waveform to images, for onnxruntime and browsers."""
    from synesthete.export import export as write
    from synesthete.generate import load
    from synesthete.progress import console

    found = write(load(a.model, evaluations=a.evaluations), a.onnx, half=a.half)
    console.print(f"pixels in 0..1 differ from PyTorch's by {found:.1g} at most")
    print(a.onnx)


def app(a: Arguments) -> None:
    """A page to speak to: see, compare and morph what models draw."""
    from synesthete import app as page
    from synesthete import material, viewer

    def pairs(held: Any) -> Path:
        folder: Path = a.pairs or material.default(options.mix_of(a, held.data))
        return folder

    page.serve(viewer.load(a.model, pairs), host=a.host, port=a.port, browser=not a.no_browser)


def add(commands: Commands) -> None:
    """The commands `export` and `app`."""
    _add_export(commands)
    _add_app(commands)


def _add_app(commands: Commands) -> None:
    p = options.command(commands, "app", app, """
  synesthete app
  synesthete app digits runs/archetype runs/vae-gan # compared on one sound
  synesthete app digits runs/ave --port 8000        # with the nearest real images
""")  # fmt: skip
    model = p.add_argument(
        "model", nargs="*", default=["digits"], metavar="MODEL",
        help="runs, artefacts, bundled names: the first draws, all are compared; one that matches "
        "(as ave) finds real images (default: digits)",
    )  # fmt: skip
    completion.by(completion.models, model)
    p.add_argument("--host", default="127.0.0.1",
                   help="default: 127.0.0.1, this machine; 0.0.0.0 lets others in")  # fmt: skip
    p.add_argument("--port", type=int, help="default: the first free one from 7860 on")
    p.add_argument("--no-browser", action="store_true", help="do not open the page")
    p.add_argument("--pairs", type=Path, help="what the matching model searches (default: the mix)")
    options.data(p)


def _add_export(commands: Commands) -> None:
    p = options.command(commands, "export", export, """
  synesthete export digits --onnx digits.onnx
  synesthete export digits --onnx digits.onnx --half --evaluations 2
""")  # fmt: skip
    model = p.add_argument("model", metavar="MODEL",
                           help="a run or artefact folder, or a bundled name")  # fmt: skip
    completion.by(completion.models, model)
    p.add_argument("--onnx", type=Path, required=True, metavar="FILE", help="the file to write")
    p.add_argument("--half", action="store_true",
                   help="store weights in half precision: half the size")  # fmt: skip
    options.evaluations(p)
