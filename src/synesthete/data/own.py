"""A user's own sounds and images: what was found, what meets what, and how it is decoded."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from synesthete.data import audio, pictures
from synesthete.errors import UserError
from synesthete.progress import bar

RATES = (8_000, 48_000)  # Hz
SIZES = (28, 128)  # pixels

Edges = npt.NDArray[np.int64]  # [E, 2]: place of the sound, place of the image


class OwnError(UserError):
    """Material that no alignment can be made of."""


@dataclass(frozen=True)
class Form:
    """What every sound and image is brought to."""

    rate: int = 16_000
    """Hz, 8,000 to 48,000."""
    size: int = 64
    """Pixels a side, a multiple of 4 from 28 to 128."""
    channels: int = 3
    """1 (grey) or 3 (RGB)."""

    def __post_init__(self) -> None:
        if not RATES[0] <= self.rate <= RATES[1]:
            raise OwnError(f"a rate of {self.rate} Hz: wanted {RATES[0]} to {RATES[1]}")
        if not SIZES[0] <= self.size <= SIZES[1] or self.size % 4:
            raise OwnError(
                f"a size of {self.size}: wanted a multiple of 4, {SIZES[0]} to {SIZES[1]}"
            )


@dataclass(frozen=True)
class Item:
    """A sound or an image as it was found."""

    file: str
    group: str = ""
    """Who speaks, or which video: never on two sides of a split."""
    label: str = ""
    """What it shows: for judging alone."""
    split: str = ""
    """The side that the user gave it; "" where the split is drawn."""
    seconds: float | None = None
    """Its moment in a video."""


@dataclass(frozen=True)
class Listing:
    """Which sounds meet which images, before any is opened."""

    sounds: tuple[Item, ...]
    images: tuple[Item, ...]
    edges: Edges
    rule: str
    """How they were paired, in words."""
    lonely: Mapping[str, str] = field(default_factory=dict)
    """Files without a partner -> why."""
    classed: bool = False
    """Every sound of a label meets every image of it: then each label is on every side, and edges
    between sides are left out. Otherwise an edge keeps its ends on one side."""


@dataclass(frozen=True)
class Found:
    """Decoded material: None stands for what could not be used, and is on no edge."""

    sounds: Sequence[Item]
    waves: Sequence[audio.Wave | None]
    images: Sequence[Item]
    pixels: Sequence[pictures.Pixels | None]
    edges: Edges
    classed: bool = False
    left_out: Mapping[str, str] = field(default_factory=dict)
    """File -> why."""


def decoded(listing: Listing, form: Form) -> Found:
    """Load every file of a listing; what cannot be used is left out, and told."""
    left_out = dict(listing.lonely)

    def each(items: Sequence[Item], load: Callable[[str], npt.NDArray[Any]]) -> list[Any]:
        loaded: list[npt.NDArray[Any] | None] = []
        for item in items:
            try:
                loaded.append(load(item.file))
            except (audio.AudioError, pictures.PictureError) as error:
                loaded.append(None)
                left_out[item.file] = str(error).removeprefix(f"{item.file}: ")
            progress.advance()
        return loaded

    with bar("reading sounds and images", len(listing.sounds) + len(listing.images)) as progress:
        waves = each(listing.sounds, lambda file: audio.load(file, rate=form.rate, trim=False))
        pixels = each(listing.images, lambda file: pictures.load(file, form.size, form.channels))
    whole = [waves[s] is not None and pixels[i] is not None for s, i in listing.edges.tolist()]
    edges = listing.edges[np.array(whole, bool)]
    return Found(listing.sounds, waves, listing.images, pixels, edges, listing.classed, left_out)
