"""Batches, sounds, models and worlds small enough for a test."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from synesthete import config, evaluate, family
from synesthete.artefact import Artefact
from synesthete.data import toy
from synesthete.data.batches import Batch
from synesthete.data.labels import Labels
from synesthete.family import Shapes
from synesthete.generate import Model


def batch_of(audio_of: Sequence[int], weight: Sequence[float] | None = None) -> Batch:
    """Random sounds and images, an image for each of `audio_of`; weights from 0.5 to 1.5."""
    rng = torch.Generator().manual_seed(5)
    count = len(audio_of)
    return Batch(
        audio=torch.rand(max(audio_of) + 1, 1, 48, 48, generator=rng),
        image=torch.rand(count, 1, 28, 28, generator=rng),
        audio_of=torch.tensor(audio_of),
        weight=torch.tensor(weight) if weight else torch.linspace(0.5, 1.5, count),
        plain=torch.rand(max(audio_of) + 1, 1, 48, 48, generator=rng),
    )


def toy_exam(classes: int, recordings: int, images: int) -> evaluate.Exam:
    """The exam of a toy world whose shapes pass for digits."""
    alignment, labels = toy.build(classes=classes, recordings=recordings, images=images)
    digit = {name: str(i) for i, name in enumerate(labels.classes)}
    named = Labels(
        {k: digit[v] for k, v in labels.audio.items()},
        {k: digit[v] for k, v in labels.images.items()},
        labels.groups,
    )
    return evaluate.prepare(alignment, named)


def artefact_of(
    preset: str = "deck-vae", image: tuple[int, int, int] = (1, 28, 28), **sections: Any
) -> Artefact:
    """What a run by a preset, with other `sections`, would have made had it not trained."""
    torch.manual_seed(0)
    recipe, shapes = config.from_table({**config.read(preset), **sections}), Shapes(image=image)
    told = {"seed": 5, "steps": 1, "seconds": 0.5, "command": "", "torch": "", "threads": 1}
    return Artefact(family.from_preset(recipe, shapes).eval(), recipe, shapes, told, {})


def untrained(preset: str = "deck-vae", image: tuple[int, int, int] = (1, 28, 28)) -> Model:
    """A generator where what it draws does not matter."""
    return Model(artefact_of(preset, image))


def tone(hertz: float, seconds: float = 0.4) -> NDArray[np.float32]:
    """A sine at half of full scale, 8 kHz."""
    time = np.arange(int(8_000 * seconds)) / 8_000
    return (0.5 * np.sin(2 * np.pi * hertz * time)).astype(np.float32)
