"""The deck's picture types: drawings, real images, reconstructions, interpolations, neighbours."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from synesthete import figures
from synesthete.data.batches import spectrograms
from synesthete.evaluate import DIGITS, Answer, Exam
from synesthete.evaluate_images import Answer as ImagesAnswer
from synesthete.family import noise
from synesthete.files import whole_file
from synesthete.generate import Model, to_uint8
from synesthete.matching import Model as MatchingModel
from synesthete.pixels import tile

Images = NDArray[np.uint8]

COLUMNS = 16
"""Images in a row of a sheet."""
SCALE = 2
"""Screen pixels a side for each pixel of an image."""
JOURNEYS = ((0, 6), (1, 7), (3, 8), (4, 9), (2, 5))
"""Digits between whose recordings an interpolation goes."""


def save(name: str, sheets: Mapping[str, Images], out: Path) -> None:
    """Write each sheet as `out/figures/NAME-KIND.png`."""
    for kind, sheet in sheets.items():
        with whole_file(path(name, kind, out)) as draft:
            large = sheet.repeat(SCALE, axis=0).repeat(SCALE, axis=1)
            Image.fromarray(large).save(draft, "PNG", optimize=True)


def path(name: str, kind: str, out: Path) -> Path:
    """Where a sheet lies."""
    return out / "figures" / f"{name}-{kind}.png"


def of_generator(model: Model, exam: Exam, answer: Answer) -> dict[str, Images]:
    """Drawings for train and test recordings, beside real images, and on the way between two."""
    rng = np.random.default_rng(0)
    shown = rng.permutation(len(exam.wanted))[: 4 * COLUMNS]
    config = model.artefact.preset.spectrogram
    heard = rng.permutation(len(exam.train.audio_ids))[: 8 * COLUMNS]
    train = spectrograms(exam.train, config)[heard]
    return {
        "last-epoch": tile(model.sample(train, 1)[:, 0], COLUMNS, gap=2),
        "test": by_digit(answer.images, exam),
        "reconstruction": alternating(exam.real_images[shown], answer.images[shown]),
        "interpolation": interpolation(model, spectrograms(exam.alignment, config), exam),
    }


def of_images(answer: ImagesAnswer, exam: Exam) -> dict[str, Images]:
    """Images drawn from noise and, where there is an encoder, test images above their redrawing."""
    sheets = {"samples": tile(answer.images[: 8 * COLUMNS], COLUMNS, gap=2)}
    if answer.redrawn is not None:
        shown = np.random.default_rng(0).permutation(len(answer.redrawn))[: 4 * COLUMNS]
        sheets["reconstruction"] = alternating(exam.real_images[shown], answer.redrawn[shown])
    return sheets


def of_matcher(model: MatchingModel, exam: Exam) -> dict[str, Images]:
    """A recording of each digit with the test images that it finds first, best to the left."""
    side, rows = exam.alignment, first_of_each(exam)
    pictures = spectrograms(side, model.artefact.preset.spectrogram)[rows]
    scores = model.match(model.embed_audio(pictures), model.embed_image(side.images))
    lines = []
    for picture, found in zip(pictures, scores, strict=True):
        nearest = side.images[np.argsort(-found, kind="stable")[: COLUMNS - 2], 0]
        colours = np.repeat(tile(nearest, COLUMNS, gap=2)[..., None], 3, axis=2)
        heard = figures.spectrogram(picture[0].numpy())
        band = np.zeros((len(heard), colours.shape[1], 3), np.uint8)
        top = (len(heard) - len(colours)) // 2
        band[top : top + len(colours)] = colours
        lines.append(np.concatenate([heard, np.zeros((len(heard), 4, 3), np.uint8), band], axis=1))
    return {"neighbours": np.concatenate(lines)}


def real_train(exam: Exam) -> Images:
    """A sheet of real images from the training set."""
    rows = np.random.default_rng(0).permutation(len(exam.train_images))[: 8 * COLUMNS]
    return tile(exam.train_images[rows], COLUMNS, gap=2)


def by_digit(images: Images, exam: Exam) -> Images:
    """A row a digit of images uint8[E, 28, 28], chosen blindly among the test pairs."""
    order = np.random.default_rng(1).permutation(len(images))
    rows = [order[exam.wanted[order] == c][:COLUMNS] for c in range(len(DIGITS))]
    return tile(images[np.concatenate(rows)], COLUMNS, gap=2)


def alternating(above: Images, below: Images) -> Images:
    """A row of `above`, a row of `below`, and so on: actual and reconstructed."""
    pairs = [
        part[i : i + COLUMNS] for i in range(0, len(above), COLUMNS) for part in (above, below)
    ]
    return tile(np.concatenate(pairs), COLUMNS, gap=2)


@torch.inference_mode()
def interpolation(model: Model, audio: torch.Tensor, exam: Exam) -> Images:
    """From a recording's code to another's in even steps, noise held: a row a journey."""
    rows = first_of_each(exam)
    codes = model.generator.encode(audio[rows])
    along = torch.linspace(0, 1, COLUMNS)[:, None]
    lines = []
    for number, (start, end) in enumerate(JOURNEYS):
        code = (1 - along) * codes[start] + along * codes[end]
        held = noise(0, number, 1, 1, model.generator.noise_size)[0].expand(COLUMNS, -1)
        lines.append(to_uint8(model.generator.decode(code, held)))
    return tile(np.concatenate(lines), COLUMNS, gap=2)


def first_of_each(exam: Exam) -> NDArray[np.int64]:
    """A test recording of each digit, chosen blindly: int64[10]."""
    order = np.random.default_rng(2).permutation(len(exam.heard))
    return np.array([order[exam.heard[order] == c][0] for c in range(len(DIGITS))])
