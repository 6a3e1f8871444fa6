"""The recordings that a user names: files, globs, folders and standard input, some of them bad."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from synesthete.data import audio

STDIN = "-"
"""The name of standard input."""


def find_audio(arguments: Iterable[str]) -> list[str]:
    """Files for a list of files, globs, folders (searched recursively) and `-`, in order.

    A name for which there is nothing stands for itself: `usable` says what is wrong with it.
    """
    found: list[str] = []
    for argument in arguments:
        named = [Path(argument)] if argument == STDIN else _matches(argument)
        files = [str(file) for path in named for file in _inside(path)]
        found += files or [argument]
    return found


def _matches(argument: str) -> list[Path]:
    path = Path(argument)
    if path.exists() or not any(c in argument for c in "*?["):
        return [path]
    anchor = Path(path.anchor)
    return sorted(anchor.glob(str(path.relative_to(anchor))))


def _inside(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    return sorted(p for p in path.rglob("*") if p.suffix.lower() in audio.SUFFIXES)


def usable(
    files: Sequence[str], records: list[dict[str, Any]], rate: int = audio.RATE
) -> Iterator[tuple[int, audio.Wave]]:
    """Row and clip at `rate` of each good file; a bad one gets a line on standard error."""
    for row, file in enumerate(files):
        try:
            waveform = _load(file, rate)
        except audio.AudioError as error:
            records[row]["error"] = str(error)
            print(f"synesthete: {error}", file=sys.stderr)
            continue
        yield row, waveform


def _load(file: str, rate: int) -> audio.Wave:
    if file == STDIN:
        return _load_stdin(rate)
    if Path(file).is_dir():
        raise audio.Unreadable(f"{file}: no sound file in it")
    return audio.load(file, rate=rate)


def _load_stdin(rate: int) -> audio.Wave:
    limit = audio.LIMITS.max_bytes
    data = sys.stdin.buffer.read(limit + 1)
    if len(data) > limit:
        raise audio.TooLong(f"standard input: wanted at most {limit} bytes")
    try:
        return audio.load(data, rate=rate)
    except audio.AudioError as error:
        raise type(error)(str(error).replace("the bytes", "standard input", 1)) from error


def summarise(records: Sequence[dict[str, Any]]) -> int:
    """Say on standard error how many of several files are done; the exit status."""
    failed = sum(bool(record["error"]) for record in records)
    if len(records) > 1:
        told = f"{len(records) - failed} of {len(records)} files done"
        print(f"{told}; {failed} failed" if failed else told, file=sys.stderr)
    return 2 if failed else 0
