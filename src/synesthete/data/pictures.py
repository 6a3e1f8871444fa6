"""Turn any image (file or array) into pixels of one size, grey or RGB."""

import os
import warnings
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from synesthete.errors import UserError

MAX_BYTES = 100_000_000
"""Largest image file, bytes, before it is read."""

Pixels = npt.NDArray[np.uint8]


class PictureError(UserError):
    """An image that cannot be used; the message names it and says why."""


def load(path: str | os.PathLike[str], size: int, channels: int) -> Pixels:
    """Load an image file (png, jpeg, gif, webp, tiff, …) as `fitted` does; the first of several.

    Turned as its camera says; what is transparent counts as black; 16-bit grey keeps its upper 8.
    Raises PictureError.
    """
    try:
        if Path(path).stat().st_size > MAX_BYTES:
            raise PictureError(f"{path}: more than {MAX_BYTES} bytes")
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as file:
                return fitted(_flat(ImageOps.exif_transpose(file)), size, channels)
    except (
        OSError, SyntaxError, ValueError, EOFError,
        Image.DecompressionBombError, Image.DecompressionBombWarning,
    ) as error:  # fmt: skip
        raise PictureError(f"{path}: not an image that can be decoded ({error})") from error


def fitted(image: Image.Image, size: int, channels: int) -> Pixels:
    """The largest square around the middle of an image, as uint8[channels, size, size]."""
    square = ImageOps.fit(image.convert("L" if channels == 1 else "RGB"), (size, size))
    pixels = np.asarray(square).reshape(size, size, channels)
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))


def _flat(image: Image.Image) -> Image.Image:
    """The image without transparency, in 8 bits a channel."""
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if not image.has_transparency_data:
        return image
    rgba = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), rgba)
