"""Make the bundled model from nothing: `make digits` trains, scores and packs it, resumable.

It also keeps the weights of every `EVERY`th step and scores them when all is done: what was reached
after how long goes to docs/digits/training.json. Nothing is chosen by it.
"""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from safetensors.torch import load_model, save_model
from scores import CROWD

from synesthete import artefact, config, runs
from synesthete import evaluate as scoring
from synesthete.artefact import Artefact
from synesthete.data.alignment import Alignment
from synesthete.evaluate import Exam
from synesthete.family import Family
from synesthete.files import whole_file
from synesthete.generate import Model
from synesthete.material import MixConfig, default, facts, load
from synesthete.train import Step, read_log

RUN = Path("runs/digits")
PACKED = Path("src/synesthete/models/digits")
TRAINING = Path("docs/digits/training.json")
EVERY = 500
SCORED = ("agreement", "second_judge_agreement", "fld", "fld_floor", "coverage", "coverage_floor",
          "diversity_ratio", "memorised_fraction")  # fmt: skip


def main() -> None:
    """Train what is not trained yet, then pack it with its scorecard."""
    if facts(default(MixConfig()))["audio_synthetic"]:
        raise SystemExit("FSDD could not be had: the bundled model is never of other speech alone")
    folder = default(MixConfig(crowd=CROWD))
    recipe, alignment = config.from_table(config.read("flow")), load(folder)[0]
    held = runs.run(
        recipe, alignment, facts(folder), RUN, seed=0, resume=True,
        command=f"synesthete train flow --crowd {CROWD} --out {RUN}", watch=keep,
    )  # fmt: skip
    artefact.write(replace(held, data=public(held.data)), PACKED)
    packed = artefact.read(str(PACKED))
    exam = scoring.prepare(*load(default(MixConfig())))
    artefact.write_scorecard(packed, PACKED, scoring.evaluate(Model(packed), exam).scorecard)
    with whole_file(TRAINING) as draft:
        reached = [*progress(held, alignment, exam)]
        draft.write_text(json.dumps(reached, indent=1) + "\n", encoding="utf-8")


def keep(step: Step, model: Family) -> None:
    """The weights of every `EVERY`th step, once there is a flow."""
    if step.number % EVERY == 0:
        with whole_file(RUN / "kept" / f"{step.number}.safetensors") as draft:
            save_model(model, str(draft))


def progress(held: Artefact, alignment: Alignment, exam: Exam) -> Iterator[dict[str, Any]]:
    """What the kept weights score, and the seconds of training behind them."""
    recordings = runs.in_memory(alignment).recordings
    seconds = {line["step"]: line["seconds"] for line in read_log(RUN)}
    for path in sorted((RUN / "kept").iterdir(), key=lambda path: int(path.stem)):
        load_model(held.model, str(path))
        held.model.finish(recordings(held.preset, 0))
        card = scoring.evaluate(Model(held), exam).scorecard
        told = {"step": int(path.stem), "seconds": seconds[int(path.stem)]}
        yield told | {key: card[key] for key in SCORED}


def public(told: Any) -> Any:
    """What is told of the data, without the folders of the machine that it was trained on."""
    if isinstance(told, list | tuple):
        return [public(value) for value in told]
    if not isinstance(told, dict):
        return told
    private = told.get("place") in ("directory", "cache")
    return {k: "" if private and k == "detail" else public(v) for k, v in told.items()}


if __name__ == "__main__":
    main()
