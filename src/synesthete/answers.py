"""What the page answers to a recording or a slider: HTML for people, data for programs."""

from collections.abc import Iterator
from typing import Any

from torch import Tensor

from synesthete import markup
from synesthete.errors import UserError
from synesthete.generate import Model, check
from synesthete.pixels import Pixels
from synesthete.viewer import Viewer

SHOWN = 16
"""Images of a recording."""
BESIDE = 8
"""Images a model where models are compared, images of a morph, real images."""
STEPS = 9
"""Images on the way between two recordings."""
MOST = 64
"""Images that a program may ask for at a time."""

SPEAK = "Say a digit or pick an example, and the images appear here."
ALONE = "One model alone: name more, such as `synesthete app digits runs/archetype`, to compare."
MORPH = "Give a second recording, and see the way from the first to it."

Seen = tuple[str, str, str | None]
Drawn = tuple[list[Pixels], dict[str, Any]]


class Answers:
    """Each method answers one event; none keeps anything of a visitor."""

    def __init__(self, viewer: Viewer) -> None:
        self.viewer = viewer

    def see(self, recording: str | None, diversity: float) -> Iterator[Seen]:
        """The sound and the drawings at once; then downloads and real images, None until then."""
        model = self.viewer.model()
        try:
            if not recording:
                raise Nothing(SPEAK)
            wave = self.viewer.hear(recording, model.rate)
        except UserError as error:
            yield "", _sorry(error), ""
            return
        heard = model.spectrogram([wave])
        images = model.sample(heard, SHOWN, diversity=diversity)[0]
        reading = self.viewer.read(images)
        sound = markup.sound(wave, model.rate, heard[0, 0].numpy())
        drawn = markup.verdict(reading) + markup.grid(images, reading)
        yield sound, drawn, None
        yield sound, drawn, markup.downloads(images) + self._real(recording, images[:BESIDE])

    def compare(self, recording: str | None, diversity: float) -> str:
        """What each of several models draws for the sound, from the same seed."""
        try:
            if len(self.viewer.models) == 1:
                raise Nothing(ALONE)
            if not recording:
                raise Nothing(SPEAK)
            parts = []
            for name, model in self.viewer.models.items():
                wave = self.viewer.hear(recording, model.rate)
                images = model.draw([wave], BESIDE, diversity=diversity)[0]
                reading = self.viewer.read(images)
                parts += [markup.about(name, model.artefact), markup.grid(images, reading)]
            return "".join(parts)
        except UserError as error:
            return _sorry(error)

    def morph(
        self, first: str | None, second: str | None, position: float, diversity: float
    ) -> str:
        """The way from one recording to another, and images at one place on it."""
        model = self.viewer.model()
        try:
            if not (first and second):
                raise Nothing(MORPH)
            ends = self._ends(model, first, second)
        except UserError as error:
            return _sorry(error)
        places = [step / (STEPS - 1) for step in range(STEPS)]
        way = model.morph(ends, places, 1, diversity=diversity)[:, 0]
        images = model.morph(ends, [position], BESIDE, diversity=diversity)[0]
        return markup.strip(way, position) + markup.grid(images, self.viewer.read(images))

    def generate(
        self, recording: str, n: int, diversity: float, seed: int, model: str | None
    ) -> Drawn:
        """`n` images for a recording, and what the judge reads in them."""
        _check(n, diversity)
        chosen = self.viewer.model(model)
        wave = self.viewer.hear(_given(recording), chosen.rate)
        return self._told(chosen.draw([wave], n, seed=seed, diversity=diversity)[0])

    def between(
        self,
        recording: str,
        second: str,
        position: float,
        n: int,
        diversity: float,
        seed: int,
        model: str | None,
    ) -> Drawn:
        """`n` images at a `position` (0 to 1) on the way from a recording to the second."""
        _check(n, diversity)
        if not 0 <= position <= 1:
            raise UserError(f"position is {position}, wanted 0 to 1")
        chosen = self.viewer.model(model)
        ends = self._ends(chosen, _given(recording), _given(second))
        return self._told(chosen.morph(ends, [position], n, seed=seed, diversity=diversity)[0])

    def nearest(self, recording: str, n: int) -> list[Pixels]:
        """`n` real images for a recording."""
        _check(n, 1.0)
        model = self.viewer.model()
        wave = self.viewer.hear(_given(recording), model.rate)
        found = self.viewer.found(recording, model.draw([wave], n)[0])
        if found is None:
            raise UserError(NO_REAL)
        return list(found)

    def _told(self, images: Pixels) -> Drawn:
        reading = self.viewer.read(images)
        if reading is None:
            return list(images), {}
        return list(images), {
            "digit": reading.digit,
            "digits": reading.digits.tolist(),
            "confidence": [round(float(sure), 4) for sure in reading.confidence],
        }

    def _real(self, recording: str, drawn: Pixels) -> str:
        found = self.viewer.found(recording, drawn)
        if found is None:
            return markup.notice(NO_REAL)
        how = MATCHED if self.viewer.matcher else NEAREST
        return markup.heading("Real images", how) + markup.grid(found, kind="real")

    def _ends(self, model: Model, first: str, second: str) -> Tensor:
        return model.spectrogram([self.viewer.hear(path, model.rate) for path in (first, second)])


class Nothing(UserError):
    """Nothing was said yet: no fault."""


NEAREST = "Of MNIST's train images, the nearest to each of the first, pixel by pixel."
MATCHED = "Found for this sound by the model that matches sounds with images."
NO_REAL = (
    "No real images to compare with: MNIST is not on this machine (`synesthete fetch mnist` brings "
    "it), or the model draws others than MNIST's."
)


def _sorry(error: UserError) -> str:
    return markup.notice(str(error), wrong=not isinstance(error, Nothing))


def _given(recording: str | None) -> str:
    if not recording:
        raise UserError("no recording; wanted a sound file")
    return recording


def _check(n: int, diversity: float) -> None:
    check(n, diversity)
    if n > MOST:
        raise UserError(f"n is {n}, wanted at most {MOST} images")
