"""What a node is: 16-bit sound or 8-bit pixels, the id made of them, the file that holds them."""

import hashlib
import io
import struct
from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import soundfile
from PIL import Image

FULL_SCALE = 32_768  # the 16-bit sample that would be 1.0
ID_DIGITS = 16  # hexadecimal: 64 bits of a SHA-256
PNG = b"\x89PNG\r\n\x1a\n"


def to_16_bit(waveform: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.int16]:
    """Round [T] in -1..1 to int16[T] (little-endian); 1.0 itself becomes the largest sample."""
    steps = np.rint(np.asarray(waveform, np.float64) * FULL_SCALE)
    return np.clip(steps, -FULL_SCALE, FULL_SCALE - 1).astype("<i2")


def from_16_bit(samples: npt.NDArray[np.int16]) -> npt.NDArray[np.float32]:
    """Turn int16[T] into float32[T] in -1..1, exactly."""
    return samples.astype(np.float32) / np.float32(FULL_SCALE)


def opaque(name: str) -> str:
    """Return the id that stands for a name: the same name has the same id everywhere."""
    return hashlib.sha256(name.encode()).hexdigest()[:ID_DIGITS]


def content_ids(items: Iterable[npt.NDArray[Any]]) -> list[str]:
    """Return an id for each waveform (floats, read at 16 bits) or image (uint8) from its bytes."""
    kept = (to_16_bit(item) if item.dtype.kind == "f" else item for item in items)
    return [hashlib.sha256(item.tobytes()).hexdigest()[:ID_DIGITS] for item in kept]


def unique_ids(items: Iterable[npt.NDArray[Any]]) -> list[str]:
    """Return content ids, except that the n-th further copy of a content has one of its own."""
    copies: Counter[str] = Counter()
    unique = []
    for name in content_ids(items):
        unique.append(opaque(f"{name} {copies[name]}") if copies[name] else name)
        copies[name] += 1
    return unique


def waveform_fault(waveform: npt.NDArray[Any]) -> str:
    """Say what keeps an array from being a waveform, float32[T] in -1..1; empty if nothing."""
    if waveform.ndim != 1 or waveform.size == 0 or waveform.dtype != np.float32:
        return f"is {waveform.dtype}{[*waveform.shape]}, wanted float32[T > 0]"
    return "" if np.abs(waveform).max() <= 1 else "is not finite or leaves -1..1"


def images_fault(images: npt.NDArray[Any]) -> str:
    """Say what keeps an array from being images, uint8[I, C, H, W]; empty if nothing."""
    fits = images.ndim == 4 and images.dtype == np.uint8 and images.shape[1] in (1, 3)
    if fits and min(images.shape[2:]) > 0:
        return ""
    return f"{images.dtype}{[*images.shape]}, wanted uint8[I, 1 (grey) or 3 (RGB), H, W]"


def to_flac(waveform: npt.NDArray[np.floating[Any]], rate: int) -> bytes:
    """Encode [T] in -1..1 as a mono 16-bit FLAC file: lossless for what is 16-bit already."""
    file = io.BytesIO()
    soundfile.write(file, to_16_bit(waveform), rate, format="FLAC", subtype="PCM_16")
    return file.getvalue()


def from_flac(
    data: bytes, rate: int, samples: int, *, fewer: bool = False
) -> npt.NDArray[np.float32]:
    """Decode a FLAC file to float32[samples] (or `fewer`); ValueError if it holds anything else."""
    if not data.startswith(b"fLaC"):
        raise ValueError("a recording cannot be decoded (it is no FLAC file)")
    try:
        with soundfile.SoundFile(io.BytesIO(data)) as file:
            found = file.format, file.subtype, file.channels, file.samplerate, file.frames
            if fewer and 0 < file.frames < samples:
                samples = file.frames
            if found != ("FLAC", "PCM_16", 1, rate, samples):
                raise ValueError(f"a recording is {found}, wanted {samples} samples at {rate} Hz")
            return from_16_bit(file.read(dtype="int16"))
    except soundfile.SoundFileError as error:
        raise ValueError(f"a recording cannot be decoded ({error})") from error


def to_png(image: npt.NDArray[np.uint8]) -> bytes:
    """Encode uint8[C, H, W], grey or RGB, as a PNG file."""
    pixels = image[0] if len(image) == 1 else image.transpose(1, 2, 0)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", compress_level=1)
    return file.getvalue()


def from_png(data: bytes, shape: tuple[int, ...]) -> npt.NDArray[np.uint8]:
    """Decode a PNG file to uint8[C, H, W] of that shape; ValueError if it holds anything else."""
    channels, height, width = shape
    if data[:8] != PNG or data[16:24] != struct.pack(">II", width, height):
        raise ValueError(f"an image is no PNG of {width}x{height}")
    try:
        with Image.open(io.BytesIO(data), formats=["PNG"]) as file:
            found = file.mode, file.size
            if found != ("L" if channels == 1 else "RGB", (width, height)):
                raise ValueError(f"an image is {found}, wanted [C, H, W] = {[*shape]}")
            pixels = np.asarray(file)
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"an image cannot be decoded ({error})") from error
    return pixels.reshape(height, width, channels).transpose(2, 0, 1)
