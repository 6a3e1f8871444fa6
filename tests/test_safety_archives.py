"""Archives from strangers: refused in words, before they cost memory or time, and never obeyed."""

import io
import os
import struct
import tarfile
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest

from bounded import little_memory
from synesthete.data import fsdd, mnist
from synesthete.data.download import LIMIT, SourceError, inflate


def tar(*members: tuple[tarfile.TarInfo, bytes], kind: int = tarfile.USTAR_FORMAT) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=kind) as opened:
        for info, data in members:
            info.size = len(data)
            opened.addfile(info, io.BytesIO(data))
    return file.getvalue()


def block(name: str, kind: bytes, size: int) -> bytes:
    """A tar header of a size, below 0 too."""
    info = tarfile.TarInfo(name)
    info.type = kind
    data = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    data[124:136] = (
        b"\xff" + size.to_bytes(11, "big", signed=True) if size < 0 else b"%011o\0" % size
    )
    data[148:156] = b" " * 8
    data[148:156] = b"%06o\0 " % sum(data)
    return bytes(data)


NAME = "top/recordings/1_eve_0.wav"


@pytest.mark.parametrize(
    "archive",
    [
        block(NAME, tarfile.REGTYPE, 0) + block(NAME, tarfile.REGTYPE, -1_024),
        block("a", tarfile.XHDTYPE, -512) + bytes(1_024),
        b"".join(
            block("a", tarfile.XHDTYPE, 8) + b"9 a=b\n\n\n".ljust(512, b"\0") for _ in range(3_000)
        ),
        block("a", tarfile.XHDTYPE, 60_000) + b"1" * 60_416,
        block("a", tarfile.GNUTYPE_LONGNAME, 1 << 30) + bytes(512),
    ],
    ids=["in circles", "backwards", "a chain", "a long search", "a long name"],
)
def test_a_tar_that_would_keep_the_reader_busy_is_refused(archive: bytes) -> None:
    with little_memory(), pytest.raises(SourceError, match="damaged archive"):
        fsdd.unpack(archive)


def test_more_members_than_the_data_set_has_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fsdd, "MOST_MEMBERS", 3)
    names = [f"top/recordings/{number}_eve_0.wav" for number in range(4)]
    with pytest.raises(SourceError, match="more than 3 files"):
        fsdd.unpack(tar(*((tarfile.TarInfo(name), b"") for name in names)))
    assert len(fsdd.unpack(tar(*((tarfile.TarInfo(name), b"") for name in names[:3])))) == 3


def zipped(path: Path, *members: tuple[str | zipfile.ZipInfo, bytes], method: int) -> Path:
    with zipfile.ZipFile(path, "w", method) as opened:
        for name, data in members:
            opened.writestr(name, data)
    return path


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_zip_is_read_into_memory_by_known_names_once_each(tmp_path: Path) -> None:
    link = zipfile.ZipInfo(mnist.TEST_LABELS)
    link.external_attr = 0o120777 << 16  # a symbolic link, for those who unpack
    members: list[tuple[str | zipfile.ZipInfo, bytes]] = [
        (f"../../{mnist.TRAIN_IMAGES}", b"up"),
        (f"/etc/{mnist.TRAIN_LABELS}", b"root"),
        ("../other", b"no"),
        (link, b"/etc/passwd"),
        *[(mnist.TEST_IMAGES, b"a copy")] * 50,
    ]
    archive = zipped(tmp_path / "a.zip", *members, method=zipfile.ZIP_DEFLATED)
    assert mnist.unpack(archive) == {
        mnist.TRAIN_IMAGES: b"up",
        mnist.TRAIN_LABELS: b"root",
        mnist.TEST_LABELS: b"/etc/passwd",
        mnist.TEST_IMAGES: b"a copy",
    }
    assert [*tmp_path.iterdir()] == [archive]


def test_a_zip_bomb_is_cut_short_and_a_crowded_one_not_opened(tmp_path: Path) -> None:
    bomb = (mnist.TRAIN_IMAGES, bytes(LIMIT + 1))
    archive = zipped(tmp_path / "a.zip", bomb, method=zipfile.ZIP_DEFLATED)
    with little_memory():
        assert len(mnist.unpack(archive)[mnist.TRAIN_IMAGES]) == LIMIT
    with archive.open("ab") as file:
        file.truncate(mnist.LARGEST_ARCHIVE + 1)
    with pytest.raises(SourceError, match="more than 16,777,216 bytes"):
        mnist.unpack(archive)


def test_a_zip_damaged_within_is_an_error(tmp_path: Path) -> None:
    for method in (zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2, zipfile.ZIP_DEFLATED):
        noise = np.random.default_rng(0).bytes(500)
        archive = zipped(tmp_path / "a.zip", (mnist.TEST_LABELS, noise), method=method)
        data = bytearray(archive.read_bytes())
        data[60:90] = b"\xff" * 30
        archive.write_bytes(data)
        with pytest.raises(SourceError, match="damaged archive"):
            mnist.unpack(archive)


def test_a_zip_is_not_unpacked_by_a_method_that_asks_for_memory(tmp_path: Path) -> None:
    """A member in LZMA says how much its decoder shall take: here, 4 GB."""
    member = (mnist.TEST_LABELS, b"seven" * 99)
    archive = zipped(tmp_path / "a.zip", member, method=zipfile.ZIP_LZMA)
    data = bytearray(archive.read_bytes())
    dictionary = 30 + len(mnist.TEST_LABELS) + 5  # after the member's header, LZMA's own
    data[dictionary : dictionary + 4] = b"\xff" * 4
    archive.write_bytes(data)
    with little_memory(), pytest.raises(SourceError, match="packed by method 14"):
        mnist.unpack(archive)


def test_a_gzip_bomb_is_refused() -> None:
    packed = zlib.compressobj(9, wbits=31)
    bomb = packed.compress(bytes(LIMIT + 1)) + packed.flush()
    with little_memory(), pytest.raises(SourceError, match="unpacks to more than"):
        inflate(bomb)


@pytest.mark.parametrize("shape", [(1,) * 40, (2**32 - 1,) * 3, (0, 2**32 - 1, 2**32 - 1)])
def test_an_idx_file_of_impossible_shape_is_refused(shape: tuple[int, ...]) -> None:
    head = bytes([0, 0, 8, len(shape)]) + struct.pack(f">{len(shape)}I", *shape)
    with little_memory(), pytest.raises(SourceError, match="idx file"):
        mnist.parse_idx(head + b"\7")


def test_a_directory_of_recordings_may_hold_no_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "1_eve_0.wav")
    with pytest.raises(OSError, match="a directory or device"):
        fsdd.read(tmp_path)
