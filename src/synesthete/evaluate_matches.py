"""Score a matcher: does it tell matching pairs from others, and what does it find first?"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from synesthete import metrics
from synesthete.data.batches import spectrograms
from synesthete.errors import UserError
from synesthete.evaluate import KEYS, Asked, Rows, Scorecard
from synesthete.matching import Floats, Model, nearness
from synesthete.progress import bar, busy

QUERIES = 500
"""Queries that are ranked at a time: 40 MB a matrix against 10,000 items."""

Flags = NDArray[np.bool_]


class Questions(Asked, Protocol):
    """What a matcher is asked: which recordings and images are of one kind."""

    @property
    def wanted(self) -> Rows:
        """int64[E], the kind of each pair."""

    @property
    def heard(self) -> Rows:
        """int64[R], the kind of each recording."""

    @property
    def seen(self) -> Rows:
        """int64[I], the kind of each image."""


@dataclass(frozen=True)
class Ranking:
    """One direction of retrieval, scored query by query."""

    measures: dict[str, NDArray[np.float64]]
    """Name -> float64[Q]."""
    groups: Rows
    """int64[Q], what the interval resamples: each query's recording, or itself without one."""


def evaluate(models: Sequence[Model], exam: Questions, seed: int = 0) -> Scorecard:
    """The scorecard of one matcher, or of several training seeds of one recipe together.

    Beside `evaluate.KEYS` it holds `correspondence` and `retrieval`; labels judge, nothing else.
    Of several models, each query is averaged over the seeds before recordings are resampled.
    """
    pairs, matches = draw_pairs(exam, seed)
    right, found = [], []
    for model in models:
        with busy("embedding"):
            config = model.artefact.preset.spectrogram
            audio = model.embed_audio(spectrograms(exam.alignment, config))
            image = model.embed_image(exam.alignment.images)
            scores = model.match(audio, image)
        right.append((scores[pairs[:, 0], pairs[:, 1]] > 0) == matches)
        found.append(rankings(exam, audio, image, scores))
    first, provenance = models[0].artefact, exam.alignment.provenance
    seeds = [model.artefact.training["seed"] for model in models]
    return {
        **dict.fromkeys(KEYS),
        "model": first.preset.name,
        "audio_source": provenance.get("audio_source"),
        "split": provenance.get("split"),
        "seed": seeds if len(seeds) > 1 else seeds[0],
        "n_pairs": len(exam.wanted),
        "n_recordings": len(np.unique(exam.recordings)),
        "parameters": first.parameters,
        "correspondence": correspondence(exam, pairs, matches, np.stack(right), seed),
        "retrieval": {name: summary([each[name] for each in found], seed) for name in found[0]},
    }


def draw_pairs(exam: Questions, seed: int = 0) -> tuple[Rows, Flags]:
    """Every edge, then as many pairs drawn off the graph: int64[2E, 2], bool[2E] (on an edge).

    Each recording is as often in a false pair as in a true one; a false pair's image is uniform
    over those that the recording has no edge with.

    Raises:
        UserError: a recording has an edge with every image.
    """
    edges, images = exam.alignment.edges, len(exam.alignment.images)
    if np.bincount(edges[:, 0]).max() >= images:
        raise UserError("a recording belongs to every image: no pair can be drawn off the graph")
    rng = np.random.default_rng((seed, 3))
    wrong = np.stack([edges[:, 0], rng.integers(images, size=len(edges))], axis=1)
    while len(rows := np.flatnonzero(np.isin(wrong @ [images, 1], edges @ [images, 1]))):
        wrong[rows, 1] = rng.integers(images, size=len(rows))
    return np.concatenate([edges, wrong]), np.arange(2 * len(edges)) < len(edges)


def correspondence(
    exam: Questions, pairs: Rows, matches: Flags, right: Flags, seed: int = 0
) -> dict[str, Any]:
    """Accuracy from what was right, bool[S, N], of pairs int64[N, 2], bool[N] (on an edge).

    `ceiling` is what saying "match" exactly where both are of one digit scores on these very
    pairs: nothing tells a false pair of one digit from a true one.
    """
    alike = exam.heard[pairs[:, 0]] == exam.seen[pairs[:, 1]]
    told = metrics.share(right, pairs[:, 0], np.random.default_rng(seed))
    return {
        "accuracy": told["value"],
        "ci95": told["ci95"],
        "ceiling": float((alike == matches).mean()),
        "n": len(pairs),
    }


def rankings(exam: Questions, audio: Floats, image: Floats, scores: Floats) -> dict[str, Ranking]:
    """All four directions, from embeddings [A, E] and [I, E] and logits [A, I].

    Across modalities the logits rank; within one, nearness does, and a query is not its own find.
    """
    recordings, images = np.arange(len(audio)), np.arange(len(image))
    partner = -1 - images  # an image without a recording stands for itself
    partner[exam.alignment.edges[:, 1]] = exam.recordings
    with bar("ranking", 2 * (len(audio) + len(image))) as progress:
        return {
            "audio_to_image": rank(
                lambda rows: scores[rows], exam.heard, exam.seen, recordings, progress.advance
            ),
            "image_to_audio": rank(
                lambda rows: scores[:, rows].T, exam.seen, exam.heard, partner, progress.advance
            ),
            "image_to_image": rank(
                lambda rows: nearness(image[rows], image), exam.seen, None, images, progress.advance
            ),
            "audio_to_audio": rank(
                lambda rows: nearness(audio[rows], audio),
                exam.heard, None, recordings, progress.advance,
            ),
        }  # fmt: skip


def rank(
    scores: Callable[[Rows], Floats],
    queries: Rows,
    items: Rows | None,
    groups: Rows,
    advance: Callable[[int], None] = lambda _: None,
) -> Ranking:
    """Rank items for queries, a block at a time; those of a query's digit are relevant.

    Args:
        scores: query rows int64[q] -> float[q, I].
        queries: int64[Q], the digit of each; one whose digit no item has is left out.
        items: int64[I], likewise; None where the items are the queries themselves, each of which
            is then left out of its own ranking.
        groups: int64[Q], what the interval resamples.
        advance: told how many queries are done.
    """
    kinds = queries if items is None else items
    counts = np.bincount(kinds, minlength=queries.max() + 1)
    kept = np.flatnonzero(counts[queries] > (items is None))
    parts = []
    for first in range(0, len(kept), QUERIES):
        rows = kept[first : first + QUERIES]
        found, relevant = scores(rows), queries[rows, None] == kinds
        if items is None:
            others = rows[:, None] != np.arange(len(kinds))
            found, relevant = (table[others].reshape(len(rows), -1) for table in (found, relevant))
        parts.append(metrics.per_query(found, relevant))
        advance(len(rows))
    names = parts[0] if parts else ()
    return Ranking({n: np.concatenate([p[n] for p in parts]) for n in names}, groups[kept])


def summary(answers: Sequence[Ranking], seed: int = 0) -> dict[str, Any] | None:
    """Means over queries and seeds, the interval of mAP, the number of queries; None of none."""
    groups = answers[0].groups
    if not len(groups):
        return None
    each = {
        name: np.stack([answer.measures[name] for answer in answers])
        for name in answers[0].measures
    }
    told = metrics.share(each["mAP"], groups, np.random.default_rng(seed))
    means = {name: float(values.mean()) for name, values in each.items()}
    return {**means, "mAP_ci95": told["ci95"], "n": len(groups)}
