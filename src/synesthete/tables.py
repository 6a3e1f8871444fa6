"""Tables for people: as wide as the terminal, whole and without colour where they are piped."""

import sys
from collections.abc import Iterable, Sequence

from rich.console import Console, JustifyMethod
from rich.table import Table
from rich.text import Text

PIPED = 1_000
"""Columns of a page that is no terminal: no cell is cut."""


def console() -> Console:
    """Standard output, whose text is shown as it is."""
    width = None if sys.stdout.isatty() else PIPED
    return Console(width=width, markup=False, highlight=False, emoji=False)


def show(columns: Sequence[str], rows: Iterable[Sequence[str]], title: str | None = None) -> None:
    """Print a table; columns of numbers are set to the right."""
    body = [list(row) for row in rows]
    table = Table(title=title, title_justify="left")
    for place, name in enumerate(columns):
        justify: JustifyMethod = "right" if _numbers(row[place] for row in body) else "left"
        table.add_column(name, justify=justify, style=None if place else "cyan")
    for row in body:
        table.add_row(*(Text(cell) for cell in row))
    console().print(table)


def _numbers(cells: Iterable[str]) -> bool:
    """Whether all cells begin like a number."""
    return all(cell.lstrip("-")[:1].isdigit() for cell in cells)
