"""The on-disk format of alignments: WebDataset shards of nodes, Parquet tables, a JSON header.

header.json               format, version, counts, provenance, size and SHA-256 of all other files
nodes.parquet             a row a node: id, kind, group, split, and where its file lies
edges.parquet             a row an edge: audio id, image id, split
SPLIT/audio-000000.tar    {id}.flac, mono, 16-bit
SPLIT/image-000000.tar    {id}.png, grey or RGB
labels.parquet            not ours: judging may put it there, training never opens it
"""

import json
import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from synesthete.data.alignment import SPLITS, Alignment, AlignmentError
from synesthete.data.content import from_flac, from_png, to_flac, to_png
from synesthete.data.shards import Place, check_size, cut, shard_name, stamp, vouched, write_shards
from synesthete.data.tables import read_table
from synesthete.files import read_json, whole_directory
from synesthete.progress import Bar, bar

FORMAT = "synesthete-alignment"
STREAMED = "synesthete-pair-shards"
"""The format that `pair_shards` writes."""
VERSION = 1
HEADER, NODES, EDGES = "header.json", "nodes.parquet", "edges.parquet"
ADVICE = "restore the folder from where it came, or build the alignment again"

Header = dict[str, Any]

_NODE_SCHEMA = pa.schema(
    {
        "id": pa.string(),
        "kind": pa.string(),  # "audio" or "image"
        "group": pa.string(),
        "split": pa.string(),
        "samples": pa.int64(),  # length of a recording; 0 for an image
        "shard": pa.int64(),  # this and the next two: the place of {id}.flac or {id}.png
        "offset": pa.int64(),
        "size": pa.int64(),
    }
)
_EDGE_SCHEMA = pa.schema({"audio": pa.string(), "image": pa.string(), "split": pa.string()})


def save(
    alignment: Alignment,
    directory: str | os.PathLike[str],
    *,
    beside: Callable[[Path], None] | None = None,
) -> None:
    """Write an alignment as a folder, whole or not at all, in place of an earlier alignment there.

    `beside` may put further files into the folder before it appears, as `labels.save` does. Equal
    alignments give equal bytes. Raises LeakageError when the split leaks, AlignmentError when
    something else is in that place or it cannot be written.
    """
    target = Path(directory).absolute()
    alignment.check_leakage()
    try:
        _refuse_to_replace(target)
        with whole_directory(target) as draft:
            _write(alignment, draft)
            if beside:
                beside(draft)
            header = json.dumps(_header_of(alignment, draft), indent=1, sort_keys=True)
            (draft / HEADER).write_text(header + "\n", encoding="utf-8")
    except OSError as error:
        raise AlignmentError(f"{target}: cannot be written ({error}); nothing was kept") from error


def load(directory: str | os.PathLike[str], splits: Sequence[str] | None = None) -> Alignment:
    """Read an alignment, or only some of its splits: the shards of the others are not opened.

    What is read is checked against the header's SHA-256 first. Raises AlignmentError when the
    folder is no alignment, is of a newer format, lacks a split, or has a missing or altered file.
    """
    folder = Path(directory)
    header = read_header(folder)
    try:
        present = [split for split in SPLITS if split in header["counts"]["splits"]]
        lacking = sorted({*(splits or ())} - {*present})
        if lacking:
            raise AlignmentError(f"{folder}: has no split {lacking}, only {present}")
        return _read(folder, header, present if splits is None else splits)
    except (
        KeyError, ValueError, TypeError, AttributeError, OverflowError, OSError, pa.ArrowException
    ) as error:  # fmt: skip
        raise AlignmentError(f"{folder}: damaged ({error}); {ADVICE}") from error


def read_header(directory: str | os.PathLike[str]) -> Header:
    """Return an alignment's header: counts, provenance, digest, files; AlignmentError as `load`."""
    path = Path(directory) / HEADER
    try:
        header: Header = read_json(path)
        kind, version = header["format"], int(header["version"])
    except (OSError, ValueError, KeyError, TypeError, OverflowError) as error:
        told = f"no readable {HEADER}: {type(error).__name__}"
        advice = "name a folder that `synesthete pairs` wrote"
        raise AlignmentError(f"{path.parent}: not an alignment ({told}); {advice}") from error
    if kind == STREAMED:
        raise AlignmentError(
            f"{path.parent}: pair shards, which `synesthete train` alone takes; name the alignment "
            "that they were made of"
        )
    if kind != FORMAT:
        raise AlignmentError(f"{path}: format {kind!r}, wanted {FORMAT!r}")
    if version > VERSION:
        raise AlignmentError(
            f"{path}: version {version} of the format; this synesthete reads up to {VERSION}: "
            "upgrade it"
        )
    for part, kind in (("counts", dict), ("files", dict), ("provenance", dict), ("digest", str)):
        if not isinstance(header.get(part), kind):
            raise AlignmentError(f"{path.parent}: damaged (no {part} in {HEADER}); {ADVICE}")
    return header


def encoded(
    directory: str | os.PathLike[str], split: str
) -> Iterator[tuple[bytes, int, Iterator[bytes]]]:
    """Each recording of a split that has images: its FLAC, its length in samples, and their PNGs.

    In memory are the tables and a file at a time; before the first, a shard at a time, which is
    checked. Refused as `load` does.
    """
    folder = Path(directory)
    header = read_header(folder)
    try:
        nodes = _read_table(folder, header, NODES, _NODE_SCHEMA, [split])
        audio, image = (nodes.filter(pc.equal(nodes["kind"], k)) for k in ("audio", "image"))
        edges = _read_table(folder, header, EDGES, _EDGE_SCHEMA, [split])
        ends = [
            pc.index_in(edges[kind], value_set=side["id"].combine_chunks()).to_numpy()
            for kind, side in (("audio", audio), ("image", image))
        ]
        order = np.lexsort(ends[::-1])
        heard, seen = (rows[order].astype(np.int64) for rows in ends)
        recordings, first = np.unique(heard, return_index=True)
        partners = np.split(seen, first[1:]) if len(first) else []
        for side in ("audio", "image"):
            for number in sorted({*(audio if side == "audio" else image)["shard"].to_pylist()}):
                name = shard_name(split, side, number)
                vouched(folder / name, header["files"][name])
        for row, met in zip(recordings, partners, strict=True):
            samples = audio["samples"][int(row)].as_py()
            pngs = (_file(folder, split, "image", image, int(one)) for one in met)
            yield _file(folder, split, "audio", audio, int(row)), samples, pngs
    except (
        KeyError, ValueError, TypeError, AttributeError, OverflowError, OSError, pa.ArrowException
    ) as error:  # fmt: skip
        raise AlignmentError(f"{folder}: damaged ({error}); {ADVICE}") from error


def _refuse_to_replace(target: Path) -> None:
    free = not target.exists() or (target.is_dir() and not any(target.iterdir()))
    if not free and not (target / HEADER).is_file():
        raise AlignmentError(f"{target}: there is something else; name another folder")


def _write(alignment: Alignment, draft: Path) -> None:
    """Write everything but the header."""

    def recording(row: int) -> tuple[str, bytes]:
        data = to_flac(alignment.waveforms[row], alignment.rate)
        return f"{alignment.audio_ids[row]}.flac", data

    def image(row: int) -> tuple[str, bytes]:
        return f"{alignment.image_ids[row]}.png", to_png(alignment.images[row])

    nodes = len(alignment.audio_ids) + len(alignment.image_ids)
    with bar("writing the alignment", nodes) as progress:
        places = [
            *_write_files(draft, "audio", alignment.audio_splits, recording, progress),
            *_write_files(draft, "image", alignment.image_splits, image, progress),
        ]
    pq.write_table(_node_table(alignment, places), draft / NODES)
    pq.write_table(_edge_table(alignment), draft / EDGES)


def _write_files(
    draft: Path,
    kind: str,
    splits: Sequence[str],
    file: Callable[[int], tuple[str, bytes]],
    progress: Bar,
) -> list[Place]:
    """Write the file (name, content) of each row to the shards of its split; return its place."""
    places: dict[int, Place] = {}
    for split in sorted({*splits}):
        rows = [row for row, found in enumerate(splits) if found == split]
        written = write_shards(draft, split, kind, map(file, rows))
        for row, place in zip(rows, written, strict=True):
            places[row] = place
            progress.advance()
    return [places[row] for row in range(len(splits))]


def _node_table(alignment: Alignment, places: Sequence[Place]) -> pa.Table:
    lengths = [len(wave) for wave in alignment.waveforms]
    images = len(alignment.image_ids)
    columns = {
        "id": alignment.audio_ids + alignment.image_ids,
        "kind": ["audio"] * len(lengths) + ["image"] * images,
        "group": alignment.audio_groups + alignment.image_groups,
        "split": alignment.audio_splits + alignment.image_splits,
        "samples": lengths + [0] * images,
        "shard": [place.shard for place in places],
        "offset": [place.offset for place in places],
        "size": [place.size for place in places],
    }
    return pa.table(columns, schema=_NODE_SCHEMA)


def _edge_table(alignment: Alignment) -> pa.Table:
    audio, image = alignment.edges.T.tolist()
    columns = {
        "audio": [alignment.audio_ids[row] for row in audio],
        "image": [alignment.image_ids[row] for row in image],
        "split": [alignment.audio_splits[row] for row in audio],
    }
    return pa.table(columns, schema=_EDGE_SCHEMA)


def _header_of(alignment: Alignment, draft: Path) -> Header:
    files = sorted(path for path in draft.rglob("*") if path.is_file())
    return {
        "format": FORMAT,
        "version": VERSION,
        "digest": alignment.digest(),
        "counts": alignment.summary(),
        "provenance": dict(alignment.provenance),
        "files": {path.relative_to(draft).as_posix(): stamp(path.read_bytes()) for path in files},
    }


def _read(folder: Path, header: Header, splits: Sequence[str]) -> Alignment:
    nodes = _read_table(folder, header, NODES, _NODE_SCHEMA, splits)
    audio, image = (
        nodes.filter(pc.equal(nodes["kind"], k)).to_pydict() for k in ("audio", "image")
    )
    rate, shape = header["counts"]["rate"], header["counts"]["image_shape"]
    places = _places("audio", audio), _places("image", image)
    check_size(folder, {**places[0], **places[1]}, audio["samples"], len(image["id"]), shape)
    waves: dict[int, npt.NDArray[np.float32]] = {}
    images = np.empty((len(image["id"]), *shape), np.uint8)
    with bar("reading the alignment", nodes.num_rows) as progress:
        for row, data in _read_files(folder, header, places[0], audio, progress):
            waves[row] = from_flac(data, rate, audio["samples"][row])
        for row, data in _read_files(folder, header, places[1], image, progress):
            images[row] = from_png(data, shape)
    edges = _read_table(folder, header, EDGES, _EDGE_SCHEMA, splits)
    ends = _rows(edges["audio"], audio["id"]), _rows(edges["image"], image["id"])
    return Alignment(
        audio_ids=tuple(audio["id"]),
        audio_groups=tuple(audio["group"]),
        audio_splits=tuple(audio["split"]),
        waveforms=tuple(waves[row] for row in range(len(waves))),
        image_ids=tuple(image["id"]),
        image_groups=tuple(image["group"]),
        image_splits=tuple(image["split"]),
        images=images,
        edges=np.stack(ends, axis=1),
        rate=rate,
        provenance=header["provenance"],
    )


def _places(kind: str, nodes: Mapping[str, list[Any]]) -> dict[str, list[int]]:
    """The rows that each shard holds."""
    shards = defaultdict(list)
    for row, (split, number) in enumerate(zip(nodes["split"], nodes["shard"], strict=True)):
        shards[shard_name(split, kind, number)].append(row)
    return shards


def _read_files(
    folder: Path,
    header: Header,
    shards: Mapping[str, list[int]],
    nodes: Mapping[str, list[Any]],
    progress: Bar,
) -> Iterator[tuple[int, bytes]]:
    """Yield the row and content of every node's file, shard after shard."""
    for name, rows in shards.items():
        shard = vouched(folder / name, header["files"][name])
        for row in rows:
            yield row, cut(shard, nodes["offset"][row], nodes["size"][row])
        progress.advance(len(rows))


def _read_table(
    folder: Path, header: Header, name: str, schema: pa.Schema, splits: Sequence[str]
) -> pa.Table:
    table = read_table(vouched(folder / name, header["files"][name]), schema)
    return table.filter(pc.is_in(table["split"], value_set=pa.array(splits, pa.string())))


def _file(folder: Path, split: str, kind: str, nodes: pa.Table, row: int) -> bytes:
    """The file of one node, read from its place."""
    shard, offset, size = (nodes[key][row].as_py() for key in ("shard", "offset", "size"))
    with (folder / shard_name(split, kind, shard)).open("rb") as file:
        file.seek(offset)
        return file.read(size)


def _rows(keys: pa.ChunkedArray, ids: Sequence[str]) -> npt.NDArray[np.int64]:
    row_of = {key: row for row, key in enumerate(ids)}
    return np.array([row_of[key] for key in keys.to_pylist()], np.int64)
