"""Look an alignment over: a contact sheet of its pairs, and warnings of what makes scores lie."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from synesthete import figures
from synesthete.data import audio
from synesthete.data.alignment import Alignment, LeakageError
from synesthete.data.batches import spectrograms
from synesthete.data.spectrogram import SpectrogramConfig
from synesthete.files import whole_file
from synesthete.pixels import Pixels, seen, tile

MOST = 10_000
"""Items that are compared with each other; of more, so many are drawn."""

ALIKE = 0.01
"""Root mean square distance, of values in 0..1, of images of 8x8 and spectrograms of 12x12 that
are all but equal: another encoding of the same."""

FLAT = 8  # brightnesses of 256 between the darkest and the brightest pixel of a constant image
CLIPPED = 0.001  # share of a recording's samples at full scale that can be heard
BUSY = 10  # times the median number of partners that one item may have

Floats = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]


def warnings(alignment: Alignment) -> list[str]:
    """What to look at before trusting a model or a score of this alignment, a line each."""
    return [
        *_leaks(alignment),
        *_faults(alignment),
        *_copies(
            "images", alignment.image_splits, lambda rows: _thumbnails(alignment.images[rows])
        ),
        *_copies("recordings", alignment.audio_splits, lambda rows: _pictures(alignment, rows)),
        *_imbalance("recording", alignment.edges[:, 0], len(alignment.audio_ids)),
        *_imbalance("image", alignment.edges[:, 1], len(alignment.image_ids)),
    ]


def sheet(alignment: Alignment, path: Path, pairs: int = 40, columns: int = 10) -> None:
    """Write a PNG of pairs drawn at random, each spectrogram above its image."""
    rng = np.random.default_rng(0)
    count = min(pairs, len(alignment.edges))
    rows = np.sort(rng.choice(len(alignment.edges), count, replace=False))
    edges = alignment.edges[rows]
    shown = _taken(alignment, edges[:, 0])
    images = seen(alignment.images[edges[:, 1]])
    height, width = images.shape[1:3]
    cells = []
    for heard, image in zip(shown, images, strict=True):
        coloured = Image.fromarray(figures.spectrogram(heard)).resize((width, height))
        rgb = image if image.ndim == 3 else np.repeat(image[..., None], 3, axis=2)
        cells.append(np.concatenate([np.asarray(coloured), rgb]))
    scale = max(1, 96 // width)
    large = np.stack(cells).repeat(scale, axis=1).repeat(scale, axis=2)
    with whole_file(path) as draft:
        Image.fromarray(tile(large, columns, gap=4)).save(draft, "PNG")


def _taken(alignment: Alignment, rows: Rows) -> Floats:
    """The spectrograms of some recordings: float32[N, bands, columns] in 0..1."""
    which, place = np.unique(rows, return_inverse=True)
    some = alignment.recordings(which)
    longest = max(map(len, some.waveforms), default=0) / alignment.rate
    config = SpectrogramConfig().fitted(alignment.rate, longest)
    return np.asarray(spectrograms(some, config)[:, 0].numpy()[place], np.float32)


def _leaks(alignment: Alignment) -> Iterator[str]:
    """What is on two sides of the split though it should not, or need not, be."""
    try:
        alignment.check_leakage()
    except LeakageError as error:
        yield str(error)
    groups = alignment.audio_groups + alignment.image_groups
    homes = {*zip(groups, alignment.audio_splits + alignment.image_splits, strict=True)}
    names = [group for group, _ in homes if group]
    if shared := len(names) - len({*names}):
        yield (
            f"{shared} of {len({*names})} groups (speakers, videos) are on two sides or more: the "
            "score will say nothing of new ones"
        )


def _faults(alignment: Alignment) -> Iterator[str]:
    """Recordings and images with nothing in them, or too much."""
    peaks = np.array([np.abs(wave).max() for wave in alignment.waveforms])
    silent = int((peaks < 10 ** (audio.LIMITS.silence_dbfs / 20)).sum())
    full = sum((np.abs(wave) >= 0.999).mean() > CLIPPED for wave in alignment.waveforms)
    flat = alignment.images.reshape(len(alignment.images), -1)
    constant = int((np.ptp(flat, axis=1) < FLAT).sum())
    recordings, images = len(alignment.waveforms), len(alignment.images)
    if silent:
        yield f"{silent} of {recordings} recordings are silent"
    if full:
        yield f"{full} of {recordings} recordings are clipped"
    if constant:
        yield f"{constant} of {images} images are of one colour"


def _copies(what: str, splits: tuple[str, ...], looks: Callable[[Rows], Floats]) -> Iterator[str]:
    """Items that are all but equal to another, and those of them that are on another side."""
    count = len(splits)
    rows = np.random.default_rng(0).permutation(count)[:MOST]
    flat, side = looks(rows).reshape(len(rows), -1), np.array(splits)[rows]
    flat = flat - flat.mean(axis=0)  # far from the origin, squares would cancel
    squares = np.square(flat).sum(axis=1)
    alike, across = np.zeros(len(rows), bool), np.zeros(len(rows), bool)
    for first in range(0, len(rows), 500):
        part = slice(first, first + 500)
        distance = squares[part, None] + squares - 2 * flat[part] @ flat.T
        close = distance <= flat.shape[1] * ALIKE**2 + 1e-5
        close[np.arange(len(close)), np.arange(first, first + len(close))] = False
        alike[part] = close.any(axis=1)
        across[part] = (close & (side[part, None] != side)).any(axis=1) & (side[part] != "train")
    among = f"{len(rows):,} {what}" + (f" drawn of {count:,}" if count > MOST else "")
    if alike.any():
        yield f"{alike.sum():,} of {among} are all but equal to another"
    if across.any():
        yield (
            f"{across.sum():,} kept from training are all but equal to {what} on another side: if "
            "they are copies, the split leaks; name groups that keep them together"
        )


def _thumbnails(images: Pixels) -> Floats:
    """float32[I, C, 8, 8] in 0..1."""
    rows, columns = (np.linspace(0, side, 9).astype(int)[:-1] for side in images.shape[2:])
    total = np.add.reduceat(np.add.reduceat(images, rows, 2, np.uint32), columns, 3, np.uint32)
    areas = np.outer(np.diff([*rows, images.shape[2]]), np.diff([*columns, images.shape[3]]))
    return np.asarray(total / (255 * areas), np.float32)


def _pictures(alignment: Alignment, rows: Rows) -> Floats:
    """Spectrograms of some recordings as float32[N, 12, 12] in 0..1."""
    full = _taken(alignment, rows)
    return np.asarray(full.reshape(len(full), 12, 4, 12, 4).mean((2, 4)))


def _imbalance(what: str, ends: Rows, count: int) -> Iterator[str]:
    """How unevenly partners are spread over the items of one kind."""
    degrees = np.bincount(ends, minlength=count)
    if lonely := int((degrees == 0).sum()):
        yield f"{lonely} of {count} {what}s have no partner"
    median = float(np.median(degrees))
    if len(degrees) and degrees.max() > BUSY * max(median, 1):
        tenth = np.sort(degrees)[-max(1, count // 10) :].sum() / degrees.sum()
        yield (
            f"partners are spread unevenly: the busiest {what} has {degrees.max():,}, the median "
            f"{median:g}; a tenth of the {what}s has {tenth:.0%} of the pairs"
        )
