"""Write generated images where people and scripts want them, past files that cannot be used."""

import json
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from synesthete import tables
from synesthete.data.audio import AudioError, Wave
from synesthete.engines import HERE, Engine
from synesthete.files import whole_file
from synesthete.generate import CLIPS, Model, check
from synesthete.inputs import STDIN, given, load, refuse, summarise
from synesthete.pixels import tile
from synesthete.progress import bar

Images = NDArray[np.uint8]
Block = tuple[int, list[str | bytes]]
"""The row of the first of some sounds, and what each is loaded from."""


def deliver(
    model: Model,
    files: Sequence[str],
    n: int,
    *,
    seed: int = 0,
    diversity: float = 1.0,
    out: Path | None = None,
    npz: Path | None = None,
    listing: str | None = None,
    engine: Engine = HERE,
) -> int:
    """Generate `n` images for each file and write them; the command's exit status.

    One PNG contact sheet a file in `out`, or everything in one `npz` with `files` (str[F]),
    `error` (str[F], empty where fine) and `images` (uint8[F, n, H, W] or [..., 3]; zeros where an
    error stands). A bad file gets one line on standard error and costs the others nothing; several
    files, a last line with their number. What was written goes to standard output: as a table, a
    line each as soon as it is there where that is piped, or as JSON to `listing`.

    Returns:
        0, or 2 if a file failed.
    """
    check(n, diversity)
    out = out or (None if npz else Path("images"))
    kept = model.blank(len(files), n) if npz else None
    records: list[dict[str, Any]] = [{"file": f, "error": "", "written": None} for f in files]
    names = picture_names(files)
    for row, images in _generated(model, files, n, seed, diversity, records, engine):
        if kept is not None:
            kept[row] = images
        if out:
            records[row]["written"] = str(out / names[row])
            sheet(images, out / names[row])
            _tell_now(records[row]["written"], listing)
    if npz and kept is not None:
        _write_npz(npz, files, records, kept)
    if not write_listing(records, listing):
        _tell(records, n, npz)
    return summarise(records)


def _generated(
    model: Model,
    files: Sequence[str],
    n: int,
    seed: int,
    diversity: float,
    records: list[dict[str, Any]],
    engine: Engine,
) -> Iterator[tuple[int, Images]]:
    """Row and images of each good file; the errors of the others go into their records."""
    threads = torch.get_num_threads()
    draw = partial(_drawn, model, n, seed, diversity, threads)
    rows = iter(range(len(files)))
    with bar("generating", len(files)) as progress:
        for answers in engine.map(draw, _blocks(files), cores=threads):
            for answer, row in zip(answers, rows, strict=False):
                if isinstance(answer, str):
                    refuse(records[row], answer)
                else:
                    yield row, answer
                progress.advance()


def _blocks(files: Sequence[str]) -> Iterator[Block]:
    for first in range(0, len(files), CLIPS):
        yield first, [given(file) for file in files[first : first + CLIPS]]


def _drawn(
    model: Model, n: int, seed: int, diversity: float, threads: int, block: Block
) -> list[Images | str]:
    """The images of each sound of a block, or what is wrong with it.

    With as many threads as its caller has: with others, a sum may differ in its last bit.
    """
    torch.set_num_threads(threads)
    first, sources = block
    waveforms: dict[int, Wave] = {}
    answers: list[Images | str] = [""] * len(sources)
    for place, source in enumerate(sources):
        try:
            waveforms[place] = load(source, model.rate)
        except AudioError as error:
            answers[place] = str(error)
    if not waveforms:
        return answers
    rows = [first + place for place in waveforms]
    drawn = model.draw([*waveforms.values()], n, seed=seed, rows=rows, diversity=diversity)
    for place, images in zip(waveforms, drawn, strict=True):
        answers[place] = images
    return answers


def picture_names(files: Sequence[str]) -> list[str]:
    """A PNG file's name for each file: its own, with a number where another has it already."""
    names: list[str] = []
    taken: set[str] = set()
    used: dict[str, int] = {}
    for file in files:
        name = stem = "stdin" if file == STDIN else Path(file).stem
        while name.casefold() in taken:
            key = stem.casefold()
            used[key] = used.get(key, 1) + 1
            name = f"{stem}-{used[key]}"
        taken.add(name.casefold())
        names.append(f"{name}.png")
    return names


def sheet(images: Images, path: Path, columns: int | None = None) -> None:
    """Write one file's images as a contact sheet, square by default."""
    columns = columns or int(np.ceil(np.sqrt(len(images))))
    with whole_file(path) as draft:
        Image.fromarray(tile(images, columns, gap=1)).save(draft, "PNG")


def _write_npz(
    path: Path, files: Sequence[str], records: Sequence[dict[str, Any]], images: Images
) -> None:
    errors = np.array([record["error"] for record in records], dtype=np.str_)
    with whole_file(path) as draft, draft.open("wb") as stream:
        np.savez_compressed(stream, files=np.array(files, np.str_), error=errors, images=images)


def _tell_now(written: str, listing: str | None) -> None:
    """A line for a pipe, at once: what reads it need not wait for the others."""
    if listing != "-" and not sys.stdout.isatty():
        print(written, flush=True)


def _tell(records: Sequence[dict[str, Any]], n: int, npz: Path | None) -> None:
    """A table for people, and the one file of all images."""
    done = [(r["file"], str(n), r["written"]) for r in records if r["written"]]
    if done and sys.stdout.isatty():
        tables.show(("heard", "images", "written"), done)
    if npz:
        print(npz)


def write_listing(records: Sequence[dict[str, Any]], listing: str | None) -> bool:
    """Write the records as JSON to a file, if any; whether they took standard output (`-`)."""
    told = json.dumps(list(records), indent=2, ensure_ascii=False) + "\n"
    if listing == "-":
        sys.stdout.write(told)
    elif listing:
        with whole_file(Path(listing)) as draft:
            draft.write_text(told, encoding="utf-8")
    return listing == "-"
