"""Results for people, as tables, and for scripts, as JSON."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

COLUMNS = (
    "split", "recordings", "images", "edges", "groups", "seconds", "images each", "recordings each"
)  # fmt: skip
"""What is told of each side of an alignment."""

SHARES = frozenset(
    "agreement agreement_ci95 ci95 second_judge_agreement judge_accuracy accuracy ceiling "
    "consistency memorised_fraction reconstruction_agreement".split()
)
"""What is told in percents."""


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
    from synesthete import tables

    title = f"{card['model']} on {card['audio_source']}, split {card['split']}"
    told = (name for name in card if name not in ("model", "audio_source", "split"))
    tables.show(("", "value"), (row for name in told for row in rows(name, card[name])), title)


def rows(name: str, value: Any) -> Iterator[tuple[str, str]]:
    """An entry of a scorecard in words; the shares of several classes go on one line."""
    tables = isinstance(value, dict) and all(isinstance(v, dict) for v in value.values())
    if tables and all("value" in entry for entry in value.values()):
        yield name, "  ".join(f"{key} {entry['value']:.1%}" for key, entry in value.items())
    elif isinstance(value, dict):
        for key, entry in value.items():
            yield from rows(f"{name} {key}", entry)
    elif isinstance(value, list):
        interval = name.endswith("ci95") and None not in value
        yield name, (" to " if interval else ", ").join(_number(name, v) for v in value)
    else:
        yield name, _number(name, value)


def _number(name: str, value: Any) -> str:
    """A share as percents, any other number as it is."""
    if not isinstance(value, float):
        return str(value)
    return f"{value:.1%}" if name.rpartition(" ")[2] in SHARES else f"{value:.4g}"


def alignment(told: dict[str, Any]) -> None:
    """The counts and the provenance of an alignment."""
    from synesthete import tables

    console = tables.console()
    console.print(f"{told['rate']} Hz audio, images {told['image_shape']}, digest {told['digest']}")
    body = []
    for name, s in told["splits"].items():
        spread = [
            f"{v['min']:g} to {v['max']:g}, mean {v['mean']:g}" if v else "-"
            for v in (s["seconds"], s["images_per_recording"], s["recordings_per_image"])
        ]
        counts = (f"{s[k]:,}" for k in ("recordings", "images", "edges", "groups"))
        body.append((name, *counts, *spread))
    tables.show(COLUMNS, body)
    for warning in told["warnings"] or ("nothing to beware of: no leaks, copies, silence, …",):
        console.print(warning, style="yellow" if told["warnings"] else None, soft_wrap=True)
    console.print_json(data=told["provenance"])
