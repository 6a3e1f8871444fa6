"""Measure the bundled model's dial and robustness; draw and tabulate them for the docs.

`make faithful` writes docs/digits/*.json and *.png, and the tables between the marks of
docs/faithful-and-diverse.md. What is there already, of the same weights, is kept.
"""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import levers
import numpy as np
import page

from synesthete import artefact, material
from synesthete import evaluate as scoring
from synesthete.dial import dial
from synesthete.evaluate import Exam
from synesthete.families import flow
from synesthete.files import whole_file
from synesthete.generate import Model
from synesthete.reproduce import charts
from synesthete.reproduce.systems import ALPHAS
from synesthete.robustness import robustness

HERE = Path(__file__).parent
DOCS = HERE.parent / "docs"
PAGE = DOCS / "faithful-and-diverse.md"
MODEL = "digits"
BARS: tuple[tuple[str, str, Callable[[Any], bool]], ...] = (
    ("agreement", "≥ 98%", lambda c: c["agreement"] >= 0.98),
    ("second_judge_agreement", "within 1 point of it",
     lambda c: abs(c["second_judge_agreement"] - c["agreement"]) <= 0.01),
    ("fld", "≤ 2 × floor", lambda c: c["fld"] <= 2 * c["fld_floor"]),
    ("coverage", "≥ 0.95 × floor", lambda c: c["coverage"] >= 0.95 * c["coverage_floor"]),
    ("diversity_ratio", "0.9 to 1.1", lambda c: 0.9 <= c["diversity_ratio"] <= 1.1),
    ("memorised_fraction", "≤ 2%", lambda c: c["memorised_fraction"] <= 0.02),
)  # fmt: skip
"""What was asked of the default setting, before it was measured."""
FLOORS = {"fld": "fld_floor", "coverage": "coverage_floor"}
GUIDANCES = (1.0, 1.15, 1.25, 1.35, 1.5, 2.0)
SHOWN = ("agreement", "diversity_ratio", "fld", "coverage", "precision", "recall",
         "memorised_fraction")  # fmt: skip


def main() -> None:
    """Run what is not measured yet of these weights, then write everything."""
    held = artefact.read(MODEL)
    folder = material.default(material.MixConfig())
    if material.facts(folder)["audio_synthetic"]:
        raise SystemExit("FSDD could not be had: published scores are never of synthetic speakers")
    exam = scoring.prepare(*material.load(folder))
    model, weights = Model(held), json.loads((artefact.find(MODEL) / artefact.CONFIG).read_text())
    digest = weights["weights_sha256"]
    turned = kept("dial", digest, lambda: dial(model, exam))
    degraded = kept("robustness", digest, lambda: robustness(model, exam))
    guided = kept("guidance", digest, lambda: guidances(model))
    draw(turned, degraded, exam)
    right = levers.rows()
    tell({
        "bars": bars(turned), "dial": settings(turned), "robustness": conditions(degraded),
        "guidance": guidance(guided),
        "unseen": page.unseen(json.loads((HERE / "scores.json").read_text())),
        "choices": levers.choices(right), "levers": levers.table(right),
    })  # fmt: skip


def kept(name: str, digest: str, measure: Any) -> list[dict[str, Any]]:
    """The rows of docs/digits/NAME.json where they are of these weights, or measured now."""
    path = DOCS / MODEL / f"{name}.json"
    if path.exists() and (found := json.loads(path.read_text()))["weights_sha256"] == digest:
        rows: list[dict[str, Any]] = found["rows"]
        return rows
    rows = measure()
    with whole_file(path) as draft:
        draft.write_text(json.dumps({"weights_sha256": digest, "seed": 0, "rows": rows}) + "\n")
    return rows


def guidances(model: Model) -> list[dict[str, Any]]:
    """What each guidance scores where it is chosen: on synthetic speakers held out of training."""
    mix = material.MixConfig(validation="random", synthetic=True)
    exam = scoring.prepare(*material.load(material.default(mix)), split="validation")
    drawing = model.generator
    assert isinstance(drawing, flow.Model)
    own, rows = drawing.config, []
    for value in GUIDANCES:
        drawing.config = replace(own, guidance=value)
        rows.append({"guidance": value, **scoring.evaluate(model, exam).scorecard})
    drawing.config = own
    return rows


def draw(turned: list[dict[str, Any]], degraded: list[dict[str, Any]], exam: Exam) -> None:
    """The frontier, what the dial draws, and the conditions."""
    figures = DOCS / MODEL
    own = turned[0]["evaluations"]
    dialled = [row for row in turned if row["evaluations"] == own]
    card = dialled[0]
    real = {"agreement": float((exam.real.read == exam.wanted).mean()), "diversity_ratio": 1.0,
            "fld": card["fld_floor"]}  # fmt: skip
    charts.compared(
        {
            "flow: the dial, 0 to 1.5": {f"{row['diversity']:g}": row for row in dialled},
            "VAE-GAN: α, 600 steps": {a: stage(f"vae-gan-alpha-{a}") for a in ALPHAS},
            "VAE-GAN, α = 0.2, 1,500 steps": {"": stage("vae-gan")},
            "VAE": {"": stage("vae-pairs")},
            "archetype": {"": stage("archetype")},
            "real images": {"": real},
        },
        figures / "frontier.png",
    )
    first = np.unique(exam.wanted, return_index=True)[1]
    charts.settings(
        {f"{row['diversity']:g}": np.array(row["drawn"], np.uint8) for row in dialled}
        | {"real": exam.real_images[first]},
        figures / "dial.png",
    )
    fewer = sorted(
        (row for row in turned if row["diversity"] == 1), key=lambda row: row["evaluations"]
    )
    charts.settings(
        {f"{row['evaluations']}": np.array(row["drawn"], np.uint8) for row in fewer},
        figures / "evaluations.png",
    )
    charts.conditions(degraded, figures / "robustness.png")


def stage(name: str) -> dict[str, Any]:
    """The scorecard of a system of the reproduction."""
    found: dict[str, Any] = json.loads((DOCS / "stages" / f"{name}.json").read_text())
    card: dict[str, Any] = found["scorecard"]
    return card


def bars(turned: list[dict[str, Any]]) -> str:
    """What was asked of the default setting and what it reaches."""
    own = turned[0]["evaluations"]
    card = next(r for r in turned if r["diversity"] == 1 and r["evaluations"] == own)
    lines = ["| measure | asked | reached | real images | |", "|---|---|---|---|---|"]
    for key, asked, met in BARS:
        floor = f"{card[FLOORS[key]]:.3g}" if key in FLOORS else ""
        span = card.get(f"{key}_ci95")
        between = f" ({span[0]:.1%} to {span[1]:.1%})" if span else ""
        value = f"{card[key]:.1%}" if key.endswith("agreement") else f"{card[key]:.3g}"
        verdict = "met" if met(card) else "**missed**"
        lines.append(f"| {key} | {asked} | {value}{between} | {floor} | {verdict} |")
    return "\n".join(lines) + "\n"


def settings(turned: list[dict[str, Any]]) -> str:
    """A row a setting."""
    lines = [
        f"| diversity | evaluations | {' | '.join(SHOWN)} |", f"|{'---|' * (len(SHOWN) + 2)}"
    ]  # fmt: skip
    for row in turned:
        low, high = row["agreement_ci95"]
        cells = [f"{row[key]:.3g}" for key in SHOWN[1:]]
        share = f"{row['agreement']:.1%} ({low:.1%} to {high:.1%})"
        lines.append(
            f"| {row['diversity']:g} | {row['evaluations']} | {share} | {' | '.join(cells)} |"
        )
    return "\n".join(lines) + "\n"


def guidance(guided: list[dict[str, Any]]) -> str:
    """A row a guidance."""
    lines = ["| guidance | agreement | diversity_ratio | fld |", "|---|---|---|---|"]
    for row in guided:
        low, high = row["agreement_ci95"]
        share = f"{row['agreement']:.1%} ({low:.1%} to {high:.1%})"
        measures = f"{row['diversity_ratio']:.3g} | {row['fld']:.3g}"
        lines.append(f"| {row['guidance']:g} | {share} | {measures} |")
    return "\n".join(lines) + "\n"


def conditions(degraded: list[dict[str, Any]]) -> str:
    """A row a condition."""
    lines = ["| the clip | agreement | less than clean | refused |", "|---|---|---|---|"]
    for row in degraded:
        (low, high), lost = row["ci95"], degraded[0]["agreement"] - row["agreement"]
        share = f"{row['agreement']:.1%} ({low:.1%} to {high:.1%})"
        lines.append(f"| {row['condition']} | {share} | {100 * lost:.1f} | {row['refused']} |")
    return "\n".join(lines) + "\n"


def tell(tables: dict[str, str]) -> None:
    """Put each table between its marks in the page."""
    text = PAGE.read_text(encoding="utf-8")
    for name, table in tables.items():
        start, end = f"<!-- {name}: written by `make faithful` -->\n", f"<!-- /{name} -->"
        before, rest = text.split(start)
        text = before + start + table + end + rest.split(end, 1)[1]
    with whole_file(PAGE) as draft:
        draft.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
