"""Score a model on pairs without labels: a matcher tells whether a drawing belongs to its sound."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synesthete import evaluate_matches, judges, matching, metrics
from synesthete.artefact import Artefact
from synesthete.data.batches import spectrograms
from synesthete.engines import HERE, Engine
from synesthete.errors import UserError
from synesthete.evaluate import KEYS, Images, Rows, Scorecard, draw, plain
from synesthete.family import Generator, Matcher
from synesthete.generate import Model
from synesthete.matching import Floats
from synesthete.pairs_exam import Exam, prepare
from synesthete.pixels import planes, seen
from synesthete.progress import bar, busy

MATCHER = "matcher"
"""The folder in a run that holds the matcher which scores it."""

NEIGHBOURS = 5
"""Of precision, recall, density and coverage."""

BLOCK = 500
"""Drawings that are ranked at a time."""


def named(
    held: Sequence[Artefact],
    folder: Path,
    matcher: Path | None,
    split: str,
    seed: int,
    diversity: float,
    engine: Engine = HERE,
) -> Scorecard:
    """The scorecard of a generator or of matchers on an alignment of a user's own.

    Without `matcher`, the one that `demo` left in the generator's run is taken, if there is one.

    Raises:
        UserError: as `prepare` and `evaluate`, or models that are not scored so.
    """
    first = held[0]
    if isinstance(first.model, Matcher):
        exam = prepare(folder, None, split, judged=False)
        return evaluate_matches.evaluate([matching.Model(each) for each in held], exam, seed)
    if len(held) > 1 or not isinstance(first.model, Generator):
        raise UserError(
            "on pairs of one's own, one model that draws from sound is scored at a time"
        )
    own = Path(first.name) / MATCHER
    exam = prepare(folder, matcher or (own if own.is_dir() else None), split)
    return evaluate(Model(first), exam, seed, diversity, engine)


def evaluate(
    model: Model, exam: Exam, seed: int = 0, diversity: float = 1.0, engine: Engine = HERE
) -> Scorecard:
    """The scorecard of one generator: `evaluate.KEYS`, then `retrieval` and `correspondence`.

    Raises:
        UserError: there is neither a matcher nor a judge, or the model draws other images.
    """
    if exam.matcher is None and exam.judge is None:
        raise UserError(
            "nothing to score with: train a matcher on these pairs (synesthete train ave --pairs "
            "DIR --out runs/ave) and name it with --matcher runs/ave"
        )
    wanted, found = exam.alignment.images.shape[1:], tuple(model.artefact.shapes.image)
    if wanted != found:
        raise UserError(f"this model draws images {found}, the alignment has {wanted}")
    images, samples, seconds = draw(model, exam, seed, diversity, engine)
    with busy("scoring"):
        card = score(exam, images, samples, seed)
    return card | {
        "model": model.artefact.preset.name,
        "seed": model.artefact.training["seed"],
        "parameters": model.artefact.parameters,
        "seconds_per_image": seconds,
    }


def score(exam: Exam, images: Images, samples: Images | None = None, seed: int = 0) -> Scorecard:
    """Score uint8[E, H, W(, 3)] (one a pair) and samples uint8[R, n, H, W(, 3)] (a recording)."""
    provenance, rng = exam.alignment.provenance, np.random.default_rng(seed)
    card: Scorecard = {
        **dict.fromkeys((*KEYS, "retrieval", "correspondence")),
        "audio_source": provenance.get("audio_source"),
        "split": provenance.get("split"),
        "n_pairs": len(exam.recordings),
        "n_recordings": len(np.unique(exam.recordings)),
        "memorised_fraction": metrics.memorised_fraction(
            images, seen(exam.train.images), exam.real
        ),
    }
    if exam.judge is not None:
        card |= _agreement(exam, exam.judge, images, samples, rng)
    if exam.matcher is not None:
        card |= _matched(exam, exam.matcher, images, samples, rng)
    return {key: plain(value) for key, value in card.items()}


def _agreement(
    exam: Exam,
    judge: judges.Judge,
    images: Images,
    samples: Images | None,
    rng: np.random.Generator,
) -> Scorecard:
    """What the judge of these labels reads in the drawings."""
    assert exam.labels is not None
    names = np.array(exam.labels.classes)[exam.wanted]
    right = judges.read(judge, images)[1].argmax(1) == exam.wanted
    told = metrics.share(right, exam.recordings, rng)
    groups = exam.speakers[exam.recordings]
    card = {
        "agreement": told["value"],
        "agreement_ci95": told["ci95"],
        "agreement_per_class": metrics.share_by(right, exam.recordings, names, rng),
        "judge_accuracy": float((judges.read(judge, exam.real)[1].argmax(1) == exam.wanted).mean()),
    }
    if groups.any():
        card["agreement_per_speaker"] = metrics.share_by(right, exam.recordings, groups, rng)
    if samples is not None:
        flat = samples.reshape(-1, *samples.shape[2:])
        read = judges.read(judge, flat)[1].argmax(1).reshape(samples.shape[:2])
        card["consistency"] = metrics.consistency(read)
    return card


def _matched(
    exam: Exam, matcher: matching.Model, images: Images, samples: Images | None,
    rng: np.random.Generator,
) -> Scorecard:  # fmt: skip
    """Distances in the matcher's image features, and what it says of drawings and their sounds."""
    drawn, real = matcher.embed_image(planes(images)), matcher.embed_image(planes(exam.real))
    rows = rng.permutation(len(exam.train.images))[: len(real)]
    floor = matcher.embed_image(exam.train.images[rows])
    audio = matcher.embed_audio(spectrograms(exam.alignment, matcher.log_mel.config))
    spread = _spread(real)
    card = {
        "fld": metrics.frechet_distance(drawn, real),
        "fld_floor": metrics.frechet_distance(floor, real),
        "kid": metrics.kid(drawn, real, rng),
        "diversity_ratio": _spread(drawn) / spread,
        "retrieval": {
            **ranks(exam, matcher, audio, drawn),
            "real": ranks(exam, matcher, audio, real),
        },
        "correspondence": _belonging(exam, matcher, audio, drawn, real, rng),
    }
    if min(len(real), len(floor)) > NEIGHBOURS:
        card |= metrics.prdc(real, drawn, NEIGHBOURS)
        card["coverage_floor"] = metrics.prdc(real, floor, NEIGHBOURS)["coverage"]
    if samples is not None:
        flat = matcher.embed_image(planes(samples.reshape(-1, *samples.shape[2:])))
        each = flat.reshape(*samples.shape[:2], -1)
        card["diversity_within_recording"] = float(np.mean([_spread(one) for one in each])) / spread
    return card


def _spread(features: Floats) -> float:
    """The root of the total variance of float32[N, E]."""
    return float(np.sqrt(features.astype(np.float64).var(axis=0).sum()))


def ranks(exam: Exam, matcher: matching.Model, audio: Floats, image: Floats) -> dict[str, Any]:
    """Where a pair's recording stands when the matcher ranks recordings for its image [E, F].

    Against those on no edge with the pair's real image. `mean_rank` is a share of these: 0 is
    first, 0.5 chance.
    """
    found, rivals = np.empty(len(image)), np.empty(len(image))
    partners = np.zeros((len(exam.alignment.image_ids), len(audio)), bool)
    partners[exam.alignment.edges[:, 1], exam.alignment.edges[:, 0]] = True
    with bar("ranking", len(image)) as progress:
        for first in range(0, len(image), BLOCK):
            rows = np.arange(first, min(first + BLOCK, len(image)))
            scores = matcher.match(audio, image[rows]).T
            own = scores[np.arange(len(rows)), exam.recordings[rows]][:, None]
            others = ~partners[exam.alignment.edges[rows, 1]]
            found[rows] = ((scores > own) & others).sum(1)
            rivals[rows] = others.sum(1)
            progress.advance(len(rows))
    return {
        "median_rank": float(np.median(found)) + 1,
        "mean_rank": float((found / np.maximum(rivals, 1)).mean()),
        **{f"recall@{k}": float((found < k).mean()) for k in (1, 5, 10)},
        "n": len(np.unique(exam.recordings)),
    }


def _belonging(
    exam: Exam, matcher: matching.Model, audio: Floats, drawn: Floats, real: Floats,
    rng: np.random.Generator,
) -> dict[str, Any]:  # fmt: skip
    """Shares that the matcher says belong together: drawings and real images with their sounds.

    `others`: drawings with the sounds of other pairs, at random.
    """
    told = metrics.share(_says(matcher, audio, exam.recordings, drawn), exam.recordings, rng)
    strangers = rng.permutation(exam.recordings)
    return {
        "drawn": told["value"],
        "ci95": told["ci95"],
        "real": float(_says(matcher, audio, exam.recordings, real).mean()),
        "others": float(_says(matcher, audio, strangers, drawn).mean()),
        "n": len(drawn),
    }


def _says(
    matcher: matching.Model, audio: Floats, recordings: Rows, image: Floats
) -> NDArray[np.bool_]:
    """Bool[E], whether the matcher says that each image belongs to its recording."""
    logits = np.empty(len(image))
    for row in np.unique(recordings):
        mine = np.flatnonzero(recordings == row)
        logits[mine] = matcher.match(audio[row : row + 1], image[mine])[0]
    return logits > 0


def flat(card: Mapping[str, Any]) -> Scorecard:
    """The scorecard with what a page shows of `retrieval` and `correspondence` among the rest."""
    found, told = card.get("retrieval") or {}, card.get("correspondence") or {}
    return {**card, "belongs": told.get("drawn"), "mean_rank": found.get("mean_rank")}
