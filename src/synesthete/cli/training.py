"""Commands that train: the demo, one recipe, the talk's whole set."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from synesthete import torchrun
from synesthete.cli import completion, options, show
from synesthete.cli.options import Arguments, Commands
from synesthete.errors import SharedError, UserError


def demo(a: Arguments) -> None:
    """Data -> train -> score -> pictures -> report."""
    from synesthete import config
    from synesthete.demo import demo as run

    preset = config.from_table(config.read(a.preset))
    if a.pairs:
        from synesthete.demo_pairs import demo as on_pairs

        path = on_pairs(preset, a.pairs, a.out, a.seed, options.typed(a))
    else:
        path = run(preset, options.mix(a), a.out, a.seed, options.typed(a))
    show.scorecard(json.loads((a.out / "scorecard.json").read_text(encoding="utf-8")))
    print(path)


def train(a: Arguments) -> None:
    """Train a preset; any of its keys can be overridden."""
    from synesthete import config, material

    table = config.read(a.preset)
    out = a.out or Path("runs") / table["name"]
    if "judge" in table:
        if torchrun.launched():
            raise SharedError("a judge trains in one process; start it without torchrun")
        _train_judge(a, table, out)
        return
    from synesthete import runs

    preset = config.from_table(table, a.overrides)
    pairs, facts = material.to_learn(a.pairs or material.default(options.mix(a)))
    runs.run(
        preset,
        pairs,
        facts,
        out,
        seed=a.seed,
        resume=a.resume,
        command=options.typed(a),
    )
    if not torchrun.rank():
        print(out)


def _train_judge(a: Arguments, table: dict[str, Any], out: Path) -> None:
    """Train one of the judges, the only models that see labels."""
    from synesthete import judges
    from synesthete.data import mnist

    if out.exists() and not a.resume:
        raise UserError(f"{out}: there already; add --resume, or choose another --out")
    accuracy, digest = judges.train(table, a.overrides, mnist.load(a.data), out, a.seed)
    print(f"{out / table['name']}.safetensors: {accuracy:.2%} of the MNIST test images")
    print(f"SHA-256 {digest}")


def reproduce(a: Arguments) -> None:
    """Every number and figure of the deck, beside ours."""
    from synesthete.reproduce import reproduce as run

    out = a.out or Path("runs/reproduce-quick" if a.quick else "runs/reproduce")
    print(run(out, quick=a.quick, only=a.only, data=a.data))


def overrides(rest: Sequence[str]) -> dict[str, str]:
    """`--key value` and `--key=value` pairs."""
    found, words = {}, list(rest)
    while words:
        word = words.pop(0)
        key, equals, value = word.removeprefix("--").partition("=")
        if not word.startswith("--") or not (equals or words):
            raise UserError(f"{word}: wanted --key value; see synesthete train --help")
        found[key] = value if equals else words.pop(0)
    return found


def add(commands: Commands) -> None:
    """The commands `demo`, `train` and `reproduce`."""
    _add_demo(commands)
    _add_train(commands)
    _add_reproduce(commands)


def _add_demo(commands: Commands) -> None:
    p = options.command(commands, "demo", demo, """
  synesthete demo                                   # runs/demo/report.html
  synesthete demo --synthetic --out runs/robots     # without FSDD
  synesthete demo --preset deck-vae-grouped --split official
""")  # fmt: skip
    preset = p.add_argument("--preset", default="archetype", help="default: archetype")
    completion.by(completion.presets, preset)
    p.add_argument("--out", type=Path, default=Path("runs/demo"), help="default: runs/demo")
    p.add_argument("--pairs", type=Path, help="an alignment of your own (default: the mix)")
    p.add_argument("--split", help=options.SPLITS)
    options.seed(p)
    options.crowd(p)
    options.data(p)


def _add_train(commands: Commands) -> None:
    p = options.command(commands, "train", train, """
  synesthete train archetype                        # on the MNIST/FSDD mix
  synesthete train archetype --resume               # go on after Ctrl-C
  synesthete train vae-gan --pairs pairs --steps 300 --training.learning-rate 1e-4
""")  # fmt: skip
    p.usage = "synesthete train PRESET [options] [--key value ...]"
    preset = p.add_argument("preset", help="a name (see synesthete/presets) or a TOML file")
    completion.by(completion.presets, preset)
    p.add_argument("--pairs", metavar="PLACE",
                   help="an alignment, or pair shards in a folder or at a URL, which are streamed "
                   "(default: the MNIST/FSDD mix)")  # fmt: skip
    p.add_argument("--split", help=f"of the default mix: {options.SPLITS}")
    p.add_argument("--validation", help="hold out train recordings too: random or speaker:NAME")
    p.add_argument("--out", type=Path, help="the run folder (default: runs/PRESET)")
    p.add_argument("--resume", action="store_true", help="go on where the run in --out stopped")
    p.set_defaults(overrides={})
    options.seed(p)
    options.crowd(p)
    options.data(p)


def _add_reproduce(commands: Commands) -> None:
    p = options.command(commands, "reproduce", reproduce, """
  synesthete reproduce --quick                      # a first look
  synesthete reproduce --only vae-gan,ave
""")  # fmt: skip
    p.add_argument("--quick", action="store_true", help="a few steps of each, under 20 minutes")
    p.add_argument("--only", default="", metavar="NAMES",
                   help="these systems, or all that begin so; commas between")  # fmt: skip
    p.add_argument("--out", type=Path, help="default: runs/reproduce, or runs/reproduce-quick")
    p.add_argument("--data", type=Path, help="a directory with FSDD or MNIST")
