"""The errors a user can mend: every one says what was wrong, where, and what to do."""


class UserError(Exception):
    """Wrong usage or input; the command line prints its message alone and exits with status 2."""

    def __str__(self) -> str:
        """The message; what a terminal would obey, as a name from a file may hold, is spelt out."""
        return "".join(
            c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode("ascii")
            for c in super().__str__()
        )
