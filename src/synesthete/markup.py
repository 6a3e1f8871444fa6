"""What the page shows, as HTML: the sound, a grid of images, downloads, notices."""

import base64
import io
import zipfile
from html import escape

import numpy as np

from synesthete import figures
from synesthete.artefact import Artefact
from synesthete.data.audio import Wave
from synesthete.figures import Floats
from synesthete.pixels import Pixels, tile
from synesthete.viewer import Reading

ENLARGED = 4
"""Pixels of a downloaded sheet that a pixel of an image takes, across and down."""


def header() -> str:
    """The title and the one sentence."""
    return (
        "<header><h1>synesthete</h1><p>Say a digit, zero to nine, and see what a model that learnt "
        "from sounds and images alone, without labels, draws for it.</p></header>"
    )


def heading(title: str, text: str) -> str:
    """A heading and a line beneath it."""
    return f"<h3>{escape(title)}</h3><p>{escape(text)}</p>"


def about(name: str, held: Artefact) -> str:
    """Which model it is that the images beneath are by."""
    return heading(name, f"{held.preset.family}, {held.parameters:,} parameters")


def sound(wave: Wave, rate: int, spectrogram: Floats) -> str:
    """The waveform float32[T] at `rate` above the spectrogram float[bands, columns] in 0..1."""
    picture = figures.data_uri(figures.spectrogram(spectrogram))
    return (
        f'<figure class="sound">{figures.waveform(wave)}'
        f'<img class="mel" src="{picture}" alt="mel spectrogram">'
        f"<figcaption>What is heard: {len(wave) / rate:.2f} s, as a waveform and as the mel "
        "spectrogram that the model sees.</figcaption></figure>"
    )


def grid(images: Pixels, reading: Reading | None = None, kind: str = "drawn") -> str:
    """Images uint8[n, H, W] (or [..., 3]); below each what is read in it."""
    cells = []
    for index, image in enumerate(images):
        told = _told(reading, index) if reading else ""
        alt = f"{kind} image {index + 1}" + (f", read as {told}" if told else "")
        caption = f"<figcaption>{told}</figcaption>" if told else ""
        cells.append(f"<figure>{_picture(image, alt)}{caption}</figure>")
    return f'<div class="grid">{"".join(cells)}</div>'


def verdict(reading: Reading | None) -> str:
    """What the judge reads, in a sentence."""
    if reading is None:
        return ""
    agreed = reading.digits == reading.digit
    sure = float(reading.confidence[agreed].mean())
    return (
        f'<p class="verdict"><b>{reading.digit}</b> <span>is what LeNet5 reads in {reading.count} '
        f"of {len(reading.digits)} images, with {sure:.0%} confidence on average. It only looks "
        "on: nothing is drawn by it.</span></p>"
    )


def downloads(images: Pixels) -> str:
    """Links to the images as one sheet and as a zip of files, which the page itself holds."""
    columns = int(np.ceil(np.sqrt(len(images))))
    sheet = tile(images, columns, gap=1).repeat(ENLARGED, 0).repeat(ENLARGED, 1)
    return (
        '<p class="downloads">'
        f"{_link('drawn.png', 'image/png', figures.png(sheet), 'Download as one picture')}"
        f"{_link('drawn.zip', 'application/zip', _zip(images), 'Download as files')}</p>"
    )


def strip(images: Pixels, position: float) -> str:
    """The way between two recordings, uint8[P, H, W]; the image nearest to `position` is marked."""
    here = round(position * (len(images) - 1))
    cells = [
        f'<figure class="{"here" if index == here else ""}">'
        f"{_picture(image, f'{index / (len(images) - 1):.0%} of the way')}</figure>"
        for index, image in enumerate(images)
    ]
    return f'<div class="strip">{"".join(cells)}</div>'


def notice(text: str, *, wrong: bool = False) -> str:
    """A sentence instead of pictures; read out at once where something is `wrong`."""
    role = 'role="alert" class="notice wrong"' if wrong else 'class="notice"'
    return f"<p {role}>{escape(text)}</p>"


def _told(reading: Reading, index: int) -> str:
    return f"{reading.digits[index]} · {reading.confidence[index]:.0%}"


def _picture(image: Pixels, alt: str) -> str:
    """An image as ink on paper, or as it is where in colour."""
    source = figures.data_uri(figures.ink(image) if image.ndim == 2 else image)
    kind = "ink" if image.ndim == 2 else ""
    return f'<img class="{kind}" src="{source}" alt="{escape(alt)}">'


def _link(name: str, kind: str, data: bytes, text: str) -> str:
    held = base64.b64encode(data).decode()
    return f'<a download="{name}" href="data:{kind};base64,{held}">{text}</a>'


def _zip(images: Pixels) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for index, image in enumerate(images):
            archive.writestr(zipfile.ZipInfo(f"drawn-{index + 1:02}.png"), figures.png(image))
    return buffer.getvalue()
