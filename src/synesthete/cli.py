"""The `synesthete` command; heavy imports wait inside its functions, so that --help is instant."""

import argparse
import errno
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from synesthete import __version__
from synesthete.errors import UserError

OUTSIDE = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.EFBIG)
"""What the machine refuses and no code here can mend: no room, no permission."""

SPLITS = (
    "random (the deck's 90/10), official (FSDD's indices 0-4), speaker:NAME, or crowd (all of FSDD "
    "is test; see --crowd)"
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; 0 done, 2 wrong usage or input, 128 + signal where it was stopped."""
    parser = _parser()
    arguments, rest = parser.parse_known_args(argv)
    try:
        if rest and arguments.command != "train":
            raise UserError(f"{' '.join(rest)}: not understood; see synesthete --help")
        if arguments.command == "train":
            arguments.overrides = _overrides(rest)
        arguments.argv = list(sys.argv[1:] if argv is None else argv)
        return int(arguments.run(arguments) or 0)
    except UserError as error:
        print(f"synesthete: {error}", file=sys.stderr)
        stopped = getattr(error, "signal", None)
        return 2 if stopped is None else 128 + int(stopped)
    except BrokenPipeError:
        return 0
    except OSError as error:
        if error.errno not in OUTSIDE:
            raise
        print(f"synesthete: {error.filename or 'writing'}: {error.strerror}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("synesthete: stopped", file=sys.stderr)
        return 130


def demo(a: argparse.Namespace) -> None:
    """Data -> train -> score -> pictures -> report."""
    from synesthete import config
    from synesthete.demo import demo as run

    preset = config.from_table(config.read(a.preset))
    path = run(preset, _mix(a), a.out, a.seed, _command(a))
    card = json.loads((a.out / "scorecard.json").read_text(encoding="utf-8"))
    _print_scorecard(card)
    print(path)


def fetch(a: argparse.Namespace) -> None:
    """Bring data into the cache, verified."""
    from synesthete.data import fsdd, mnist, speech

    homes = {
        "fsdd": lambda: fsdd.load(a.data, other_speakers=a.other_speakers).origin,
        "mnist": lambda: mnist.load(a.data).origin,
        "speech": lambda: speech.synthesise().origin,
    }
    for name in a.what:
        if name not in homes:
            raise UserError(f"nothing called '{name}' to fetch; there are: {', '.join(homes)}")
        origin = homes[name]()
        print(f"{origin.name}: {origin.place}, {origin.detail}")
        for note in origin.notes:
            print(f"  {note}")


def pairs_mix(a: argparse.Namespace) -> None:
    """Build the mix of spoken and written digits."""
    from synesthete import material

    material.build(_mix(a), a.out)
    print(a.out)


def pairs_inspect(a: argparse.Namespace) -> None:
    """Look at an alignment: counts, graph, provenance, leakage."""
    from synesthete.data import storage

    alignment = storage.load(a.dir)
    alignment.check_leakage()
    told = {
        **alignment.summary(),
        "provenance": dict(alignment.provenance),
        "digest": alignment.digest(),
    }
    if a.json:
        _write_json(told, a.json)
    else:
        _print_alignment(told)


def train(a: argparse.Namespace) -> None:
    """Train a preset; any of its keys can be overridden."""
    from synesthete import config, material

    table = config.read(a.preset)
    out = a.out or Path("runs") / table["name"]
    if "judge" in table:
        _train_judge(a, table, out)
        return
    from synesthete import runs

    preset = config.from_table(table, a.overrides)
    folder = a.pairs or material.default(_mix(a))
    from synesthete.data import storage

    runs.run(
        preset,
        storage.load(folder, ("train",)),
        material.facts(folder),
        out,
        seed=a.seed,
        resume=a.resume,
        command=_command(a),
    )
    print(out)


def _train_judge(a: argparse.Namespace, table: dict[str, Any], out: Path) -> None:
    """Train one of the judges, the only models that see labels."""
    from synesthete import judges
    from synesthete.data import mnist

    if out.exists() and not a.resume:
        raise UserError(f"{out}: there already; add --resume, or choose another --out")
    accuracy, digest = judges.train(table, a.overrides, mnist.load(a.data), out, a.seed)
    print(f"{out / table['name']}.safetensors: {accuracy:.2%} of the MNIST test images")
    print(f"SHA-256 {digest}")


def evaluate(a: argparse.Namespace) -> None:
    """The scorecard of a model, or of several seeds of one recipe together."""
    from synesthete import artefact, material
    from synesthete import evaluate as scoring
    from synesthete.generate import check

    held = [artefact.read(name) for name in a.model]
    folder = a.pairs or material.default(_mix_of(a, held[0].data))
    material.check_same(folder, held[0].data, asked=bool(a.pairs or a.split))
    exam = scoring.prepare(*material.load(folder), split=a.side)
    check(1, a.diversity)
    if a.degraded or a.dial:
        _table(held, exam, a)
        return
    card = _card(held, exam, a)
    own = a.evaluations is None and a.diversity == 1
    if len(held) == 1 and a.side == "test" and own and not artefact.is_bundled(held[0]):
        artefact.write_scorecard(held[0], Path(held[0].name), card)
    if a.json:
        _write_json(card, a.json)
    if a.json != "-":
        _print_scorecard(card)


def _table(held: Sequence[Any], exam: Any, a: argparse.Namespace) -> None:
    """A row for each way to degrade the clips, or for each setting of the dial."""
    from rich.console import Console
    from rich.table import Table

    if len(held) > 1:
        raise UserError("--degraded and --dial take one model")
    from synesthete import dial, robustness
    from synesthete.generate import Model

    asked, columns = (
        (robustness.robustness, ("condition", "agreement", "ci95", "refused"))
        if a.degraded
        else (dial.dial, dial.COLUMNS)
    )
    rows = asked(Model(held[0], evaluations=a.evaluations), exam, seed=a.seed)
    if a.json:
        _write_json(rows, a.json)
    if a.json == "-":
        return
    table = Table(*(name.replace("_", " ") for name in columns), title=held[0].preset.name)
    for row in rows:
        table.add_row(*(text for name in columns for _, text in _rows("", row[name])))
    Console().print(table)


def _card(held: Sequence[Any], exam: Any, a: argparse.Namespace) -> dict[str, Any]:
    """The scorecard of a model, or of several seeds of one recipe, by its kind."""
    from synesthete.family import ImageModel, Matcher

    if isinstance(held[0].model, Matcher):
        from synesthete import evaluate_matches, matching

        return evaluate_matches.evaluate([matching.Model(h) for h in held], exam, a.seed)
    if isinstance(held[0].model, ImageModel):
        from synesthete import evaluate_images

        return evaluate_images.pool([evaluate_images.evaluate(h, exam, a.seed) for h in held])
    from synesthete import evaluate as scoring
    from synesthete.generate import Model

    models = [Model(h, evaluations=a.evaluations) for h in held]
    answers = [scoring.evaluate(m, exam, a.seed, a.diversity) for m in models]
    return scoring.pool(exam, answers, a.seed)


def generate(a: argparse.Namespace) -> int:
    """Images from audio files; goes on past bad ones."""
    from synesthete.deliver import deliver
    from synesthete.generate import find_audio, load

    return deliver(
        load(a.model, evaluations=a.evaluations), find_audio(a.files), a.n,
        seed=a.seed, diversity=a.diversity, out=a.out, npz=a.npz, listing=a.json,
    )  # fmt: skip


def retrieve(a: argparse.Namespace) -> int:
    """Nearest images (or recordings) for audio files; goes on past bad ones."""
    from synesthete import matching, material
    from synesthete.generate import find_audio
    from synesthete.retrieve import gallery
    from synesthete.retrieve import retrieve as deliver

    model, files = matching.load(a.model), find_audio(a.files)
    folder = a.pairs or material.default(_mix_of(a, model.artefact.data))
    shown = gallery(model, folder, a.what)
    return deliver(model, files, shown, a.k, out=a.out, listing=a.json)


def app(a: argparse.Namespace) -> None:
    """A page to speak to: see, compare and morph what models draw."""
    from synesthete import app as page
    from synesthete import material, viewer

    shown = viewer.load(a.model, lambda held: a.pairs or material.default(_mix_of(a, held.data)))
    page.serve(shown, host=a.host, port=a.port, browser=not a.no_browser)


def reproduce(a: argparse.Namespace) -> None:
    """Every number and figure of the deck, beside ours."""
    from synesthete.reproduce import reproduce as run

    out = a.out or Path("runs/reproduce-quick" if a.quick else "runs/reproduce")
    print(run(out, quick=a.quick, only=a.only, data=a.data))


def _mix_of(a: argparse.Namespace, data: Mapping[str, Any]) -> Any:
    """The default mix that is most like what a model was trained on."""
    synthetic, split = bool(data.get("audio_synthetic")), data.get("split") or "random"
    crowd = int(data.get("crowd_speakers", 0)) if split == "crowd" else 0
    return _mix(a, split, synthetic, crowd)


def _mix(
    a: argparse.Namespace, split: str = "random", synthetic: bool = False, crowd: int = 0
) -> Any:
    from synesthete.material import MixConfig

    given = getattr(a, "split", None)
    return MixConfig(
        split=given or split,
        validation=getattr(a, "validation", None),
        seed=getattr(a, "pair_seed", 0),
        data=a.data,
        other_speakers=a.other_speakers,
        synthetic=a.synthetic or synthetic,
        crowd=getattr(a, "crowd", 0) or crowd,
        shuffled=getattr(a, "shuffled", False),
    )


def _overrides(rest: Sequence[str]) -> dict[str, str]:
    """`--key value` and `--key=value` pairs."""
    found, words = {}, list(rest)
    while words:
        word = words.pop(0)
        key, equals, value = word.removeprefix("--").partition("=")
        if not word.startswith("--") or not (equals or words):
            raise UserError(f"{word}: wanted --key value; see synesthete train --help")
        found[key] = value if equals else words.pop(0)
    return found


def _command(a: argparse.Namespace) -> str:
    import shlex

    return shlex.join(["synesthete", *a.argv])


def _write_json(value: Any, target: str) -> None:
    from synesthete.files import whole_file

    text = json.dumps(value, indent=2, ensure_ascii=False) + "\n"
    if target == "-":
        sys.stdout.write(text)
        return
    with whole_file(Path(target)) as draft:
        draft.write_text(text, encoding="utf-8")


def _print_scorecard(card: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{card['model']} on {card['audio_source']}, split {card['split']}")
    table.add_column("")
    table.add_column("value", justify="right")
    for name, value in card.items():
        if name not in ("model", "audio_source", "split"):
            for row in _rows(name, value):
                table.add_row(*row)
    Console().print(table)


def _rows(name: str, value: Any) -> Iterator[tuple[str, str]]:
    """An entry of a scorecard in words; the shares of several classes go on one line."""
    tables = isinstance(value, dict) and all(isinstance(v, dict) for v in value.values())
    if tables and all("value" in entry for entry in value.values()):
        yield name, "  ".join(f"{key} {entry['value']:.1%}" for key, entry in value.items())
    elif isinstance(value, dict):
        for key, entry in value.items():
            yield from _rows(f"{name} {key}", entry)
    elif isinstance(value, list):
        yield name, ", ".join(f"{v:.4g}" for v in value)
    else:
        yield name, f"{value:.4g}" if isinstance(value, float) else str(value)


def _print_alignment(told: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    console.print(f"{told['rate']} Hz audio, images {told['image_shape']}, digest {told['digest']}")
    table = Table("split", "recordings", "images", "edges", "groups", "seconds", "images each")
    for name, s in told["splits"].items():
        spread = [
            f"{v['min']:g} to {v['max']:g}, mean {v['mean']:g}" if v else "-"
            for v in (s["seconds"], s["images_per_recording"])
        ]
        counts = (f"{s[k]:,}" for k in ("recordings", "images", "edges", "groups"))
        table.add_row(name, *counts, *spread)
    console.print(table)
    console.print("no recording, image or held-out group is on two sides of the split")
    console.print_json(data=told["provenance"])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="synesthete",
        description=(
            "Models that learn to see what they hear: images from audio, no labels. "
            "Begin with `synesthete demo`."
        ),
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    p = _command_parser(commands, "demo", demo)
    p.add_argument("--preset", default="archetype", help="what to train (default: archetype)")
    p.add_argument("--out", type=Path, default=Path("runs/demo"), help="default: runs/demo")
    p.add_argument("--split", help=SPLITS)
    _seed(p)
    _crowd(p)
    _data(p)

    p = _command_parser(commands, "fetch", fetch)
    p.add_argument("what", nargs="*", default=["fsdd", "mnist"],
                   help="fsdd, mnist, speech (default: fsdd and mnist)")  # fmt: skip
    _data(p)

    pairs = commands.add_parser("pairs", help="build and look at alignments").add_subparsers(
        dest="what", required=True, metavar="WHAT"
    )
    p = _command_parser(pairs, "mix", pairs_mix)
    p.add_argument("--out", type=Path, required=True, help="the folder to write")
    p.add_argument("--split", help=SPLITS)
    p.add_argument("--validation", help="hold out train recordings too: random or speaker:NAME")
    p.add_argument("--pair-seed", type=int, default=0, help="of the pairs (default: 0)")
    p.add_argument("--shuffled", action="store_true",
                   help="the control: each split's pairs swap their images")  # fmt: skip
    _crowd(p)
    _data(p)
    p = _command_parser(pairs, "inspect", pairs_inspect)
    p.add_argument("dir", type=Path, help="a folder that `synesthete pairs` wrote")
    p.add_argument("--json", metavar="FILE", help="write it as JSON; - for standard output")

    p = _command_parser(commands, "train", train)
    p.usage = "synesthete train PRESET [options] [--key value ...]"
    p.epilog = "Any key of the preset: --steps 100, --training.learning-rate 1e-4, --beta 0.5"
    p.add_argument("preset", help="a name (see synesthete/presets) or a TOML file")
    p.add_argument("--pairs", type=Path, help="an alignment (default: the MNIST/FSDD mix)")
    p.add_argument("--split", help=f"of the default mix: {SPLITS}")
    p.add_argument("--validation", help="hold out train recordings too: random or speaker:NAME")
    p.add_argument("--out", type=Path, help="the run folder (default: runs/PRESET)")
    p.add_argument("--resume", action="store_true", help="go on where the run in --out stopped")
    _seed(p)
    _crowd(p)
    _data(p)

    p = _command_parser(commands, "evaluate", evaluate)
    p.add_argument("model", nargs="+", help="a run or artefact folder; several are seeds of one")
    p.add_argument("--pairs", type=Path, help="an alignment (default: the one trained on)")
    p.add_argument("--split", help=f"of the default mix: {SPLITS}")
    p.add_argument("--validation", help="as it was built for tuning")
    p.add_argument("--degraded", action="store_true",
                   help="on noisy, coded, reverberant … clips: a row each")  # fmt: skip
    p.add_argument("--dial", action="store_true",
                   help="at every diversity, and at 1 to 8 evaluations: a row each")  # fmt: skip
    _drawing(p)
    p.add_argument("--side", default="test", choices=("test", "validation"), help="default: test")
    p.add_argument("--json", metavar="FILE", help="write the scorecard; - for standard output")
    _seed(p)
    _crowd(p)
    _data(p)

    p = _command_parser(commands, "generate", generate)
    p.add_argument("model", help="a run or artefact folder, or a bundled name")
    p.add_argument("files", nargs="+", help="audio files, globs, folders (searched recursively)")
    p.add_argument("-n", type=int, default=16, help="images a file (default: 16)")
    _drawing(p)
    p.add_argument("--out", type=Path, help="a folder for one PNG a file (default: images)")
    p.add_argument("--npz", type=Path, help="all images in one NumPy file instead")
    p.add_argument("--json", metavar="FILE", help="what was written where; - for standard output")
    _seed(p)

    p = _command_parser(commands, "retrieve", retrieve)
    p.add_argument("model", help="the run or artefact folder of a matcher, such as of avc or ave")
    p.add_argument("files", nargs="+", help="audio files, globs, folders (searched recursively)")
    p.add_argument("-k", type=int, default=10, help="neighbours a file (default: 10)")
    p.add_argument("--what", default="images", choices=("images", "audio"), help="default: images")
    p.add_argument("--pairs", type=Path, help="an alignment to search (default: the mix)")
    p.add_argument("--out", type=Path, help="a folder for one PNG a file (default: neighbours)")
    p.add_argument("--json", metavar="FILE", help="ids and scores; - for standard output")
    _data(p)

    p = _command_parser(commands, "app", app)
    p.add_argument("model", nargs="*", default=["digits"],
                   help="runs, artefacts, bundled names: the first draws, all are compared; one "
                   "that matches (such as of ave) finds real images (default: digits)")  # fmt: skip
    p.add_argument("--host", default="127.0.0.1",
                   help="default: 127.0.0.1, this machine; 0.0.0.0 lets others in")  # fmt: skip
    p.add_argument("--port", type=int, help="default: the first free one from 7860 on")
    p.add_argument("--no-browser", action="store_true", help="do not open the page")
    p.add_argument("--pairs", type=Path, help="what the matching model searches (default: the mix)")
    _data(p)

    p = _command_parser(commands, "reproduce", reproduce)
    p.add_argument("--quick", action="store_true", help="a few steps of each, under 20 minutes")
    p.add_argument("--only", default="", metavar="NAMES",
                   help="these systems, or all that begin so; commas between")  # fmt: skip
    p.add_argument("--out", type=Path, help="default: runs/reproduce, or runs/reproduce-quick")
    p.add_argument("--data", type=Path, help="a directory with FSDD or MNIST")
    return parser


def _command_parser(commands: Any, name: str, run: Any) -> argparse.ArgumentParser:
    """A subcommand that is documented by its function's docstring."""
    parser: argparse.ArgumentParser = commands.add_parser(
        name, help=run.__doc__.rstrip("."), description=run.__doc__, allow_abbrev=False
    )
    parser.set_defaults(run=run)
    return parser


def _drawing(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--diversity", type=float, default=1.0, metavar="X",
                        help="0: the archetype; 1 (default): as was learnt; up to 1.5")  # fmt: skip
    parser.add_argument("--evaluations", type=int, metavar="N",
                        help="of the network, an image (of flow; default: 4)")  # fmt: skip


def _seed(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seed", type=int, default=0, help="default: 0")


def _crowd(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--crowd", type=int, default=0, metavar="N",
                        help="N synthetic speakers besides, for training alone")  # fmt: skip


def _data(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, help="a directory with FSDD or MNIST")
    parser.add_argument("--other-speakers", action="store_true",
                        help="use further, unverified speakers found there too")  # fmt: skip
    parser.add_argument("--synthetic", action="store_true",
                        help="synthetic speakers instead of FSDD")  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
