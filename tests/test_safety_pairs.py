"""Recordings, images and alignments from strangers: refused before they cost memory or time."""

import dataclasses
import io
import json
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile

from bounded import little_memory
from synesthete.data import audio, labels, shards, storage, tables, toy
from synesthete.data.alignment import AlignmentError
from synesthete.data.content import PNG, from_png, to_png
from tiny import tone


def test_a_wav_that_declares_100_hours_is_what_it_holds() -> None:
    """As a program that writes to a pipe cannot know the length, and declares the most."""
    file = io.BytesIO()
    soundfile.write(file, tone(440, 0.5), 8_000, format="WAV")
    data = bytearray(file.getvalue())
    honest = audio.load(bytes(data))
    for declared in (2 * 8_000 * 360_000 % 2**32, 2**32 - 1):
        data[4:8] = data[40:44] = struct.pack("<I", declared)
        with little_memory():
            np.testing.assert_array_equal(audio.load(bytes(data)), honest)


def test_a_flac_that_declares_samples_and_has_none_is_refused() -> None:
    file = io.BytesIO()
    soundfile.write(
        file, np.stack([tone(440, 0.25), -tone(440, 0.25)], axis=1), 8_000, format="FLAC"
    )
    data = file.getvalue()
    with pytest.raises(audio.Empty, match="no sample can be decoded"):
        audio.load(data[:24] + data[25:])


def test_more_samples_than_a_recording_has_are_refused_before_they_are_unpacked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """30 s of 32 channels of silence at 192 kHz take a few kilobytes, and unpacked 0.7 GB."""
    file = io.BytesIO()
    soundfile.write(file, np.zeros((24_000, 8)), 48_000, format="OGG", subtype="VORBIS")
    monkeypatch.setattr(soundfile.SoundFile, "read", lambda *_, **__: pytest.fail("decoded"))
    few = dataclasses.replace(audio.LIMITS, max_samples=100_000)
    with pytest.raises(audio.TooLong, match="8 channels of 24000 samples; wanted at most 100000"):
        audio.load(file.getvalue(), limits=few)
    most = np.broadcast_to(np.zeros(1), (30 * 192_000, 32))
    with little_memory(), pytest.raises(audio.TooLong, match="50000000 samples in all"):
        audio.load(most, 192_000)


def png(width: int, height: int, *chunks: tuple[bytes, bytes]) -> bytes:
    """A grey PNG of that size, black, with further chunks before its pixels."""
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    pixels = zlib.compress(bytes((width + 1) * min(height, 9)))
    parts = [(b"IHDR", head), *chunks, (b"IDAT", pixels), (b"IEND", b"")]
    return PNG + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in parts
    )


def test_an_image_that_unpacks_to_more_than_it_should_is_refused() -> None:
    text = (b"zTXt", b"a\0\0" + zlib.compress(bytes(1 << 24)))
    with little_memory():
        with pytest.raises(ValueError, match="no PNG of 9x9"):
            from_png(png(50_000, 50_000), (1, 9, 9))
        with pytest.raises(ValueError, match=r"decoded|too large|large"):
            from_png(png(9, 9, text), (1, 9, 9))
    assert from_png(png(9, 9), (1, 9, 9)).max() == 0


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    alignment, named = toy.build(recordings=16, images=16)
    storage.save(alignment, tmp_path / "pairs", beside=named.save)
    return tmp_path / "pairs"


def told(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change a header, and have it vouch for the files that are there."""
    path = folder / storage.HEADER
    about = json.loads(path.read_text())
    about["files"] = {name: shards.stamp((folder / name).read_bytes()) for name in about["files"]}
    change(about)
    path.write_text(json.dumps(about))


@pytest.mark.parametrize(
    "change",
    [
        lambda header: header["counts"].update(image_shape=[1, 10**6, 10**6]),
        lambda header: header["counts"].update(image_shape=[3, 4096, 4096]),
        lambda header: header["counts"].update(image_shape=None),
        lambda header: header["counts"].update(rate="fast"),
        lambda header: header["provenance"].update(held_out_groups=[["a"]]),
        lambda header: header.update(provenance="mix"),
        lambda header: header.update(version=float("inf")),
        lambda header: header.update(files=dict.fromkeys(header["files"], 3)),
    ],
)
def test_an_alignments_header_beyond_reason_is_refused(
    pairs: Path, change: Callable[[dict[str, Any]], object]
) -> None:
    told(pairs, change)
    with little_memory(), pytest.raises(AlignmentError):
        storage.load(pairs)


def test_one_image_said_a_million_times_is_refused(pairs: Path) -> None:
    """Large and black, it takes a few hundred bytes; nodes that share it would take a gigabyte."""
    rows = pq.read_table(pairs / storage.NODES).to_pylist()
    images = [row for row in rows if row["kind"] == "image" and row["split"] == "train"]
    data = to_png(np.zeros((1, 4_000, 4_000), np.uint8))
    shard = pairs / "train" / "image-000000.tar"
    shard.write_bytes(shard.read_bytes() + data)
    place = {"offset": shard.stat().st_size - len(data), "size": len(data)}
    copies = [{**images[0], **place, "id": f"{number:016x}"} for number in range(1_000)]
    sounds = [row for row in rows if row["kind"] == "audio"]
    pq.write_table(pa.Table.from_pylist([*sounds, *copies]), pairs / storage.NODES)
    told(pairs, lambda header: header["counts"].update(image_shape=[1, 4_000, 4_000]))
    with little_memory(), pytest.raises(AlignmentError, match="unpack to 16,0"):
        storage.load(pairs)


SCHEMA = pa.schema({"id": pa.string(), "size": pa.int64()})


def parquet(columns: dict[str, Any], **options: Any) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.table(columns), file, **options)
    return file.getvalue()


def test_a_table_is_read_where_it_is_the_one_asked_for_and_of_a_reasonable_size() -> None:
    columns = {"id": ["a", "b"], "size": [1, 2]}
    assert tables.read_table(parquet(columns), SCHEMA).to_pydict() == columns
    many = 3_000_000
    for message, data in (
        ("wanted \\['id', 'size'\\]", parquet({"id": ["a"], "size": ["1"]})),
        ("gaps in 'id'", parquet({"id": ["a", None], "size": [1, 2]})),
        ("3,000,000 rows", parquet({"id": pa.repeat("a", many), "size": pa.repeat(1, many)})),
        ("packed by", parquet(columns, compression="ZSTD")),
        (
            "more than 1000 bytes",
            parquet({"id": pa.repeat("a" * 10**4, 99), "size": range(99)}),
        ),
    ):
        with little_memory(), pytest.raises(ValueError, match=message):
            tables.read_table(data, SCHEMA)


def test_labels_that_are_no_table_of_labels_are_refused(pairs: Path) -> None:
    assert labels.load(pairs).classes
    (pairs / labels.FILE).write_bytes(parquet({"kind": ["audio"], "id": ["a"], "label": [3]}))
    with pytest.raises(labels.LabelsError, match="damaged"):
        labels.load(pairs)
