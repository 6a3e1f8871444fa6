"""Write generated images where people and scripts want them, past files that cannot be used."""

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from synesthete.data import audio
from synesthete.files import whole_file
from synesthete.generate import Model, check
from synesthete.pixels import tile
from synesthete.progress import bar

Images = NDArray[np.uint8]


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
) -> int:
    """Generate `n` images for each file and write them; the command's exit status.

    One PNG contact sheet a file in `out`, or everything in one `npz` with `files` (str[F]),
    `error` (str[F], empty where fine) and `images` (uint8[F, n, H, W] or [..., 3]; zeros where an
    error stands). A bad file gets one line on standard error and costs the others nothing.

    Returns:
        0, or 2 if a file failed.
    """
    check(n, diversity)
    out = out or (None if npz else Path("images"))
    images: dict[int, Images] = {}
    records: list[dict[str, Any]] = [{"file": f, "error": "", "written": None} for f in files]
    for row, found in _generated(model, files, n, seed, diversity, records):
        if npz:
            images[row] = found
        if out:
            records[row]["written"] = str(sheet(found, out, files, row))
    if npz:
        _write_npz(npz, files, records, images, model, n)
    _tell(records, listing, npz)
    return 2 if any(record["error"] for record in records) else 0


def _generated(
    model: Model,
    files: Sequence[str],
    n: int,
    seed: int,
    diversity: float,
    records: list[dict[str, Any]],
) -> Iterator[tuple[int, Images]]:
    """Row and images of each good file; the errors of the others go into their records."""
    with bar("generating", len(files)) as progress:
        for row, waveform in usable(files, records, model.rate):
            yield row, model.draw([waveform], n, seed=seed, first=row, diversity=diversity)[0]
            progress.advance()


def usable(
    files: Sequence[str], records: list[dict[str, Any]], rate: int
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Row and clip at `rate` of each good file; a bad one gets a line on standard error."""
    for row, file in enumerate(files):
        try:
            waveform = audio.load(file, rate=rate)
        except audio.AudioError as error:
            records[row]["error"] = str(error)
            print(f"synesthete: {error}", file=sys.stderr)
            continue
        yield row, waveform


def sheet(
    images: Images, out: Path, files: Sequence[str], row: int, columns: int | None = None
) -> Path:
    """Write one file's images as a contact sheet, square by default; equal names get a number."""
    stem = Path(files[row]).stem
    before = sum(Path(file).stem == stem for file in files[:row])
    path = out / (f"{stem}-{before + 1}.png" if before else f"{stem}.png")
    columns = columns or int(np.ceil(np.sqrt(len(images))))
    with whole_file(path) as draft:
        Image.fromarray(tile(images, columns, gap=1)).save(draft, "PNG")
    return path


def _write_npz(
    path: Path,
    files: Sequence[str],
    records: Sequence[dict[str, Any]],
    images: dict[int, Images],
    model: Model,
    n: int,
) -> None:
    channels, height, width = model.artefact.shapes.image
    shape = (height, width) if channels == 1 else (height, width, channels)
    stacked = np.zeros((len(files), n, *shape), np.uint8)
    for row, found in images.items():
        stacked[row] = found
    errors = np.array([record["error"] for record in records], dtype=np.str_)
    with whole_file(path) as draft, draft.open("wb") as stream:
        np.savez_compressed(stream, files=np.array(files, np.str_), error=errors, images=stacked)


def _tell(records: Sequence[dict[str, Any]], listing: str | None, npz: Path | None) -> None:
    """Say what was written: lines for people, JSON for scripts."""
    if write_listing(records, listing):
        return
    written = [record["written"] for record in records if record["written"]]
    print("\n".join(written + ([str(npz)] if npz else [])))


def write_listing(records: Sequence[dict[str, Any]], listing: str | None) -> bool:
    """Write the records as JSON to a file, if any; whether they took standard output (`-`)."""
    told = json.dumps(list(records), indent=2, ensure_ascii=False) + "\n"
    if listing == "-":
        sys.stdout.write(told)
    elif listing:
        with whole_file(Path(listing)) as draft:
            draft.write_text(told, encoding="utf-8")
    return listing == "-"
