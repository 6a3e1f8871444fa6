"""Train, score and draw every system of the deck, and print its numbers beside ours."""

from pathlib import Path

from synesthete import evaluate, material
from synesthete.errors import UserError
from synesthete.evaluate import Exam
from synesthete.progress import console
from synesthete.reproduce import page, stage, story
from synesthete.reproduce.systems import chosen


def reproduce(out: Path, *, quick: bool = False, only: str = "", data: Path | None = None) -> Path:
    """Run what is not done yet, one system after the other, and write the pages after each.

    Args:
        out: gets `runs/`, `stages/` (results as JSON), `figures/`, `reproduction.md` and
            `report.html`.
        quick: every system for a few steps, in under 20 minutes on 2 cores, instead of the full
            recipes.
        only: run these systems, in this order, and no others (see `systems.chosen`).
        data: a directory with FSDD or MNIST.

    Returns:
        The path of `report.html`.

    Raises:
        UserError: FSDD could not be had, or no system is called `only`.
        Interrupted: asked to stop; the same command goes on.
    """
    systems, everything = chosen(quick, only), chosen(quick)
    exams = {kind: _exam(kind, data) for kind in {False, *(s.shuffled for s in systems)}}
    path = out / "report.html"
    for number, system in enumerate(systems, start=1):
        folder, exam = exams[system.shuffled]
        console.print(f"[{number}/{len(systems)}] {system.name}: {system.title}", markup=False)
        stage.run(system, folder, exam, out)
        path = page.write(story.tell(out, everything, exams[False][1], quick), out)
    return path


def _exam(shuffled: bool, data: Path | None) -> tuple[Path, Exam]:
    folder = material.default(material.MixConfig(data=data, shuffled=shuffled))
    if material.facts(folder)["audio_synthetic"]:
        raise UserError(
            "the deck's numbers are of FSDD, which could not be had (see above); give its folder "
            "with --data. `synesthete demo` runs on synthetic speakers"
        )
    return folder, evaluate.prepare(*material.load(folder))
