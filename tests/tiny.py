"""A batch small enough to check by hand, and a world small enough to score at once."""

from collections.abc import Sequence

import torch

from synesthete import evaluate
from synesthete.data import toy
from synesthete.data.batches import Batch
from synesthete.data.labels import Labels


def batch_of(audio_of: Sequence[int], weight: Sequence[float] | None = None) -> Batch:
    """Random sounds and images, an image for each of `audio_of`; weights from 0.5 to 1.5."""
    rng = torch.Generator().manual_seed(5)
    count = len(audio_of)
    return Batch(
        audio=torch.rand(max(audio_of) + 1, 1, 48, 48, generator=rng),
        image=torch.rand(count, 1, 28, 28, generator=rng),
        audio_of=torch.tensor(audio_of),
        weight=torch.tensor(weight) if weight else torch.linspace(0.5, 1.5, count),
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
