"""Look at a recording: drawings, what a judge reads in them, real images that are like them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from synesthete import artefact, judges, matching
from synesthete.data import audio, mnist
from synesthete.data.audio import AudioError, Wave
from synesthete.data.sources import Unavailable
from synesthete.errors import UserError
from synesthete.family import Generator, Matcher
from synesthete.generate import Model
from synesthete.pixels import Pixels
from synesthete.progress import console
from synesthete.retrieve import Gallery, gallery

LIMITS = replace(audio.LIMITS, max_bytes=16_000_000)
"""What is accepted from strangers: 30 s of a browser's 16-bit stereo at 96 kHz, and some more."""


@dataclass(frozen=True)
class Reading:
    """What the LeNet5 judge sees in n images. It is for display: nothing is drawn by it."""

    digits: NDArray[np.int64]
    """int64[n], the digit read in each."""
    confidence: NDArray[np.float32]
    """float32[n] in 0..1, the probability that the judge gives it."""

    @property
    def digit(self) -> int:
        """What is read most often."""
        return int(np.bincount(self.digits).argmax())

    @property
    def count(self) -> int:
        """In how many images that is."""
        return int((self.digits == self.digit).sum())


class RealImages:
    """Real images, searched by the distance of their pixels; labels play no part."""

    def __init__(self, images: Pixels) -> None:
        self.images = images
        self._flat = _flat(images)
        self._squares = self._flat.square().sum(1)

    @torch.inference_mode()
    def nearest(self, drawn: Pixels) -> Pixels:
        """For each of uint8[n, H, W], the real image at the least L2 distance."""
        distance = self._squares - 2 * _flat(drawn) @ self._flat.T
        found: Pixels = self.images[distance.argmin(1).numpy()]
        return found


def _flat(images: Pixels) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(images)).flatten(1).float() / 255


class Viewer:
    """Models that hear the same recordings, and what their drawings are compared with."""

    def __init__(
        self,
        models: Mapping[str, Model],
        *,
        matcher: tuple[matching.Model, Gallery] | None = None,
        real: RealImages | None = None,
    ) -> None:
        self.models = models
        self.matcher = matcher
        self.real = real
        self._judge = judges.load_judge("lenet5")

    def model(self, name: str | None = None) -> Model:
        """The model of that name, or the first.

        Raises:
            UserError: there is none.
        """
        if name and name not in self.models:
            raise UserError(f"no model '{name}' here; there are: {', '.join(self.models)}")
        return self.models[name] if name else next(iter(self.models.values()))

    def hear(self, path: str, rate: int) -> Wave:
        """The prepared waveform float32[T], at a model's `rate`, of a file that a stranger sent.

        Raises:
            AudioError: it cannot be used; the message has its name without the folder.
        """
        try:
            return audio.load(path, limits=LIMITS, rate=rate)
        except AudioError as error:
            raise type(error)(str(error).replace(path, Path(path).name)) from error

    def read(self, images: Pixels) -> Reading | None:
        """What the judge reads in uint8[n, H, W]; None where these are not like MNIST's."""
        if images.shape[1:] != (28, 28):
            return None
        _, probabilities = judges.read(self._judge, images)
        return Reading(probabilities.argmax(1), probabilities.max(1))

    def found(self, path: str, drawn: Pixels) -> Pixels | None:
        """Real images: those that the matcher finds, else the nearest to the drawn; None: none."""
        if self.matcher:
            model, gallery = self.matcher
            assert gallery.pictures is not None
            heard = model.embed_audio(model.spectrogram([self.hear(path, model.rate)]))
            scores = model.match(heard, gallery.embedding)[0]
            return gallery.pictures[np.argsort(-scores, kind="stable")[: len(drawn)]]
        if self.real is None or drawn.shape[1:] != self.real.images.shape[1:]:
            return None
        return self.real.nearest(drawn)


def split(names: Sequence[str]) -> tuple[dict[str, Model], matching.Model | None]:
    """The models that draw, by name, and the first that matches, of runs, artefacts and names.

    Raises:
        UserError: a model does neither, or none draws.
    """
    drawing: dict[str, Model] = {}
    matcher = None
    for name in names:
        held = artefact.read(name)
        if isinstance(held.model, Matcher):
            matcher = matcher or matching.Model(held)
        elif isinstance(held.model, Generator):
            drawing[name.rstrip("/")] = Model(held)
        else:
            raise UserError(f"{name}: a {held.preset.family} has no use for sound")
    if not drawing:
        raise UserError(f"{', '.join(names)}: none of these draws; add one that does: digits")
    return drawing, matcher


def load(names: Sequence[str], pairs: Callable[[artefact.Artefact], Path]) -> Viewer:
    """The models of `names`, with what is on this machine to compare their drawings with.

    Real images come from the alignment `pairs` of the first model that matches, where there is
    one, else from MNIST's train images; nothing is fetched for these.

    Raises:
        UserError: as `split`.
    """
    models, matcher = split(names)
    if matcher:
        return Viewer(models, matcher=(matcher, gallery(matcher, pairs(matcher.artefact))))
    try:
        return Viewer(models, real=RealImages(mnist.load(remote=False).train_images))
    except Unavailable as error:
        console.print(f"no real images beside the drawn ones: {error}", style="dim")
        return Viewer(models)
