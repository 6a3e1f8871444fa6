"""Find what goes with audio files: the nearest images or recordings, written and told."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synesthete import tables
from synesthete.data import storage
from synesthete.data.alignment import Alignment
from synesthete.data.batches import spectrograms
from synesthete.deliver import picture_names, sheet, write_listing
from synesthete.errors import UserError
from synesthete.inputs import summarise, usable
from synesthete.matching import Floats, Model, nearness
from synesthete.pixels import seen
from synesthete.progress import bar, busy

COLUMNS = 10
"""Images in a row of a picture."""


@dataclass(frozen=True)
class Gallery:
    """What is searched."""

    ids: tuple[str, ...]
    """Opaque ids, as in the alignment."""
    embedding: Floats
    """float32[N, E]."""
    pictures: NDArray[np.uint8] | None
    """uint8[N, H, W] or [N, H, W, 3]; None where recordings are searched."""


def gallery(model: Model, folder: Path, what: str = "images") -> Gallery:
    """The test side of an alignment (all of it where it has none): its `"images"` or `"audio"`.

    Raises:
        UserError: there is nothing of the kind.
    """
    side = _test_side(folder)
    with busy(f"embedding {what}"):
        if what == "audio":
            _some(side.audio_ids, folder, "recordings")
            heard = spectrograms(side, model.artefact.preset.spectrogram)
            return Gallery(side.audio_ids, model.embed_audio(heard), None)
        _some(side.image_ids, folder, "images")
        found, wanted = side.images.shape[1:], tuple(model.artefact.shapes.image)
        if found != wanted:
            raise UserError(f"{folder}: images are {found}, this model looks at {wanted}")
        return Gallery(side.image_ids, model.embed_image(side.images), seen(side.images))


def retrieve(
    model: Model,
    files: Sequence[str],
    shown: Gallery,
    k: int = 10,
    *,
    out: Path | None = None,
    listing: str | None = None,
) -> int:
    """The `k` nearest of a gallery for each file, best first; the command's exit status.

    Images by the matcher's logit, recordings by nearness. Images go into one PNG a file in `out`,
    ids and scores to standard output, or as JSON to `listing`. A bad file gets one line on
    standard error and costs the others nothing; several files, a last line with their number.

    Returns:
        0, or 2 if a file failed.
    """
    if k < 1:
        raise UserError(f"-k is {k}, wanted 1 or more neighbours")
    records: list[dict[str, Any]] = [{"file": f, "error": "", "neighbours": []} for f in files]
    written: dict[int, Path] = {}
    names, out = picture_names(files), out or Path("neighbours")
    with bar("retrieving", len(files)) as progress:
        for row, waveform in usable(files, records, model.rate):
            nearest, scores = _nearest(model, waveform, shown, k)
            records[row]["neighbours"] = [
                {"id": shown.ids[item], "score": round(float(score), 4)}
                for item, score in zip(nearest, scores, strict=True)
            ]
            if shown.pictures is not None:
                written[row] = out / names[row]
                sheet(shown.pictures[nearest], written[row], COLUMNS)
            progress.advance()
    if not write_listing(records, listing):
        _tell(records, written)
    return summarise(records)


def _nearest(
    model: Model, waveform: Floats, shown: Gallery, k: int
) -> tuple[NDArray[np.int64], Floats]:
    """Rows of the gallery, best first, and their scores."""
    query = model.embed_audio(model.spectrogram([waveform]))
    compare = nearness if shown.pictures is None else model.match
    scores = compare(query, shown.embedding)[0]
    rows = np.argsort(-scores, kind="stable")[:k]
    return rows, scores[rows]


def _test_side(folder: Path) -> Alignment:
    """The recordings and images of a stored alignment that no training saw, if any are set apart.

    Labels are not read.
    """
    splits = storage.read_header(folder)["counts"]["splits"]
    if "test" in splits:
        return storage.load(folder, ("test",)).subset("test")
    return storage.load(folder)


def _some(ids: Sequence[str], folder: Path, what: str) -> None:
    if not ids:
        raise UserError(f"{folder}: no {what} to search; give another --pairs")


def _tell(records: Sequence[dict[str, Any]], written: dict[int, Path]) -> None:
    """A table for each good file, a block of lines where it is piped."""
    show = _table if sys.stdout.isatty() else _lines
    for row, record in enumerate(records):
        if not record["error"]:
            told = f"{record['file']}: {written[row]}" if row in written else record["file"]
            show(told, record["neighbours"])


def _table(title: str, neighbours: Sequence[dict[str, Any]]) -> None:
    rows = ((str(i), n["id"], f"{n['score']:.4f}") for i, n in enumerate(neighbours, start=1))
    tables.show(("rank", "id", "score"), rows, title)


def _lines(title: str, neighbours: Sequence[dict[str, Any]]) -> None:
    print(title)
    for place, found in enumerate(neighbours, start=1):
        print(f"{place:4}  {found['id']}  {found['score']:.4f}")
