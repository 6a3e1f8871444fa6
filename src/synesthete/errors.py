"""The errors a user can mend: every one says what was wrong, where, and what to do."""


class UserError(Exception):
    """Wrong usage or input; the command line prints its message alone and exits with status 2."""
