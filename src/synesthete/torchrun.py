"""What torchrun told this process: which of how many it is; without torchrun, the first of one."""

import os


def launched() -> bool:
    """Whether torchrun started this process."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def rank() -> int:
    """The place of this process among those of the run, from 0."""
    return int(os.environ["RANK"]) if launched() else 0


def world() -> int:
    """How many processes the run has, over all hosts."""
    return int(os.environ["WORLD_SIZE"]) if launched() else 1


def restarted() -> bool:
    """Whether torchrun started this host's processes anew because one of them was lost."""
    return launched() and int(os.environ.get("TORCHELASTIC_RESTART_COUNT", 0)) > 0
