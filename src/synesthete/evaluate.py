"""Score a model on the test side of an alignment: the scorecard, and the baselines beside it."""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from synesthete import metrics
from synesthete.data.alignment import Alignment
from synesthete.data.batches import spectrograms
from synesthete.data.labels import Labels
from synesthete.engines import HERE, Engine
from synesthete.errors import UserError
from synesthete.family import noise
from synesthete.generate import IMAGES, Model, to_uint8
from synesthete.judges import load_judge, read
from synesthete.progress import bar, busy

SAMPLES = 16
"""Images a recording, for consistency and diversity within a recording."""

RECORDINGS = 8
"""Recordings whose images are drawn at a time, wherever that is."""

KEYS = (
    "model", "audio_source", "split", "seed", "n_pairs", "n_recordings", "agreement",
    "agreement_ci95", "agreement_per_class", "agreement_per_speaker", "second_judge_agreement",
    "judge_accuracy", "consistency", "fld", "fld_floor", "kid", "precision", "recall", "density",
    "coverage", "coverage_floor", "diversity_ratio", "diversity_within_recording",
    "memorised_fraction", "parameters", "seconds_per_image",
)  # fmt: skip
"""What `evaluate --json` holds, in order; a value that does not apply is null."""

DIGITS = tuple(map(str, range(10)))
"""What the judges read."""

Images = NDArray[np.uint8]
Rows = NDArray[np.int64]
Scorecard = dict[str, Any]


@dataclass(frozen=True)
class Reading:
    """What both judges make of a set of digit images."""

    features: NDArray[np.float32]
    """float32[N, 84], the first judge's."""
    read: Rows
    """int64[N], the class that the first judge gives."""
    confidence: NDArray[np.float32]
    """float32[N], its probability."""
    second: Rows
    """int64[N], the class that the second judge gives."""


@dataclass(frozen=True)
class Exam:
    """Everything about one side of an alignment that scores do not depend on the model for."""

    alignment: Alignment
    """The side being scored, on its own."""
    split: str
    speakers: NDArray[Any]
    """str[R], the name of each recording's speaker or source."""
    wanted: Rows
    """int64[E], the digit of each pair."""
    heard: Rows
    """int64[R], the digit of each recording."""
    seen: Rows
    """int64[I], the digit of each image."""
    real: Reading
    """The real image of each pair."""
    floor: Reading | None
    """Train images that no judge saw: real images in a model's place."""
    train_images: Images
    train_classes: Rows
    train: Alignment

    @property
    def recordings(self) -> Rows:
        """int64[E], the recording of each pair."""
        return self.alignment.edges[:, 0]

    @property
    def real_images(self) -> Images:
        """uint8[E, 28, 28], the real image of each pair."""
        images: Images = self.alignment.images[self.alignment.edges[:, 1], 0]
        return images


@dataclass(frozen=True)
class Answer:
    """Images in the place of the real ones, and what is scored of them."""

    images: Images
    """uint8[E, 28, 28], one a pair."""
    reading: Reading
    scorecard: Scorecard


def judged(images: Images) -> Reading:
    """Both judges on uint8[N, 28, 28]."""
    features, probabilities = read(load_judge("lenet5"), images)
    second = read(load_judge("judge2"), images)[1].argmax(1)
    best = probabilities.argmax(1)
    return Reading(features, best, probabilities.max(1), second)


def prepare(alignment: Alignment, labels: Labels, split: str = "test") -> Exam:
    """Set the exam: read the real images, the floors and the names behind opaque ids.

    Raises:
        UserError: the judges cannot read such images or classes, or no pair is on that side.
    """
    if alignment.images.shape[1:] != (1, 28, 28) or not {*labels.classes} <= {*DIGITS}:
        raise UserError(
            f"the judges read digits of 28x28 grey pixels; this alignment has images "
            f"{alignment.images.shape[1:]} of {len(labels.classes)} classes"
        )
    side, train = alignment.subset(split), alignment.subset("train")
    if not len(side.edges):
        raise UserError(
            f"no pairs on the side '{split}': build the alignment with it (--validation)"
        )
    digit = np.array([DIGITS.index(name) for name in labels.classes])
    heard, seen = (digit[kinds] for kinds in labels.of(side))
    unseen = np.array([key in labels.judge_unseen for key in train.image_ids])
    with busy("reading real images"):
        real = judged(side.images[side.edges[:, 1], 0])
        floor = judged(train.images[unseen, 0]) if unseen.any() else None
    return Exam(
        alignment=side,
        split=split,
        speakers=np.array([labels.groups.get(group, group) for group in side.audio_groups]),
        wanted=seen[side.edges[:, 1]],
        heard=heard,
        seen=seen,
        real=real,
        floor=floor,
        train_images=train.images[:, 0],
        train_classes=digit[labels.of(train)[1]],
        train=train,
    )


class Asked(Protocol):
    """What drawing needs to know of an exam: the recordings, and whose each pair is."""

    @property
    def alignment(self) -> Alignment:
        """The side being scored, on its own."""

    @property
    def recordings(self) -> Rows:
        """int64[E], the recording of each pair."""


@dataclass(frozen=True)
class Part:
    """Some recordings of an exam, and their pairs."""

    first: int
    """The number of the first recording."""
    audio: NDArray[np.float32]
    """float32[B, 1, bands, columns], their spectrograms."""
    pairs: Rows
    """int64[P], the numbers of their pairs."""
    owners: Rows
    """int64[P], the row of `audio` that each pair belongs to."""


def draw(
    model: Model,
    exam: Asked,
    seed: int = 0,
    diversity: float = 1.0,
    engine: Engine = HERE,
) -> tuple[Images, Images, float]:
    """An image a pair, `SAMPLES` images a recording, and the seconds that one image took.

    Noise is keyed by (seed, pair) and (seed, recording, sample).
    """
    threads = torch.get_num_threads()
    images, samples = model.blank(len(exam.recordings), 1)[:, 0], []
    parts = _parts(exam, spectrograms(exam.alignment, model.artefact.preset.spectrogram).numpy())
    drawn = partial(_drawn, model, seed, diversity, threads)
    started = time.perf_counter()
    with bar("generating", len(images)) as progress:
        for part, found in zip(parts, engine.map(drawn, parts, cores=threads), strict=True):
            images[part.pairs] = found[0]
            samples.append(found[1])
            progress.advance(len(part.pairs))
    every = np.concatenate(samples)
    seconds = (time.perf_counter() - started) / (len(images) + every[:, :, 0, 0].size)
    return images, every, seconds


def _parts(exam: Asked, audio: NDArray[np.float32]) -> list[Part]:
    """The exam, `RECORDINGS` at a time, given every recording's spectrogram."""
    order = np.argsort(exam.recordings, kind="stable")
    owners, parts = exam.recordings[order], []
    for first in range(0, len(audio), RECORDINGS):
        start, end = np.searchsorted(owners, (first, first + RECORDINGS))
        some = slice(int(start), int(end))
        spectrogram = audio[first : first + RECORDINGS]
        parts.append(Part(first, spectrogram, order[some], owners[some] - first))
    return parts


@torch.inference_mode()
def _drawn(
    model: Model, seed: int, diversity: float, threads: int, part: Part
) -> tuple[Images, Images]:
    """The images of a part's pairs, and the samples of its recordings.

    With as many threads as its caller has: with others, a sum may differ in its last bit.
    """
    torch.set_num_threads(threads)
    audio, size = torch.tensor(part.audio), model.generator.noise_size
    codes, images = model.generator.encode(audio), model.blank(len(part.pairs), 1)[:, 0]
    for i in range(0, len(images), IMAGES):
        some = slice(i, i + IMAGES)
        noises = torch.cat([noise(seed, int(pair), 1, 1, size)[:, 0] for pair in part.pairs[some]])
        drawn = model.generator.decode(codes[part.owners[some]], noises, diversity)
        images[some] = to_uint8(drawn)
    rows = range(part.first, part.first + len(audio))
    return images, model.sample(audio, SAMPLES, seed=seed, rows=rows, diversity=diversity)


def score(exam: Exam, images: Images, samples: Images | None = None, seed: int = 0) -> Answer:
    """Score images uint8[E, 28, 28] (one a pair) and samples uint8[R, n, 28, 28] (a recording)."""
    reading = judged(images)
    rng = np.random.default_rng(seed)
    right, pairs = reading.read == exam.wanted, exam.recordings
    agreement = metrics.share(right, pairs, rng)
    names = exam.wanted.astype(str)
    classes = exam.wanted, exam.train_classes, exam.wanted
    card: Scorecard = {
        **dict.fromkeys(KEYS),
        "audio_source": exam.alignment.provenance.get("audio_source"),
        "split": exam.alignment.provenance.get("split"),
        "n_pairs": len(pairs),
        "n_recordings": agreement["n"],
        "agreement": agreement["value"],
        "agreement_ci95": agreement["ci95"],
        "agreement_per_class": metrics.share_by(right, pairs, names, rng),
        "agreement_per_speaker": metrics.share_by(right, pairs, exam.speakers[pairs], rng),
        "second_judge_agreement": float((reading.second == exam.wanted).mean()),
        "judge_accuracy": float((exam.real.read == exam.wanted).mean()),
        **distances(reading, exam, rng),
        "diversity_ratio": metrics.diversity_ratio(_as_judged(reading, exam.wanted), _real(exam)),
        "memorised_fraction": metrics.memorised_fraction(
            images, exam.train_images, exam.real_images, classes
        ),
    }
    if samples is not None:
        card |= _within(samples, exam)
    return Answer(images, reading, {k: plain(v) for k, v in card.items()})


def evaluate(
    model: Model, exam: Exam, seed: int = 0, diversity: float = 1.0, engine: Engine = HERE
) -> Answer:
    """The scorecard of one model, with the images behind it."""
    images, samples, seconds = draw(model, exam, seed, diversity, engine)
    with busy("scoring"):
        answer = score(exam, images, samples, seed)
    answer.scorecard.update(
        model=model.artefact.preset.name,
        seed=model.artefact.training["seed"],
        parameters=model.artefact.parameters,
        seconds_per_image=seconds,
    )
    return answer


def pool(exam: Exam, answers: Sequence[Answer], seed: int = 0) -> Scorecard:
    """One scorecard for several training seeds of one recipe.

    Each recording's agreement is averaged over the seeds first, then recordings are resampled;
    other numbers are means over the seeds; `seed` lists them.
    """
    cards = [answer.scorecard for answer in answers]
    if len(cards) == 1:
        return cards[0]
    right = np.stack([answer.reading.read == exam.wanted for answer in answers])
    rng, pairs = np.random.default_rng(seed), exam.recordings
    agreement = metrics.share(right, pairs, rng)
    names = exam.wanted.astype(str)
    return averaged(cards) | {
        "agreement": agreement["value"],
        "agreement_ci95": agreement["ci95"],
        "agreement_per_class": metrics.share_by(right, pairs, names, rng),
        "agreement_per_speaker": metrics.share_by(right, pairs, exam.speakers[pairs], rng),
    }


def averaged(cards: Sequence[Scorecard]) -> Scorecard:
    """The first scorecard with the means of all for its numbers, and their seeds."""
    means = {
        key: float(np.mean([card[key] for card in cards]))
        for key, value in cards[0].items()
        if isinstance(value, float) and all(card[key] is not None for card in cards)
    }
    return cards[0] | means | {"seed": [card["seed"] for card in cards]}


def distances(reading: Reading, exam: Exam, rng: np.random.Generator) -> dict[str, Any]:
    """Fréchet and kernel distance and PRDC to the real images, with their floors."""
    real = exam.real.features
    floor = None if exam.floor is None else exam.floor.features
    return {
        "fld": metrics.frechet_distance(reading.features, real),
        "fld_floor": None if floor is None else metrics.frechet_distance(floor, real),
        "kid": metrics.kid(reading.features, real, rng),
        **metrics.prdc(real, reading.features),
        "coverage_floor": None if floor is None else metrics.prdc(real, floor)["coverage"],
    }


def _within(samples: Images, exam: Exam) -> Scorecard:
    """Consistency and diversity of the samples uint8[R, n, 28, 28] of each recording."""
    count, n = samples.shape[:2]
    features, probabilities = read(load_judge("lenet5"), samples.reshape(-1, *samples.shape[2:]))
    classes = np.zeros(count, np.int64)
    classes[exam.recordings] = exam.wanted
    met = np.isin(np.arange(count), exam.recordings)
    rows = np.repeat(met, n)
    found = metrics.Judged(
        features[rows], np.repeat(classes, n)[rows], probabilities.argmax(1)[rows]
    )
    return {
        "consistency": metrics.consistency(probabilities.argmax(1).reshape(count, n)[met]),
        "diversity_within_recording": metrics.diversity_within_recording(
            found, np.repeat(np.arange(count), n)[rows], _real(exam)
        ),
    }


def _as_judged(reading: Reading, wanted: Rows) -> metrics.Judged:
    return metrics.Judged(reading.features, wanted, reading.read)


def _real(exam: Exam) -> metrics.Judged:
    return _as_judged(exam.real, exam.wanted)


def plain(value: Any) -> Any:
    """A JSON value; not-a-number becomes null."""
    if isinstance(value, Mapping):
        return {key: plain(entry) for key, entry in value.items()}
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None
    return value
