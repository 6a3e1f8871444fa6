"""The folder: read back bit for bit, readable by others, never half there."""

import errno
import gc
import io
import json
import signal
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
import pytest
import soundfile
import webdataset
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from synesthete.data import shards, storage
from synesthete.data.alignment import Alignment, AlignmentError, LeakageError
from synesthete.data.content import (
    from_16_bit,
    from_flac,
    from_png,
    to_16_bit,
    to_flac,
    to_png,
)
from test_alignment import random_alignment


def same(first: Alignment, second: Alignment) -> bool:
    return (first.digest(), first.provenance) == (second.digest(), second.provenance)


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


@settings(max_examples=15)
@given(
    seed=st.integers(0, 2**32 - 1),
    channels=st.sampled_from([1, 3]),
    height=st.integers(3, 40),
    width=st.integers(3, 40),
    edges=st.integers(0, 40),
)
def test_an_alignment_comes_back_bit_for_bit(
    tmp_path_factory: pytest.TempPathFactory,
    seed: int,
    channels: int,
    height: int,
    width: int,
    edges: int,
) -> None:
    folder = tmp_path_factory.mktemp("round") / "pairs"
    alignment = random_alignment(seed, shape=(channels, height, width), edges=edges)
    storage.save(alignment, folder)
    loaded = storage.load(folder)
    assert same(loaded, alignment)
    for old, new in zip(alignment.waveforms, loaded.waveforms, strict=True):
        assert new.dtype == np.float32
        assert (old == new).all()
    assert (loaded.images == alignment.images).all()
    assert (loaded.edges == alignment.edges).all()
    assert loaded.audio_groups == alignment.audio_groups


@given(
    samples=st.lists(st.integers(-32_768, 32_767), min_size=1, max_size=300),
    rate=st.sampled_from([4_000, 8_000, 16_000, 22_050, 44_100, 48_000, 192_000]),
)
def test_every_16_bit_sample_survives_flac(samples: list[int], rate: int) -> None:
    wave = np.array(samples, np.float32) / 32_768
    assert (from_flac(to_flac(wave, rate), rate, len(samples)) == wave).all()


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=50))
def test_other_samples_are_kept_to_half_a_step_and_full_scale_does_not_wrap(
    samples: list[float],
) -> None:
    wave = np.array([*samples, -1.0, 1.0])
    kept = from_16_bit(to_16_bit(wave))
    np.testing.assert_allclose(kept[:-1], np.minimum(wave[:-1], 32_767 / 32_768), atol=0.5 / 32_768)
    assert kept[-1] == 32_767 / 32_768


def test_provenance_comes_back(tmp_path: Path) -> None:
    told = {"audio": {"name": "Größe", "notes": ["a"]}, "seed": 3, "held_out_groups": ["group9"]}
    storage.save(random_alignment(provenance=told), tmp_path / "pairs")
    assert storage.load(tmp_path / "pairs").provenance == told
    assert storage.read_header(tmp_path / "pairs")["provenance"] == told


def test_only_the_wanted_splits_are_read(tmp_path: Path) -> None:
    alignment = random_alignment()
    storage.save(alignment, tmp_path / "pairs")
    for path in (tmp_path / "pairs" / "train").iterdir():
        path.unlink()
    assert same(storage.load(tmp_path / "pairs", ["test"]), alignment.subset("test"))
    both = storage.load(tmp_path / "pairs", ["test", "validation"])
    assert {*both.audio_splits} == {"test", "validation"}
    assert len(both.edges) == sum(len(alignment.subset(s).edges) for s in ("test", "validation"))
    with pytest.raises(AlignmentError, match=r"train/\w+-000000.tar is missing"):
        storage.load(tmp_path / "pairs")


def test_a_split_it_does_not_have_is_refused(tmp_path: Path) -> None:
    storage.save(random_alignment().subset("train"), tmp_path / "pairs")
    with pytest.raises(AlignmentError, match=r"has no split \['test'\], only \['train'\]"):
        storage.load(tmp_path / "pairs", ["test"])


def test_equal_alignments_are_equal_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        storage.save(random_alignment(), tmp_path / name)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    with tarfile.open(tmp_path / "one" / "train" / "image-000000.tar") as tar:
        assert all((m.mtime, m.uid, m.gid, m.uname, m.isreg()) == (0, 0, 0, "", True) for m in tar)


def test_shards_are_cut_at_their_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alignment = random_alignment(recordings=7, images=33)
    monkeypatch.setattr(shards, "SHARD_FILES", 4)
    storage.save(alignment, tmp_path / "files")
    members = []
    for path in sorted((tmp_path / "files").glob("*/image-*.tar")):
        with tarfile.open(path) as tar:
            members.append(len(tar.getnames()))
    assert members == [4, 4, 3] * 3
    assert same(storage.load(tmp_path / "files"), alignment)
    monkeypatch.setattr(shards, "SHARD_BYTES", 1)
    storage.save(alignment, tmp_path / "bytes")
    assert len([*(tmp_path / "bytes").glob("*/image-*.tar")]) == 33
    assert same(storage.load(tmp_path / "bytes"), alignment)


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # webdataset leaves shards open
@pytest.mark.parametrize("channels", [1, 3])
def test_webdataset_reads_the_shards_as_they_are(tmp_path: Path, channels: int) -> None:
    alignment = random_alignment(shape=(channels, 6, 5))
    storage.save(alignment, tmp_path / "pairs")
    train = alignment.subset("train")
    urls = [str(path) for path in sorted((tmp_path / "pairs" / "train").glob("*.tar"))]
    found = {
        sample["__key__"]: sample for sample in webdataset.WebDataset(urls, shardshuffle=False)
    }
    assert {*found} == {*train.audio_ids, *train.image_ids}
    for key, wave in zip(train.audio_ids, train.waveforms, strict=True):
        heard, rate = soundfile.read(io.BytesIO(found[key]["flac"]), dtype="float32")
        assert rate == 8_000
        assert (heard == wave).all()
    pictures = webdataset.WebDataset(urls[1:], shardshuffle=False).decode("rgb8")
    seen = {sample["__key__"]: sample["png"] for sample in pictures}
    for key, image in zip(train.image_ids, train.images, strict=True):
        assert (np.asarray(seen[key]).transpose(2, 0, 1) == image).all()
    del pictures
    gc.collect()


def test_the_tables_say_where_each_file_lies_and_who_meets_whom(tmp_path: Path) -> None:
    alignment = random_alignment()
    storage.save(alignment, tmp_path / "pairs")
    for node in pq.read_table(tmp_path / "pairs" / "nodes.parquet").to_pylist():
        path = tmp_path / "pairs" / node["split"] / f"{node['kind']}-{node['shard']:06d}.tar"
        suffix = {"audio": "flac", "image": "png"}[node["kind"]]
        with tarfile.open(path) as tar:
            member = tar.extractfile(f"{node['id']}.{suffix}")
            assert member
            start, stop = node["offset"], node["offset"] + node["size"]
            assert path.read_bytes()[start:stop] == member.read()
    edges = pq.read_table(tmp_path / "pairs" / "edges.parquet").to_pylist()
    pairs = [(alignment.audio_ids[a], alignment.image_ids[i]) for a, i in alignment.edges]
    assert [(edge["audio"], edge["image"]) for edge in edges] == pairs


FILES = ("nodes.parquet", "edges.parquet", "test/audio-000000.tar", "train/image-000000.tar")


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda data: data[:100] + bytes([data[100] ^ 1]) + data[101:], "was altered: its SHA-256"),
        (lambda data: data[:-1], r"has \d+ bytes, wanted \d+"),
        (lambda data: data + b"\0", r"has \d+ bytes, wanted \d+"),
        (lambda data: None, "is missing"),
    ],
    ids=["flipped bit", "cut", "grown", "missing"],
)
def test_a_harmed_file_is_found_and_named(
    tmp_path: Path, name: str, harm: Any, message: str
) -> None:
    storage.save(random_alignment(), tmp_path / "pairs")
    path = tmp_path / "pairs" / name
    harmed = harm(path.read_bytes())
    path.unlink()
    if harmed is not None:
        path.write_bytes(harmed)
    with pytest.raises(AlignmentError, match=f"{name} {message}.*; restore the folder"):
        storage.load(tmp_path / "pairs")


def rewrite_header(folder: Path, change: Any) -> None:
    header = storage.read_header(folder)
    change(header)
    (folder / "header.json").write_text(json.dumps(header))


def restamp(folder: Path, name: str) -> None:
    """Have the header vouch for a file that was changed on purpose."""
    stamp = shards.stamp((folder / name).read_bytes())
    rewrite_header(folder, lambda header: header["files"].update({name: stamp}))


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("offset", 2**40, "bytes at 1099511627776 in a shard"),
        ("offset", -1, "bytes at -1 in a shard"),
        ("size", -5, "no -5 bytes"),
        ("offset", 0, "cannot be decoded"),
        ("shard", 77, "-000077.tar"),
        ("samples", 7_000_000, "wanted 7000000 samples at 8000 Hz"),
        ("id", "ghost", ""),
    ],
)
def test_a_table_that_lies_is_an_error_of_the_folder(
    tmp_path: Path, column: str, value: Any, message: str
) -> None:
    storage.save(random_alignment(), tmp_path / "pairs")
    path = tmp_path / "pairs" / "nodes.parquet"
    rows = pq.read_table(path).to_pylist()
    used = pq.read_table(tmp_path / "pairs" / "edges.parquet").to_pylist()[0]["audio"]
    next(row for row in rows if row["id"] == used)[column] = value
    pq.write_table(pq.read_table(path).from_pylist(rows), path)
    restamp(tmp_path / "pairs", "nodes.parquet")
    with pytest.raises(AlignmentError, match=f"{message}.*restore the folder"):
        storage.load(tmp_path / "pairs")


def test_a_header_without_its_parts_is_an_error_of_the_folder(tmp_path: Path) -> None:
    storage.save(random_alignment(), tmp_path / "pairs")
    for part in ("counts", "files", "provenance"):
        (tmp_path / part).mkdir()
        for name, data in contents(tmp_path / "pairs").items():
            (tmp_path / part / name).parent.mkdir(exist_ok=True)
            (tmp_path / part / name).write_bytes(data)
        rewrite_header(tmp_path / part, lambda header, part=part: header.pop(part))
        with pytest.raises(AlignmentError, match=f"damaged .*{part}"):
            storage.load(tmp_path / part)


def test_a_newer_format_asks_for_an_upgrade(tmp_path: Path) -> None:
    storage.save(random_alignment(), tmp_path / "pairs")
    rewrite_header(tmp_path / "pairs", lambda header: header.update(version=2))
    with pytest.raises(AlignmentError, match=r"version 2 .* reads up to 1: upgrade it"):
        storage.load(tmp_path / "pairs")


@pytest.mark.parametrize(
    "header", [None, "", "[]", "{}", '{"format": "x"}', "\x00\xff", '{"format": 1, "version": 1}']
)
def test_another_folder_is_not_taken_for_an_alignment(tmp_path: Path, header: str | None) -> None:
    if header is not None:
        (tmp_path / "header.json").write_text(header, encoding="latin-1")
    with pytest.raises(AlignmentError, match=r"not an alignment|wanted 'synesthete-alignment'"):
        storage.load(tmp_path)


def test_what_leaks_is_not_stored(tmp_path: Path) -> None:
    base = random_alignment()
    with pytest.raises(LeakageError):
        storage.save(replace(base, images=base.images * 0), tmp_path / "pairs")
    assert [*tmp_path.iterdir()] == []


def test_an_earlier_alignment_is_replaced_and_nothing_else_is(tmp_path: Path) -> None:
    target = tmp_path / "pairs"
    target.mkdir()
    storage.save(random_alignment(1), target)
    storage.save(random_alignment(2), target)
    assert same(storage.load(target), random_alignment(2))
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "final.tex").touch()
    (tmp_path / "file").touch()
    for precious in ("thesis", "file", ""):
        with pytest.raises(AlignmentError, match=r"there is something else; name another folder"):
            storage.save(random_alignment(), tmp_path / precious)
    assert (tmp_path / "thesis" / "final.tex").exists()


def interruptions() -> Iterator[tuple[str, str, BaseException]]:
    yield "table", "pyarrow.parquet.write_table", OSError(errno.ENOSPC, "No space left on device")
    yield "shard", "tarfile.TarFile.addfile", OSError(errno.ENOSPC, "No space left on device")
    yield "header", "synesthete.data.storage._header_of", KeyboardInterrupt()
    yield "rename", "pathlib.Path.replace", PermissionError(errno.EACCES, "Permission denied")


@pytest.mark.parametrize(("name", "place", "fault"), [*interruptions()])
@pytest.mark.parametrize("earlier", [False, True])
def test_a_save_that_fails_midway_leaves_things_as_they_were(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    place: str,
    fault: BaseException,
    earlier: bool,
) -> None:
    if earlier:
        storage.save(random_alignment(1), tmp_path / "pairs")

    def fail(*_: Any, **__: Any) -> NoReturn:
        raise fault

    wanted = AlignmentError if isinstance(fault, OSError) else KeyboardInterrupt
    with monkeypatch.context() as patched:
        patched.setattr(place, fail)
        with pytest.raises(wanted):
            storage.save(random_alignment(2), tmp_path / "pairs")
    if earlier:
        assert same(storage.load(tmp_path / "pairs"), random_alignment(1))
    else:
        assert not (tmp_path / "pairs").exists()


def test_a_kill_between_two_files_leaves_no_folder(tmp_path: Path) -> None:
    program = (
        "import os, signal, sys\n"
        "from synesthete.data import storage, toy\n"
        "alignment, _ = toy.build(recordings=20, images=20)\n"
        "kill = lambda draft: os.kill(os.getpid(), signal.SIGKILL)\n"
        "storage.save(alignment, sys.argv[1], beside=kill)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, tmp_path / "pairs"], check=False)
    assert done.returncode == -signal.SIGKILL
    assert not (tmp_path / "pairs").exists()
    storage.save(random_alignment(), tmp_path / "pairs")
    assert same(storage.load(tmp_path / "pairs"), random_alignment())


def test_further_files_appear_with_the_folder_and_are_vouched_for(tmp_path: Path) -> None:
    def beside(draft: Path) -> None:
        assert not (tmp_path / "pairs").exists()
        (draft / "notes.txt").write_text("hello")

    storage.save(random_alignment(), tmp_path / "pairs", beside=beside)
    header = storage.read_header(tmp_path / "pairs")
    assert header["files"]["notes.txt"] == shards.stamp(b"hello")
    assert {*header["files"], "header.json"} == {*contents(tmp_path / "pairs")}
    assert header["digest"] == storage.load(tmp_path / "pairs").digest()


def encoded(pixels: npt.NDArray[np.uint8], kind: str) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x89PNG\r\n\x1a\n" + bytes(50),
        to_png(np.arange(81, dtype=np.uint8).reshape(1, 9, 9))[:50],
        to_png(np.zeros((1, 9, 8), np.uint8)),
        to_png(np.zeros((3, 9, 9), np.uint8)),
        encoded(np.zeros((9, 9), np.uint8), "BMP"),
    ],
    ids=["empty", "zeros", "cut", "narrow", "coloured", "bitmap"],
)
def test_what_is_not_the_expected_image_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"an image (is|cannot)"):
        from_png(data, (1, 9, 9))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"fLaC" + bytes(60),
        to_flac(np.zeros(9), 8_000)[:30],
        to_flac(np.zeros(8), 8_000),
        to_flac(np.zeros(9), 16_000),
    ],
    ids=["empty", "zeros", "cut", "short", "fast"],
)
def test_what_is_not_the_expected_recording_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"a recording (is|cannot)"):
        from_flac(data, 8_000, 9)


def test_a_place_that_cannot_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(AlignmentError, match=r"file/pairs: cannot be written"):
        storage.save(random_alignment(), tmp_path / "file" / "pairs")
