"""Commands that use a trained model on recordings."""

from pathlib import Path

from synesthete.cli import completion, options
from synesthete.cli.options import Arguments, Commands


def generate(a: Arguments) -> int:
    """Images from audio files; goes on past bad ones."""
    from synesthete.deliver import deliver
    from synesthete.generate import load
    from synesthete.inputs import find_audio

    return deliver(
        load(a.model, evaluations=a.evaluations), find_audio(a.files), a.n,
        seed=a.seed, diversity=a.diversity, out=a.out, npz=a.npz, listing=a.json,
        engine=options.engine_of(a),
    )  # fmt: skip


def retrieve(a: Arguments) -> int:
    """Nearest images (or recordings) for audio files; goes on past bad ones."""
    from synesthete import matching, material
    from synesthete.inputs import find_audio
    from synesthete.retrieve import gallery
    from synesthete.retrieve import retrieve as deliver

    model, files = matching.load(a.model), find_audio(a.files)
    folder = a.pairs or material.default(options.mix_of(a, model.artefact.data))
    shown = gallery(model, folder, a.what)
    return deliver(model, files, shown, a.k, out=a.out, listing=a.json)


def add(commands: Commands) -> None:
    """The commands `generate` and `retrieve`."""
    _add_generate(commands)
    _add_retrieve(commands)


def _add_generate(commands: Commands) -> None:
    p = options.command(commands, "generate", generate, """
  synesthete generate digits seven.wav -n 16        # images/seven.png
  synesthete generate digits recordings/ 'more/*.flac' --npz all.npz --diversity 0.8
  arecord -d 2 -f S16_LE | synesthete generate digits - --json -
""")  # fmt: skip
    model = p.add_argument("model", metavar="MODEL",
                           help="a run folder, a bundled name, or user/model (Hub)")  # fmt: skip
    completion.by(completion.models, model)
    _files(p)
    p.add_argument("-n", type=int, default=16, help="images a file (default: 16)")
    options.drawing(p)
    p.add_argument("--out", type=Path, help="a folder for one PNG a file (default: images)")
    p.add_argument("--npz", type=Path, help="all images in one NumPy file instead")
    p.add_argument("--json", metavar="FILE", help="what was written where; - for standard output")
    options.engine(p)
    options.seed(p)


def _add_retrieve(commands: Commands) -> None:
    p = options.command(commands, "retrieve", retrieve, """
  synesthete retrieve runs/ave seven.wav -k 10      # neighbours/seven.png
  synesthete retrieve runs/ave recordings/ --what audio --json found.json
""")  # fmt: skip
    model = p.add_argument("model", metavar="MODEL", help="the folder of a matcher, as avc and ave")
    completion.by(completion.models, model)
    _files(p)
    p.add_argument("-k", type=int, default=10, help="neighbours a file (default: 10)")
    p.add_argument("--what", default="images", choices=("images", "audio"), help="default: images")
    p.add_argument("--pairs", type=Path, help="an alignment to search (default: the mix)")
    p.add_argument("--out", type=Path, help="a folder for one PNG a file (default: neighbours)")
    p.add_argument("--json", metavar="FILE", help="ids and scores; - for standard output")
    options.data(p)


def _files(parser: options.Parser) -> None:
    parser.add_argument(
        "files",
        nargs="+",
        metavar="FILE",
        help="audio files, globs, folders (all below them); - for standard input",
    )
