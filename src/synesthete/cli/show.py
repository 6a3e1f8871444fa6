"""Results for people, as tables, and for scripts, as JSON."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def write_json(value: Any, target: str) -> None:
    """Write to the file `target`; `-` is standard output."""
    from synesthete.files import whole_file

    text = json.dumps(value, indent=2, ensure_ascii=False) + "\n"
    if target == "-":
        sys.stdout.write(text)
        return
    with whole_file(Path(target)) as draft:
        draft.write_text(text, encoding="utf-8")


def scorecard(card: dict[str, Any]) -> None:
    """A row for each number of a scorecard."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{card['model']} on {card['audio_source']}, split {card['split']}")
    table.add_column("")
    table.add_column("value", justify="right")
    for name, value in card.items():
        if name not in ("model", "audio_source", "split"):
            for row in rows(name, value):
                table.add_row(*row)
    Console().print(table)


def rows(name: str, value: Any) -> Iterator[tuple[str, str]]:
    """An entry of a scorecard in words; the shares of several classes go on one line."""
    tables = isinstance(value, dict) and all(isinstance(v, dict) for v in value.values())
    if tables and all("value" in entry for entry in value.values()):
        yield name, "  ".join(f"{key} {entry['value']:.1%}" for key, entry in value.items())
    elif isinstance(value, dict):
        for key, entry in value.items():
            yield from rows(f"{name} {key}", entry)
    elif isinstance(value, list):
        yield name, ", ".join(f"{v:.4g}" for v in value)
    else:
        yield name, f"{value:.4g}" if isinstance(value, float) else str(value)


def alignment(told: dict[str, Any]) -> None:
    """The counts and the provenance of an alignment."""
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
