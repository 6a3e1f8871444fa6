"""Run one system of the reproduction: train each seed, score them together, draw."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from synesthete import (
    config,
    evaluate,
    evaluate_images,
    evaluate_matches,
    matching,
    material,
    runs,
)
from synesthete.artefact import Artefact
from synesthete.data.batches import spectrograms
from synesthete.demo import Watch, curves, plane
from synesthete.evaluate import Exam
from synesthete.family import Generator, ImageModel
from synesthete.files import whole_file
from synesthete.generate import Model
from synesthete.reproduce import charts, sheets
from synesthete.reproduce.spread import spread
from synesthete.reproduce.systems import System

Result = dict[str, Any]


def run(system: System, folder: Path, exam: Exam, out: Path) -> Result:
    """Train, score and draw `system`, or return what was found before.

    A stage is done when its file in `stages/` tells of the same recipe, seeds and data.
    """
    recipe, facts = system.recipe(), material.facts(folder)
    before = read(system, out)
    if before is not None and is_of(before, system, facts["digest"]):
        return before
    identity = {
        "recipe": recipe.to_dict(), "seeds": list(system.seeds), "digest": facts["digest"],
    }  # fmt: skip
    held = []
    for seed in system.seeds:
        place = run_folder(system, seed, out)
        held.append(
            runs.run(
                recipe, exam.train, facts, place, seed=seed, resume=True,
                command=system.command(seed), watch=Watch(exam, recipe, place),
            )
        )  # fmt: skip
    result = {
        "identity": identity,
        "command": system.command(system.seeds[0]),
        "steps": recipe.training.steps,
        "seconds": [one.training["seconds"] for one in held],
        "threads": held[0].training["threads"],
        "parameters": held[0].parameters,
        "curves": curves(run_folder(system, system.seeds[0], out)),
        **_score(held, exam, system, out),
    }
    path = _path(system, out)
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as draft:
        draft.write_text(json.dumps(result) + "\n", encoding="utf-8")
    return result


def read(system: System, out: Path) -> Result | None:
    """What was found of `system`, or None where it was not run yet."""
    path = _path(system, out)
    found: Result | None = json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
    return found


def is_of(result: Result, system: System, digest: str) -> bool:
    """Whether `result` is of this recipe, these seeds and this data.

    Recipes are compared as they are read today: keys that came since have their defaults.
    """
    told = result["identity"]
    return (
        config.from_table(told["recipe"]) == system.recipe()
        and told["seeds"] == list(system.seeds)
        and told["digest"] == digest
    )


def run_folder(system: System, seed: int, out: Path) -> Path:
    """Where a seed of `system` is trained."""
    return out / "runs" / f"{system.name}-seed{seed}"


def _path(system: System, out: Path) -> Path:
    return out / "stages" / f"{system.name}.json"


def _score(held: list[Artefact], exam: Exam, system: System, out: Path) -> Result:
    """One scorecard for all seeds, and what the pages draw of the first."""
    if isinstance(held[0].model, Generator):
        return _score_generators([Model(one) for one in held], exam, system, out)
    if isinstance(held[0].model, ImageModel):
        drawn = [evaluate_images.evaluate(one, exam) for one in held]
        sheets.save(system.name, sheets.of_images(drawn[0], exam), out)
        return {"scorecard": evaluate_images.pool(drawn)}
    models = [matching.Model(one) for one in held]
    sheets.save(system.name, sheets.of_matcher(models[0], exam), out)
    return {"scorecard": evaluate_matches.evaluate(models, exam)}


def _score_generators(models: list[Model], exam: Exam, system: System, out: Path) -> Result:
    answers = [evaluate.evaluate(model, exam) for model in models]
    first = models[0]
    sheets.save(system.name, sheets.of_generator(first, exam, answers[0]), out)
    pictures = spectrograms(exam.alignment, first.artefact.preset.spectrogram)
    charts.latent(
        plane(first.embed_spectrogram(pictures)),
        [evaluate.DIGITS[digit] for digit in exam.heard],
        sheets.path(system.name, "latent", out),
    )
    shown = np.random.default_rng(3).permutation(len(exam.wanted))[:9]
    return {
        "scorecard": evaluate.pool(exam, answers) | spread(exam, answers),
        "drawn": answers[0].images[shown].tolist(),
    }
