"""Measure the bundled model's dial and robustness; draw and tabulate them for the docs.

`make faithful` writes docs/digits/*.json and *.png, and the tables between the marks of
docs/faithful-and-diverse.md. What is there already, of the same weights, is kept.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import levers
import numpy as np
import page
from scores import CROWD, SPEAKERS

from synesthete import artefact, material
from synesthete import evaluate as scoring
from synesthete.dial import dial
from synesthete.evaluate import Exam
from synesthete.families import flow
from synesthete.files import whole_file
from synesthete.generate import Model
from synesthete.reproduce import charts
from synesthete.reproduce.spread import spread
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
    kept("dial", digest, lambda: dial(model, exam))
    kept("spread", digest, lambda: [spread(exam, [scoring.evaluate(model, exam)])])
    kept("robustness", digest, lambda: robustness(model, exam))
    kept("guidance", digest, lambda: guidances(model))
    draw(read("dial"), read("robustness"), exam)
    tell(tables())


def tables() -> dict[str, str]:
    """The tables of the page, by their marks, from what is kept of the measurements."""
    turned, degraded, right = read("dial"), read("robustness"), levers.rows()
    scores = json.loads((HERE / "scores.json").read_text(encoding="utf-8"))
    return {
        "bars": bars(turned, read("spread")[0]) + left_out(scores) + noisy(degraded) + costs(),
        "dial": settings(turned), "robustness": conditions(degraded),
        "guidance": guidance(read("guidance")), "unseen": page.unseen(scores),
        "choices": levers.choices(right), "levers": levers.table(right),
    }  # fmt: skip


def kept(name: str, digest: str, measure: Callable[[], list[Any]]) -> None:
    """Measure docs/digits/NAME.json, unless it is there and of these weights."""
    path = DOCS / MODEL / f"{name}.json"
    if path.exists() and json.loads(path.read_text())["weights_sha256"] == digest:
        return
    rows = measure()
    with whole_file(path) as draft:
        draft.write_text(json.dumps({"weights_sha256": digest, "seed": 0, "rows": rows}) + "\n")


def read(name: str) -> list[dict[str, Any]]:
    """The rows of docs/digits/NAME.json."""
    found: dict[str, list[dict[str, Any]]] = json.loads((DOCS / MODEL / f"{name}.json").read_text())
    return found["rows"]


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


def bars(turned: list[dict[str, Any]], spreads: Mapping[str, list[float]]) -> str:
    """What was asked of the default setting and what it reaches, with its 95% interval."""
    own = turned[0]["evaluations"]
    at = {row["evaluations"]: row for row in turned if row["diversity"] == 1}
    card = at[own]
    lines = ["| measure | asked | reached | real images | |", "|---|---|---|---|---|"]
    for key, asked, met in BARS:
        floor = f"{card[FLOORS[key]]:.3g}" if key in FLOORS else ""
        low_high = card.get(f"{key}_ci95", spreads.get(f"{key}_ci95"))
        one = "{:.1%}" if key.endswith("agreement") else "{:.3g}"
        reached = one.format(card[key])
        if low_high:
            reached += f" ({one.format(low_high[0])} to {one.format(low_high[1])})"
        lines.append(_bar(key, asked, reached, met(card), floor))
    lines.append(_bar("evaluations an image", "≤ 8", str(own), own <= 8))
    for fewer in (2, 1):
        lost = 100 * (card["agreement"] - at[fewer]["agreement"])
        lines.append(_bar(f"lost at {fewer}", "≤ 2 points", f"{lost:.1f}", lost <= 2))
    return "\n".join(lines) + "\n"


def left_out(scores: Mapping[str, Any]) -> str:
    """What was asked of speakers that were left out, and what each recipe reaches on them."""
    lines = []
    for preset, how, key in (
        ("unseen", "", "scorecard"),
        ("flow", " in half its steps", "scorecard"),
        ("flow", " so, in 1 evaluation", "one_evaluation"),
    ):
        each = [
            entry[key]["agreement"]
            for entry in scores.values()
            if page.speaker(entry)
            and (entry["row"]["preset"], entry["row"]["crowd"]) == (preset, CROWD)
            and "memory" not in entry["row"]["overrides"]
        ]
        if len(each) == len(SPEAKERS):
            mean, least = sum(each) / len(each), min(each)
            who = f"agreement on speakers left out, `{preset}`{how}"
            lines.append(_bar(who, "≥ 92%", f"{mean:.1%}", mean >= 0.92))
            lines.append(_bar("the worst of them", "≥ 85%", f"{least:.1%}", least >= 0.85))
    return "".join(line + "\n" for line in lines)


def noisy(degraded: list[dict[str, Any]]) -> str:
    """What noise at 15 dB costs."""
    lines = []
    for row in degraded:
        if row["condition"].endswith("noise, 15 dB"):
            low, high = (100 * end for end in row["lost_ci95"])
            lost = 100 * row["lost"]
            reached = f"{lost:.1f} ({low:.1f} to {high:.1f})"
            lines.append(_bar(f"lost in {row['condition']}", "≤ 3 points", reached, lost <= 3))
    return "".join(line + "\n" for line in lines)


def costs() -> str:
    """What it takes, as measured by `make bench` and told by the model itself."""
    results = json.loads((HERE / "results.json").read_text(encoding="utf-8"))
    table = {
        name.removeprefix("The bundled model: "): rows for name, rows in results["tables"].items()
    }
    rate = {
        r["evaluations"]: r["images_per_second"]
        for r in table["images by evaluations of its network"]
    }
    warm = table["from a sound file to images, warm"][0]
    torch, whole = (r["seconds"] for r in table["from a shell, cold, a process each"])
    folder = artefact.find(MODEL)
    size = sum(path.stat().st_size for path in folder.iterdir() if path.is_file()) / 1e6
    training = json.loads((folder / artefact.CONFIG).read_text(encoding="utf-8"))["training"]
    minutes, threads = training["seconds"] / 60, training["threads"]
    lines = [
        _bar("images a second, 4 evaluations", "≥ 150", f"{rate[4]:,.0f}", rate[4] >= 150),
        _bar("images a second, 2 and 1", "≥ 500", f"{rate[2]:,.0f} and {rate[1]:,.0f}",
             min(rate[1], rate[2]) >= 500),
        _bar("first image from a wav, warm", "≤ 50 ms", f"{warm['p50_ms']:.0f} ms (p99 "
             f"{warm['p99_ms']:.0f})", warm["p99_ms"] <= 50),
        _bar("`synesthete generate`, cold", "≤ 1.5 × `import torch` + 1 s",
             f"{whole:.2f} s, {torch:.2f} for `import torch`", whole <= 1.5 * torch + 1),
        _bar("training", "≤ 60 minutes on 2 cores", f"{minutes:.0f} minutes on {threads}",
             minutes <= 60),
        _bar("size in the package", "≤ 10 MB", f"{size:.1f} MB", size <= 10),
    ]  # fmt: skip
    return "".join(line + "\n" for line in lines)


def _bar(measure: str, asked: str, reached: str, met: bool, floor: str = "") -> str:
    return f"| {measure} | {asked} | {reached} | {floor} | {'met' if met else '**missed**'} |"


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
    lines = ["| the clip | agreement | points less than clean | refused |", "|---|---|---|---|"]
    for row in degraded:
        low, high = row["ci95"]
        share = f"{row['agreement']:.1%} ({low:.1%} to {high:.1%})"
        least, most = (100 * end for end in row["lost_ci95"])
        lost = f"{100 * row['lost']:.1f} ({least:.1f} to {most:.1f})"
        lost = "" if row is degraded[0] else lost
        lines.append(f"| {row['condition']} | {share} | {lost} | {row['refused']} |")
    return "\n".join(lines) + "\n"


def tell(tables: dict[str, str]) -> None:
    """Put each table between its marks in the page."""
    text = told(PAGE.read_text(encoding="utf-8"), tables)
    with whole_file(PAGE) as draft:
        draft.write_text(text, encoding="utf-8")


def told(text: str, tables: dict[str, str]) -> str:
    """The page with each table between its marks."""
    for name, table in tables.items():
        start, end = f"<!-- {name}: written by `make faithful` -->\n", f"<!-- /{name} -->"
        before, rest = text.split(start)
        text = before + start + table + end + rest.split(end, 1)[1]
    return text


if __name__ == "__main__":
    main()
