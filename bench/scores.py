"""Train and score every published recipe: `make scores`, resumable -> scores.json, README.md."""

import argparse
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import page

from synesthete import config, evaluate, locks, material, metrics, runs
from synesthete.data import storage
from synesthete.files import whole_file
from synesthete.generate import Model
from synesthete.progress import console

HERE = Path(__file__).parent
SPEAKERS = ("jackson", "nicolas", "theo", "yweweler")


@dataclass(frozen=True)
class Row:
    """One recipe on one split, trained from one or more seeds."""

    preset: str
    split: str = "random"
    seeds: tuple[int, ...] = (0, 1, 2)
    crowd: int = 0
    overrides: Mapping[str, str] = field(default_factory=dict)

    def command(self, seed: int) -> str:
        """What a user types to train this row."""
        words = ["synesthete train", self.preset]
        words += [f"--split {self.split}"] * (self.split != "random")
        words += [f"--crowd {self.crowd}"] * bool(self.crowd)
        words += [f"--{key} {value}" for key, value in self.overrides.items()]
        return " ".join([*words, f"--seed {seed}"])

    def out(self, seed: int) -> Path:
        """The run's folder."""
        crowd = f"crowd{self.crowd}"
        others = [f"{key}{value}" for key, value in self.overrides.items()]
        parts = (self.preset, self.split.replace(":", "-"), crowd, *others, f"seed{seed}")
        return Path("runs") / "scores" / "-".join(parts)


CROWD = 75
"""Synthetic speakers that `digits` trained on besides: as many as the inner folds of `levers.py`
choose for each speaker's row."""
MORE = 2 * CROWD
"""As many as were chosen before there were inner folds."""
FORGETFUL = {"memory": "0"}
"""As it was before there was one: what it changes."""
FLOW = {"steps": "4_000", "plain_steps": "2_000"}
"""The shipped recipe in half its steps: four runs of it in two hours of a core."""

ROWS = (
    Row("archetype"),
    *(Row("archetype", f"speaker:{name}") for name in SPEAKERS),
    *(Row("unseen", f"speaker:{name}", (0,), CROWD) for name in SPEAKERS),
    *(Row("unseen", f"speaker:{name}", (0,), CROWD, FORGETFUL) for name in SPEAKERS),
    *(Row("unseen", f"speaker:{name}", (0,), MORE, FORGETFUL) for name in SPEAKERS),
    Row("unseen", "crowd", (0,), 8 * CROWD, FORGETFUL),
    *(Row("flow", f"speaker:{name}", (0,), CROWD, FLOW) for name in SPEAKERS),
)
"""In the order of their cost; the deck's own systems are left to `make reproduce`."""


def main() -> None:
    """Run what is not done yet, then write everything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", help="rows of this preset, of those in --split where given")
    parser.add_argument("--split")
    arguments = parser.parse_args()
    path = HERE / "scores.json"
    for row in _chosen(arguments.only, arguments.split):
        found = measure(row)
        order = [row.command(row.seeds[0]) for row in ROWS]
        with locks.in_turn(path, f"writing {path.name}"):
            done: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
            done[row.command(row.seeds[0])] = found  # others may have run beside
            kept = {name: done[name] for name in order if name in done}
            with whole_file(path) as draft:
                draft.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
            page.write()


def _chosen(preset: str | None, split: str | None) -> Iterator[Row]:
    for row in ROWS:
        if preset in (None, row.preset) and split in (None, row.split):
            yield row


def measure(row: Row) -> dict[str, Any]:
    """The pooled scorecard of one row, with how it was trained.

    Where images are drawn in several evaluations, `one_evaluation` is the scorecard of one.
    """
    folder = material.default(material.MixConfig(split=row.split, crowd=row.crowd))
    if material.facts(folder)["audio_synthetic"]:
        raise SystemExit("FSDD could not be had: published scores are never of synthetic speakers")
    alignment, labels = material.load(folder)
    exam = evaluate.prepare(alignment, labels)
    recipe = config.from_table(config.read(row.preset), row.overrides)
    answers, once, seconds = [], [], []
    confusion = np.zeros((10, 10), np.int64)
    for seed in row.seeds:
        console.print(row.command(seed))
        out = row.out(seed)
        held = runs.run(
            recipe, alignment, material.facts(folder), out, seed=seed, resume=True,
            command=row.command(seed),
        )  # fmt: skip
        model = Model(held)
        answers.append(evaluate.evaluate(model, exam))
        if model.generator.evaluations is not None:
            once.append(evaluate.evaluate(Model(held, evaluations=1), exam))
        confusion += metrics.confusion(exam.wanted, answers[-1].reading.read, 10)
        seconds.append(held.training["seconds"])
    card = evaluate.pool(exam, answers)
    return {
        "row": asdict(row),
        "digest": storage.read_header(folder)["digest"],
        "steps": recipe.training.steps,
        "train_seconds": seconds,
        "confusion": confusion.tolist(),
        "scorecard": card,
        "one_evaluation": evaluate.pool(exam, once) if once else None,
    }


if __name__ == "__main__":
    main()
