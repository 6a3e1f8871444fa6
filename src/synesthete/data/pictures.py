"""Turn any image (file or array) into pixels of one size, grey or RGB."""

import os
import warnings
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from synesthete.errors import UserError

FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
"""Pillow's readers that may look at a file: none that starts a program, as that of EPS does."""
MAX_BYTES = 100_000_000
"""Largest image file, bytes, before it is read."""
MAX_PIXELS = 50_000_000
"""Largest image, before it is decoded."""

Pixels = npt.NDArray[np.uint8]


class PictureError(UserError):
    """An image that cannot be used; the message names it and says why."""


def load(path: str | os.PathLike[str], size: int, channels: int) -> Pixels:
    """Load an image file (of `FORMATS`) as `fitted` does; the first of several.

    Turned as its camera says; what is transparent counts as black; 16-bit grey keeps its upper 8.
    Raises PictureError.
    """
    try:
        if Path(path).stat().st_size > MAX_BYTES:
            raise PictureError(f"{path}: more than {MAX_BYTES:,} bytes")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it is either usable or an error
            with Image.open(path, formats=FORMATS) as file:
                if file.width * file.height > MAX_PIXELS:
                    raise PictureError(f"{path}: more than {MAX_PIXELS:,} pixels")
                return fitted(_flat(ImageOps.exif_transpose(file)), size, channels)
    except PictureError:
        raise
    except Exception as error:  # of a damaged file, Pillow raises what it meets
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
