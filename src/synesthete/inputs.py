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
            waveform = load(given(file), rate)
        except audio.AudioError as error:
            refuse(records[row], str(error))
            continue
        yield row, waveform


def refuse(record: dict[str, Any], error: str) -> None:
    """Note what is wrong with a file, and say it on standard error."""
    record["error"] = error
    print(f"synesthete: {error}", file=sys.stderr)


def given(file: str) -> str | bytes:
    """What `load` takes in any process: a file's name; of standard input, the bytes."""
    return sys.stdin.buffer.read(audio.LIMITS.max_bytes + 1) if file == STDIN else file


def load(source: str | bytes, rate: int) -> audio.Wave:
    """The clip at `rate` of what was `given`.

    Raises:
        AudioError: it cannot be used.
    """
    if isinstance(source, bytes):
        return _load_stdin(source, rate)
    if Path(source).is_dir():
        raise audio.Unreadable(f"{source}: no sound file in it")
    return audio.load(source, rate=rate)


def _load_stdin(data: bytes, rate: int) -> audio.Wave:
    limit = audio.LIMITS.max_bytes
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
