"""The main job on a user's own pairs: train a model and a matcher, score without labels, report."""

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from synesthete import artefact, config, evaluate_pairs, material, pairs_exam, report, runs
from synesthete.data import audio, storage
from synesthete.data.batches import spectrograms
from synesthete.demo import plane, recipe
from synesthete.evaluate import Images, Rows, Scorecard
from synesthete.evaluate_pairs import MATCHER
from synesthete.generate import Model
from synesthete.pairs_exam import Exam
from synesthete.train import read_log

MATCHER_STEPS = 400
"""Of its training: enough to tell pairs apart, where `ave` is for retrieval."""

ROWS, COLUMNS = 12, 6
"""Recordings that the report shows, and drawings of each where they differ."""


def demo(preset: config.Preset, folder: Path, out: Path, seed: int, command: str) -> Path:
    """Train `preset` in `out` on the alignment in `folder`, score it, report; the report's path.

    A run that was stopped goes on; one that is finished is scored and reported again.

    Raises:
        UserError: `out` holds another run, or the alignment has no test side.
        Interrupted: asked to stop while training.
    """
    train, facts = storage.load(folder, ("train",)), material.facts(folder)
    matching = _matcher_preset()
    for wanted, place in ((preset, out), (matching, out / MATCHER)):
        runs.run(wanted, train, facts, place, seed=seed, resume=True, command=command)
    exam = pairs_exam.prepare(folder, out / MATCHER)
    model = Model(artefact.read(str(out)))
    card = evaluate_pairs.evaluate(model, exam)
    artefact.write_scorecard(model.artefact, out, card)
    path = out / "report.html"
    report.write(_data(model, exam, card, out, command), path)
    return path


def _matcher_preset() -> config.Preset:
    preset = config.from_table(config.read("ave"))
    return replace(preset, training=replace(preset.training, steps=MATCHER_STEPS))


def _data(model: Model, exam: Exam, card: Scorecard, out: Path, command: str) -> report.ReportData:
    """Everything that the page shows."""
    held, rng = model.artefact, np.random.default_rng(0)
    pictures = spectrograms(exam.alignment, held.preset.spectrogram)
    names = np.array(exam.labels.classes)[exam.heard].tolist() if exam.labels else []
    speakers = exam.speakers.tolist() if exam.labels and exam.speakers.all() else []
    real = evaluate_pairs.score(exam, exam.real)
    return report.ReportData(
        title="Hear it, see it",
        command=command,
        created=time.strftime("%Y-%m-%d"),
        scorecard=evaluate_pairs.flat(card),
        rows=_examples(model, pictures, exam, _some(exam, rng), names),
        model=recipe(held),
        counts={
            name: {"recordings": s["recordings"], "images": s["images"], "pairs": s["edges"]}
            for name, s in held.data["counts"]["splits"].items()
        },
        protocol=_protocol(held.data),
        noun="thing",
        baselines={"real test images": evaluate_pairs.flat(real)},
        curves=read_log(out),
        latent=plane(model.embed_spectrogram(pictures)),
        latent_labels=names,
        latent_speakers=speakers,
        classes=exam.labels.classes if exam.labels else (),
    )


def _some(exam: Exam, rng: np.random.Generator) -> Rows:
    """Pairs of different recordings, chosen blindly."""
    _, first = np.unique(exam.recordings, return_index=True)
    return rng.permutation(first)[:ROWS]


def _examples(
    model: Model, pictures: Tensor, exam: Exam, pairs: Rows, names: list[str]
) -> list[report.Example]:
    """What was heard (`pictures` are the spectrograms), drawn and seen in each of `pairs`."""
    recordings = exam.recordings[pairs]
    columns = COLUMNS if model.generator.noise_size else 1
    images: Images = model.sample(pictures[recordings.tolist()], columns)
    return [
        report.Example(
            spectrogram=pictures[recording, 0].numpy(),
            waveform=audio.trim_silence(exam.alignment.waveforms[recording], exam.alignment.rate),
            generated=drawn,
            real=exam.real[pair],
            label=names[recording] if names else "",
        )
        for pair, recording, drawn in zip(pairs.tolist(), recordings.tolist(), images, strict=True)
    ]


def _protocol(data: Mapping[str, Any]) -> str:
    """How the pairs were found and split, in words."""
    told = {
        "given": "The split came with the pairs",
        "drawn": "What hangs together (a group, a video, one content) is on one side of the split",
    }
    return f"Pairs {data.get('rule', '')}. {told.get(str(data.get('split')), 'Split as given')}."
