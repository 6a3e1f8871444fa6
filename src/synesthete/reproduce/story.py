"""Tell what was found: a section a slide, its table, its pictures, the deck beside ours."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from synesthete import metrics
from synesthete.evaluate import Exam
from synesthete.report import number, percent
from synesthete.reproduce import charts, sheets, stage
from synesthete.reproduce.page import Picture, Section, Story, Table
from synesthete.reproduce.similarity import compare
from synesthete.reproduce.systems import ALPHAS, System
from synesthete.reproduce.words import SCALES, TEXT

Found = dict[str, dict[str, Any]]
Block = str | Table | Picture

READINGS = (
    "vae-plain", "vae-relu", "vae-gaussian", "vae-mean", "vae-gaussian-mean", "vae-pairs-torch",
)  # fmt: skip
ADVERSARIAL = ("vae-gan", "vae-gan-naive", "vae-gan-images", "vae-gan-bernoulli")
DIRECTIONS = ("audio_to_image", "image_to_audio", "image_to_image", "audio_to_audio")


def tell(out: Path, systems: Sequence[System], exam: Exam, quick: bool) -> Story:
    """The story of what is done in `out`; charts are drawn on the way."""
    found = {s.name: result for s in systems if (result := stage.read(s, out)) is not None}
    named = {s.name: s for s in systems}
    lead = TEXT["quick" if quick else "lead"].format(
        done=len(found), all=len(systems), source=exam.alignment.provenance.get("audio_source"),
        pairs=len(exam.wanted), recordings=len(exam.alignment.audio_ids),
    )  # fmt: skip
    parts: dict[str, Callable[[], Iterator[Block]]] = {
        "Everything at a glance": lambda: _glance(found, named),
        "LeNet5, the judge": lambda: _judge(exam),
        "Images alone: autoencoder, VAE, GAN": lambda: _images(found, out, exam),
        "Audio-image autoencoder and VAE": lambda: _vae(found, out),
        "What the VAE's slides leave open": lambda: _readings(found),
        "The plain GAN": lambda: _shown(found, out, "gan", ("gan", "gan-saturating")),
        "VAE-GAN": lambda: _shown(found, out, "vae-gan", ADVERSARIAL, SCALES),
        "The trade-off: α": lambda: _tradeoff(found, out),
        "Audio-visual correspondence": lambda: _correspondence(found),
        "Cross-modal retrieval": lambda: _retrieval(found, out),
        "Are the two encoders alike?": lambda: _similarity(found, out, exam),
        "How each was trained": lambda: _commands(found, named),
    }
    sections = [Section(title, list(blocks())) for title, blocks in parts.items()]
    title = "The deck, reproduced"
    return Story(title, lead, [section for section in sections if section.blocks])


def _glance(found: Found, named: Mapping[str, System]) -> Iterator[Block]:
    rows = []
    for name, result in found.items():
        system, card = named[name], result["scorecard"]
        score = _share(card, "agreement")
        if card.get("correspondence"):
            score = _share(card["correspondence"], "accuracy", "ci95") + " of pairs"
        elif score == "" and card.get("fld") is not None:
            score = f"FLD {card['fld']:.1f}"
        rows.append([
            system.title, system.deck, score, str(len(system.seeds)), f"{card['n_pairs']:,}",
            f"{result['steps']:,}", f"{np.mean(result['seconds']):,.0f}", str(result["threads"]),
            f"{result['parameters']:,}", system.note,
        ])  # fmt: skip
    if rows:
        yield TEXT["glance"]
        head = ("system", "the deck", "ours, 95% interval", "seeds", "pairs", "steps",
                "seconds a seed", "threads", "parameters", "deviation")  # fmt: skip
        yield Table(head, rows)


def _judge(exam: Exam) -> Iterator[Block]:
    right = exam.real.read == exam.wanted
    told = metrics.share(right, np.arange(len(right)), np.random.default_rng(0))
    second = metrics.share(
        exam.real.second == exam.wanted, np.arange(len(right)), np.random.default_rng(0)
    )
    yield TEXT["judge"]
    yield Table(
        ("network", "the deck", "ours, 95% interval over images", "images"),
        [["LeNet5, 61,706 parameters", "98.7%", _interval(told), f"{told['n']:,}"],
         ["second judge, residual", "", _interval(second), f"{second['n']:,}"]],
    )  # fmt: skip


def _images(found: Found, out: Path, exam: Exam) -> Iterator[Block]:
    names = [n for n in ("image-autoencoder", "image-vae", "image-gan") if n in found]
    if not names:
        return
    yield TEXT["images"]
    rows = []
    for name in names:
        card = found[name]["scorecard"]
        error, read = card.get("reconstruction_error"), card.get("reconstruction_agreement")
        rows.append([
            name, number(card["fld"]), number(card["fld_floor"]), percent(card["precision"]),
            percent(card["coverage"]), number(error), percent(read),
        ])  # fmt: skip
    yield Table(
        ("preset", "FLD of samples", "FLD of real images", "precision", "coverage",
         "reconstruction error", "redrawn digits still read right"),
        rows,
    )  # fmt: skip
    sheets.save("data", {"real": sheets.real_train(exam)}, out)
    yield Picture(sheets.path("data", "real", out), "Real images from the training set")
    for name in names:
        yield from _pictures(out, name, ("samples", "reconstruction"))


def _vae(found: Found, out: Path) -> Iterator[Block]:
    names = [n for n in ("archetype", "autoencoder", "vae-grouped", "vae-pairs") if n in found]
    if not names:
        return
    yield TEXT["vae"]
    yield _scores(found, names)
    path = out / "figures" / "learning.png"
    charts.learning({name: found[name]["curves"] for name in names}, path)
    yield Picture(path, "Agreement on the test pairs while training (first seed)")
    for name in names[::-1]:
        yield from _pictures(
            out, name, ("last-epoch", "test", "reconstruction", "interpolation", "latent")
        )


def _readings(found: Found) -> Iterator[Block]:
    names = [name for name in READINGS if name in found]
    if len(names) > 1:
        yield TEXT["readings"]
        yield _scores(found, names)


def _shown(
    found: Found, out: Path, text: str, names: Sequence[str], scales: str = ""
) -> Iterator[Block]:
    """A text, the scores of systems, and the pictures of the first."""
    there = [name for name in names if name in found]
    if not there:
        return
    yield TEXT[text]
    if scales:
        yield scales
    yield _scores(found, there)
    yield from _pictures(
        out, there[0], ("last-epoch", "test", "reconstruction", "interpolation", "latent")
    )


def _tradeoff(found: Found, out: Path) -> Iterator[Block]:
    swept = {a: found[f"vae-gan-alpha-{a}"] for a in ALPHAS if f"vae-gan-alpha-{a}" in found}
    if len(swept) < 2:
        return
    yield TEXT["tradeoff"]
    points = [
        {**r["scorecard"], "alpha": float(a), "drawn": np.array(r["drawn"], np.uint8)}
        for a, r in swept.items()
    ]
    card = points[0]
    real = {"agreement": card["judge_accuracy"], "diversity_ratio": 1.0,
            "fld": card["fld_floor"], "coverage": card["coverage_floor"]}  # fmt: skip
    path = out / "figures" / "tradeoff.png"
    charts.tradeoff(points, real, path)
    yield Picture(path, "What α trades: bands are 95% intervals over test recordings")
    yield _scores(found, [f"vae-gan-alpha-{a}" for a in swept])
    beside = ("vae-pairs", "vae-grouped", "vae-gan", "gan")
    others = {n: found[n]["scorecard"] for n in beside if n in found}
    models = {f"α = {p['alpha']:g}": p for p in points} | others | {"real images": real}
    path = out / "figures" / "frontier.png"
    charts.frontier(models, path)
    yield Picture(path, "Agreement against diversity: the sweep, the VAE, the plain GAN, the data")


def _correspondence(found: Found) -> Iterator[Block]:
    names = [n for n in ("avc", "avc-shuffled", "ave", "ave-shuffled") if n in found]
    if not names:
        return
    yield TEXT["correspondence"]
    rows = []
    for name in names:
        told = found[name]["scorecard"]["correspondence"]
        rows.append([name, _share(told, "accuracy", "ci95"), percent(told["ceiling"]),
                     f"{told['n']:,}"])  # fmt: skip
    yield Table(("system", "accuracy, 95% interval", "ceiling", "pairs"), rows)


def _retrieval(found: Found, out: Path) -> Iterator[Block]:
    names = [n for n in ("ave", "avc", "ave-shuffled") if n in found]
    if not names:
        return
    yield TEXT["retrieval"]
    rows = []
    for name in names:
        for direction in DIRECTIONS:
            told = found[name]["scorecard"]["retrieval"][direction]
            measures = [percent(told[key]) for key in told if key.startswith("recall")]
            ndcg = next(told[key] for key in told if key.startswith("ndcg"))
            rows.append([
                name, direction.replace("_to_", " → "), *measures,
                _share(told, "mAP", "mAP_ci95"), percent(ndcg), f"{told['n']:,}",
            ])  # fmt: skip
    head = ("system", "direction", "R@1", "R@5", "R@10", "mAP, 95% interval", "nDCG@30", "queries")
    yield Table(head, rows)
    yield from _pictures(out, names[0], ("neighbours",))


def _similarity(found: Found, out: Path, exam: Exam) -> Iterator[Block]:
    if not {"ave", "ave-shuffled"} <= found.keys():
        return
    maps = compare(out, exam, json.dumps([found[n]["identity"] for n in ("ave", "ave-shuffled")]))
    path = out / "figures" / "similarity.png"
    matrices = {name: np.array(values) for name, values in maps["maps"].items()}
    charts.heatmaps(matrices, maps["audio"], maps["image"], path)
    yield TEXT["similarity"].format(pairs=maps["pairs"])
    yield Picture(path, "Linear CKA of audio layers (down) and image layers (across)")


def _commands(found: Found, named: Mapping[str, System]) -> Iterator[Block]:
    rows = [[named[name].title, f"`{result['command']}`"] for name, result in found.items()]
    if rows:
        yield TEXT["commands"]
        yield Table(("system", "first seed's command"), rows)


def _scores(found: Found, names: Sequence[str]) -> Table:
    """The scorecards of generators, a row each."""
    rows = []
    for name in names:
        card = found[name]["scorecard"]
        rows.append([
            name, _share(card, "agreement"), percent(card["second_judge_agreement"]),
            _ranged(card, "fld"), _ranged(card, "coverage"), _ranged(card, "diversity_ratio"),
            number(card["diversity_within_recording"]), percent(card["memorised_fraction"]),
        ])  # fmt: skip
    head = ("system", "agreement, 95% interval", "second judge", "FLD", "coverage", "diversity",
            "diversity within a recording", "memorised")  # fmt: skip
    return Table(head, rows)


def _pictures(out: Path, name: str, kinds: Sequence[str]) -> Iterator[Picture]:
    told = {
        "last-epoch": "images generated in the last epoch, for training recordings",
        "test": "images for test-set audio, a row a digit",
        "reconstruction": "actual (above) against reconstructed (below), test set",
        "interpolation": "from one recording to another, noise held",
        "latent": "map of the test recordings' latents (two principal components)",
        "samples": "images drawn from noise",
        "neighbours": "a test recording of each digit, and the images that it finds first",
    }
    for kind in kinds:
        if (path := sheets.path(name, kind, out)).exists():
            yield Picture(path, f"{name}: {told[kind]}")


def _share(card: Mapping[str, Any], key: str, interval: str = "agreement_ci95") -> str:
    value, ends = card.get(key), card.get(interval)
    if value is None:
        return ""
    return f"**{value:.1%}**" + (f" ({ends[0]:.1%} to {ends[1]:.1%})" if ends else "")


def _interval(told: metrics.Share) -> str:
    low, high = told["ci95"]
    return f"**{told['value']:.2%}** ({low:.2%} to {high:.2%})"


def _ranged(card: Mapping[str, Any], key: str) -> str:
    ends = card.get(f"{key}_ci95")
    more = f" ({number(ends[0])} to {number(ends[1])})" if ends else ""
    return number(card[key]) + more
