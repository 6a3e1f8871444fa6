"""A toy world, made in milliseconds: tunes are heard, shapes are seen; the newcomers' data set.

A class is a tune (how the pitch moves) and a shape. Pitch, length, timbre, loudness and noise vary
from recording to recording, place and size from image to image, and tell nothing of the class. A
model that draws the right shapes for tunes it never heard has learnt the alignment.
"""

from collections.abc import Callable
from dataclasses import asdict
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from synesthete.data.alignment import Alignment, assemble
from synesthete.data.content import opaque, to_16_bit
from synesthete.data.labels import Labels
from synesthete.data.mix import pair
from synesthete.data.sources import Origin, digest
from synesthete.errors import UserError

RATE = 8_000  # Hz
TEST = 5  # the first of every five recordings and images of a class is test

Array = npt.NDArray[np.floating[Any]]
Shape = Callable[[Array, Array], Array]  # x, y (right, down) -> distance to the edge, inside < 0
Tune = Callable[[Array], Array]  # time 0..1 -> octaves above the lowest pitch


def _box(x: Array, y: Array, width: float, height: float) -> Array:
    return np.maximum(np.abs(x) - width, np.abs(y) - height)


def _cross(x: Array, y: Array) -> Array:
    return np.minimum(_box(x, y, 1, 0.3), _box(x, y, 0.3, 1))


CLASSES: dict[str, tuple[Shape, Tune]] = {  # in the order of class indices
    "bar": (lambda x, y: _box(x, y, 1, 0.3), lambda t: 0 * t),
    "column": (lambda x, y: _box(x, y, 0.3, 1), lambda t: 1.5 * t),
    "cross": (_cross, lambda t: 0.75 + 0.5 * np.sin(10 * np.pi * t)),
    "disc": (lambda x, y: np.hypot(x, y) - 1, lambda t: 1.5 * np.sin(np.pi * t)),
    "ring": (lambda x, y: np.abs(np.hypot(x, y) - 0.8) - 0.2, lambda t: 1.5 - 1.5 * t),
    "saltire": (
        lambda x, y: _cross((x + y) * 0.5**0.5, (x - y) * 0.5**0.5),
        lambda t: 1.5 - 1.5 * np.sin(np.pi * t),
    ),
    "square": (lambda x, y: _box(x, y, 0.8, 0.8), lambda t: 1.5 * (t > 0.5)),
    "wedge": (
        lambda x, y: np.maximum(y - 0.6, 0.87 * np.abs(x) - 0.5 * y - 0.5),
        lambda t: 1.5 * (t < 0.5),
    ),
}
VOICES = {  # strength of the first three harmonics
    "flute": (1.0, 0.1, 0.0),
    "reed": (0.6, 0.1, 0.5),
    "string": (0.7, 0.5, 0.3),
    "whistle": (1.0, 0.0, 0.0),
}


def build(
    classes: int = 4, recordings: int = 160, images: int = 800, seed: int = 0, size: int = 28
) -> tuple[Alignment, Labels]:
    """Build the alignment and its labels: 0.3 to 0.6 s at 8 kHz, images uint8[I, 1, size, size].

    A fifth of either is test; each image has one recording; groups are four timbres. Takes 2 to 8
    classes and at least two recordings and images of each; raises UserError otherwise.
    """
    if not 2 <= classes <= len(CLASSES) or min(recordings, images) < 2 * classes or size < 12:
        raise UserError(
            f"a toy world of {classes} classes, {recordings} recordings and {images} images of "
            f"{size} pixels: wanted 2 to {len(CLASSES)} classes, two of each, 12 pixels or more"
        )
    rng = np.random.default_rng(seed)
    heard, seen = np.arange(recordings) % classes, np.arange(images) % classes
    audio_splits, image_splits = (_splits(kinds, classes) for kinds in (heard, seen))
    voices = rng.choice([*VOICES], recordings).tolist()
    waves = [_sing(kind, voice, rng) for kind, voice in zip(heard.tolist(), voices, strict=True)]
    origin = _origin(waves, seed)
    alignment, audio_ids, image_ids = assemble(
        waveforms=waves,
        audio_groups=[opaque(voice) for voice in voices],
        audio_splits=audio_splits.tolist(),
        images=_draw(seen, size, rng)[:, None],
        image_groups=[""] * images,
        image_splits=image_splits.tolist(),
        edges=pair(heard, audio_splits, seen, image_splits, rng),
        rate=RATE,
        provenance={"recipe": "toy", "audio_source": origin.name, "audio": asdict(origin)},
    )
    names = [*CLASSES]
    return alignment, Labels(
        audio={key: names[kind] for key, kind in zip(audio_ids, heard, strict=True)},
        images={key: names[kind] for key, kind in zip(image_ids, seen, strict=True)},
        groups={opaque(voice): voice for voice in voices},
        judge_unseen=frozenset(alignment.subset("train").image_ids),  # `read` learns from none
    )


def read(images: npt.NDArray[np.number[Any]], classes: int = 4) -> npt.NDArray[np.int64]:
    """Judge images [n, H, H] or [n, 1, H, H]: the index of the class mean nearest by angle.

    The means are of shapes drawn here, so that no image and no label of a data set is used.
    """
    flat = images.reshape(len(images), -1).astype(np.float64)
    return np.asarray((flat @ _class_means(classes, images.shape[-1]).T).argmax(axis=1))


@lru_cache
def _class_means(classes: int, size: int) -> Array:
    """Return float64[classes, size * size] of length 1 each."""
    kinds = np.repeat(np.arange(classes), 100)
    drawn = _draw(kinds, size, np.random.default_rng(0)).reshape(classes, 100, -1)
    means = drawn.mean(axis=1)
    return np.asarray(means / np.linalg.norm(means, axis=1, keepdims=True))


def _splits(kinds: npt.NDArray[np.int64], classes: int) -> npt.NDArray[np.str_]:
    """Return the split of each item; items take the classes in turn."""
    return np.where(np.arange(len(kinds)) // classes % TEST == 0, "test", "train")


def _draw(
    kinds: npt.NDArray[np.int64], size: int, rng: np.random.Generator
) -> npt.NDArray[np.uint8]:
    """Draw shapes, white on black and antialiased: uint8[n, size, size]."""
    middle = rng.uniform(-0.1, 0.1, (2, len(kinds), 1, 1))  # in half widths of the image
    radius = rng.uniform(0.63, 0.75, (len(kinds), 1, 1))
    line = (np.arange(size) + 0.5) * 2 / size - 1
    x = np.broadcast_to((line[None, None, :] - middle[0]) / radius, (len(kinds), size, size))
    y = np.broadcast_to((line[None, :, None] - middle[1]) / radius, (len(kinds), size, size))
    distance = np.empty(x.shape)
    for kind, (shape, _) in enumerate(CLASSES.values()):
        distance[kinds == kind] = shape(x[kinds == kind], y[kinds == kind])
    covered = np.clip(0.5 - distance * radius * size / 2, 0, 1)  # share of each pixel, about
    return np.rint(255 * covered).astype(np.uint8)


def _sing(kind: int, voice: str, rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """Sing the tune of a class: float32[T], 0.3 to 0.6 s, lowest pitch 200 to 400 Hz."""
    time = np.linspace(0, 1, int(RATE * rng.uniform(0.3, 0.6)))
    tune = [*CLASSES.values()][kind][1]
    pitch = 200 * 2 ** (rng.uniform(0, 1) + tune(time))  # Hz
    phase = 2 * np.pi * np.cumsum(pitch) / RATE
    tone = sum(strength * np.sin(n * phase) for n, strength in enumerate(VOICES[voice], start=1))
    fade = np.clip(20 * np.minimum(time, 1 - time), 0, 1)
    noise = rng.normal(0, rng.uniform(0.003, 0.02), len(time))
    return np.asarray(rng.uniform(0.2, 0.6) * fade * tone + noise, np.float32)


def _origin(waves: list[npt.NDArray[np.float32]], seed: int) -> Origin:
    files = {f"{row:06d}": to_16_bit(wave).tobytes() for row, wave in enumerate(waves)}
    return Origin("toy tunes", "synthesised", f"toy world, seed {seed}", digest(files), False)
