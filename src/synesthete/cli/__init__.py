"""The `synesthete` command; heavy imports wait inside its functions, so that --help is instant."""

import argparse
import errno
import os
import sys
import time
from collections.abc import Sequence

from synesthete import __version__, torchrun
from synesthete.cli import completion, doctor, pairs, scoring, sharing, training, using
from synesthete.cli.options import Parser
from synesthete.errors import SharedError, UserError

NO_ROOM = "make room there or name another place; what was there before is untouched"
NOT_YOURS = "name a place that you may use"
NO_PLACE = "name another place"
OUTSIDE = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), NO_ROOM),
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), NOT_YOURS),
    **dict.fromkeys((errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG), NO_PLACE),
    errno.ENOLCK: "name a place on a disk that has file locks",
    errno.EIO: "the disk itself fails; name a place on another one",
}
"""What the machine refuses and no code here can mend, and what a user can do about it."""

EXAMPLES = """
  synesthete demo                                   # from nothing to a report
  synesthete generate digits seven.wav -n 16        # images/seven.png
  synesthete train archetype --steps 300
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; 0 done, 2 wrong usage or input, 128 + signal where it was stopped."""
    try:
        status = _run(list(sys.argv[1:] if argv is None else argv))
        sys.stdout.flush()
        return status
    except UserError as error:
        if isinstance(error, SharedError) and torchrun.rank():
            time.sleep(3)  # the first tells it; torchrun ends all when one leaves
        else:
            print(f"synesthete: {error}", file=sys.stderr, flush=True)
        stopped = getattr(error, "signal", None)
        return 2 if stopped is None else 128 + int(stopped)
    except BrokenPipeError:
        _give_up_output()
        return 0
    except OSError as error:
        if error.errno not in OUTSIDE:
            raise
        _give_up_output()
        place = error.filename or "standard output"
        print(f"synesthete: {place}: {error.strerror}; {OUTSIDE[error.errno]}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("synesthete: stopped", file=sys.stderr)
        return 130


def _give_up_output() -> None:
    """Where standard output takes nothing more, keep Python from trying again as it ends."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _run(argv: list[str]) -> int:
    whole = parser()
    completion.answer(whole)
    arguments, rest = whole.parse_known_args(argv)
    if rest and "overrides" not in arguments:
        raise UserError(f"{' '.join(rest)}: not understood; see synesthete --help")
    if torchrun.launched() and arguments.command != "train":
        raise SharedError(f"torchrun is for `synesthete train`; `{arguments.command}` goes without")
    arguments.argv = argv
    if rest:
        arguments.overrides = training.overrides(rest)
    return int(arguments.run(arguments) or 0)


def parser() -> argparse.ArgumentParser:
    """Every command and its options."""
    whole = Parser(
        prog="synesthete",
        description=(
            "Models that learn to see what they hear: images from audio, no labels. "
            "Begin with `synesthete demo`."
        ),
        examples=EXAMPLES,
    )
    whole.add_argument("--version", action="version", version=__version__)
    commands = whole.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for part in (training, scoring, using, sharing, pairs, doctor, completion):
        part.add(commands)
    return whole
