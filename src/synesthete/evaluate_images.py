"""Score a model of images alone: what it makes of noise, and of the images that it is shown."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from synesthete import metrics
from synesthete.artefact import Artefact
from synesthete.errors import UserError
from synesthete.evaluate import (
    KEYS,
    Exam,
    Images,
    Reading,
    Scorecard,
    averaged,
    distances,
    judged,
    plain,
)
from synesthete.family import ImageModel, noise
from synesthete.generate import to_uint8
from synesthete.progress import bar, busy

EXTRA = ("reconstruction_error", "reconstruction_agreement")
"""What the scorecard holds beside `evaluate.KEYS`; null where there is no encoder."""

BATCH = 500
"""Images that go through the network at a time."""


@dataclass(frozen=True)
class Answer:
    """Pictures, and what is scored of them."""

    images: Images
    """uint8[E, 28, 28], drawn from noise, as many as there are pairs."""
    redrawn: Images | None
    """uint8[E, 28, 28], the image of each pair redrawn; None where there is no encoder."""
    reading: Reading
    """Of `images`."""
    scorecard: Scorecard


def evaluate(held: Artefact, exam: Exam, seed: int = 0) -> Answer:
    """The scorecard of one model of images, with the pictures behind it.

    Raises:
        UserError: the model is none.
    """
    if not isinstance(held.model, ImageModel):
        raise UserError(f"{held.name}: a {held.preset.family} is no model of images alone")
    images, seconds = draw(held.model, len(exam.wanted), seed)
    redrawn = redraw(held.model, exam.real_images)
    with busy("scoring"):
        answer = score(exam, images, redrawn, seed)
    answer.scorecard.update(
        model=held.preset.name,
        seed=held.training["seed"],
        parameters=held.parameters,
        seconds_per_image=seconds,
    )
    return answer


def pool(answers: Sequence[Answer]) -> Scorecard:
    """One scorecard for several training seeds of one recipe: means, and the list of seeds."""
    cards = [answer.scorecard for answer in answers]
    return cards[0] if len(cards) == 1 else averaged(cards)


@torch.inference_mode()
def draw(model: ImageModel, count: int, seed: int = 0) -> tuple[Images, float]:
    """uint8[count, H, W] from noise keyed by (seed, image), and the seconds that one took."""
    parts = []
    started = time.perf_counter()
    with bar("drawing", count) as progress:
        for first in range(0, count, BATCH):
            rows = min(BATCH, count - first)
            parts.append(to_uint8(model.draw(noise(seed, first, rows, 1, model.noise_size)[:, 0])))
            progress.advance(rows)
    return np.concatenate(parts), (time.perf_counter() - started) / count


@torch.inference_mode()
def redraw(model: ImageModel, images: Images) -> Images | None:
    """What the model makes of images uint8[N, H, W]: the like, or None without an encoder."""
    parts = []
    for part in torch.from_numpy(images).split(BATCH):  # type: ignore[no-untyped-call]
        redrawn = model.reconstruct(part.unsqueeze(1).float() / 255)
        if redrawn is None:
            return None
        parts.append(to_uint8(redrawn))
    return np.concatenate(parts)


def score(exam: Exam, images: Images, redrawn: Images | None = None, seed: int = 0) -> Answer:
    """Score images uint8[N, 28, 28] drawn from noise, and the pairs' images redrawn, uint8[E, …].

    No drawing belongs to a pair: all that asks for a pair's digit or recording is null, and
    `memorised_fraction` takes the images as of one class. The exam's own entries (`split`,
    `n_recordings`, `judge_accuracy`, …) are those of every other model's scorecard.
    """
    reading, rng = judged(images), np.random.default_rng(seed)
    provenance = exam.alignment.provenance
    card: Scorecard = {
        **dict.fromkeys((*KEYS, *EXTRA)),
        "audio_source": provenance.get("audio_source"),
        "split": provenance.get("split"),
        "n_pairs": len(exam.wanted),
        "n_recordings": len(np.unique(exam.recordings)),
        "judge_accuracy": float((exam.real.read == exam.wanted).mean()),
        **distances(reading, exam, rng),
        "memorised_fraction": metrics.memorised_fraction(
            images, exam.train_images, exam.real_images
        ),
    }
    if redrawn is not None:
        card |= reconstruction(exam, redrawn)
    return Answer(images, redrawn, reading, {k: plain(v) for k, v in card.items()})


def reconstruction(exam: Exam, redrawn: Images) -> Scorecard:
    """How near the pairs' images redrawn, uint8[E, 28, 28], come to the real ones.

    `reconstruction_error` is the mean squared error a pixel, of pixels in 0..1;
    `reconstruction_agreement` the share that the judge reads as their digit.
    """
    difference = (redrawn.astype(np.float32) - exam.real_images) / 255
    return {
        "reconstruction_error": float(np.square(difference).mean()),
        "reconstruction_agreement": float((judged(redrawn).read == exam.wanted).mean()),
    }
