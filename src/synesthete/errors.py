"""The errors a user can mend: every one says what was wrong, where, and what to do."""

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """Wrong usage or input; the command line prints its message alone and exits with status 2."""

    def __str__(self) -> str:
        """The message; what a terminal would obey, as a name from a file may hold, is spelt out."""
        return "".join(
            c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode("ascii")
            for c in super().__str__()
        )


class SharedError(UserError):
    """One that every process of a run raises: the first alone tells it."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The nearest of the known words as the end of a message; empty where none is near."""
    close = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean '{close[0]}'?" if close else ""
