"""A batch small enough to check by hand."""

from collections.abc import Sequence

import torch

from synesthete.data.batches import Batch


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
