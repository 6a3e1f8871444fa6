"""What the commands share: a parser that teaches by example, and options of several of them."""

import argparse
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

from synesthete.errors import UserError, did_you_mean

Arguments = argparse.Namespace
Commands = Any
"""What `add_subparsers` returns; argparse has no public name for it."""

SPLITS = (
    "random (the deck's 90/10), official (FSDD's indices 0-4), speaker:NAME, or crowd (all of FSDD "
    "is test; see --crowd)"
)


class Parser(argparse.ArgumentParser):
    """A parser whose help ends in `examples` and whose errors are one line each."""

    def __init__(self, *, examples: str = "", **kwargs: Any) -> None:
        super().__init__(
            formatter_class=argparse.RawDescriptionHelpFormatter,
            epilog=f"examples:\n  {examples.strip()}" if examples else None,
            allow_abbrev=False,
            **kwargs,
        )

    def error(self, message: str) -> NoReturn:
        """Raise `UserError` instead of printing the usage."""
        raise UserError(f"{message}; see {self.prog} --help")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """Refuse a word that is none of the choices, with the nearest one."""
        if action.choices is not None and value not in action.choices:
            known = [str(choice) for choice in action.choices]
            told = did_you_mean(str(value), known) or f"; there are: {', '.join(known)}"
            name = "/".join(action.option_strings) or action.metavar
            raise UserError(f"{name} is '{value}'{told}")


def command(
    commands: Commands, name: str, run: Callable[[Arguments], int | None], examples: str
) -> Parser:
    """A subcommand that is documented by its function's docstring and its examples."""
    about = str(run.__doc__)
    parser: Parser = commands.add_parser(
        name, help=about.rstrip("."), description=about, examples=examples
    )
    parser.set_defaults(run=run)
    return parser


def typed(a: Arguments) -> str:
    """What the user typed, for the record."""
    return shlex.join(["synesthete", *a.argv])


def drawing(parser: Parser) -> None:
    """How images are drawn."""
    parser.add_argument("--diversity", type=float, default=1.0, metavar="X",
                        help="0: the archetype; 1 (default): as was learnt; up to 1.5")  # fmt: skip
    evaluations(parser)


def evaluations(parser: Parser) -> None:
    """How often the network is asked for an image."""
    parser.add_argument("--evaluations", type=int, metavar="N",
                        help="of the network, an image (of flow; default: 4)")  # fmt: skip


def engine(parser: Parser) -> None:
    """Where the work is done."""
    parser.add_argument("--engine", default="local", choices=("local", "ray"),
                        help="ray: on the cluster at RAY_ADDRESS, or on one here")  # fmt: skip


def engine_of(a: Arguments) -> Any:
    """The engine that the options ask for."""
    workers = getattr(a, "workers", None)
    if a.engine == "ray":
        from synesthete.ray_engine import Ray

        return Ray(workers)
    from synesthete.engines import HERE, Local

    return Local(workers) if workers else HERE


def seed(parser: Parser) -> None:
    """Of everything random."""
    parser.add_argument("--seed", type=int, default=0, help="default: 0")


def crowd(parser: Parser) -> None:
    """Synthetic speakers for training."""
    parser.add_argument("--crowd", type=int, default=0, metavar="N",
                        help="N synthetic speakers besides, for training alone")  # fmt: skip


def data(parser: Parser) -> None:
    """Where the data is."""
    parser.add_argument("--data", type=Path, help="a directory with FSDD or MNIST")
    parser.add_argument("--other-speakers", action="store_true",
                        help="use further, unverified speakers found there too")  # fmt: skip
    parser.add_argument("--synthetic", action="store_true",
                        help="synthetic speakers instead of FSDD")  # fmt: skip


def mix(a: Arguments, split: str = "random", synthetic: bool = False, crowd: int = 0) -> Any:
    """The MNIST/FSDD mix that the options ask for."""
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


def mix_of(a: Arguments, data: Mapping[str, Any]) -> Any:
    """The mix that is most like what a model was trained on."""
    synthetic, split = bool(data.get("audio_synthetic")), data.get("split") or "random"
    crowd = int(data.get("crowd_speakers", 0)) if split == "crowd" else 0
    return mix(a, split, synthetic, crowd)
