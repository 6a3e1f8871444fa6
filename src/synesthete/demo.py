"""The main job from end to end: hear a digit, see a digit, and a report of how well."""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from synesthete import artefact, config, evaluate, material, report, runs
from synesthete.baselines import baselines
from synesthete.data import audio
from synesthete.data.batches import spectrograms
from synesthete.evaluate import Answer, Exam
from synesthete.family import Family, Generator, noise
from synesthete.files import naming
from synesthete.generate import Model, to_uint8
from synesthete.judges import load_judge, read
from synesthete.metrics import confusion
from synesthete.train import Step, read_log

DECK = {"agreement": 0.937, "judge_accuracy": 0.987}
"""What the 2020 talk reports of its VAE and of its LeNet5."""

WATCH_EVERY = 50
"""Steps between two looks at the agreement while training."""

WATCHED = "agreement.jsonl"
"""What they saw."""


def demo(
    preset: config.Preset, mix: material.MixConfig, out: Path, seed: int, command: str
) -> Path:
    """Data, training, scores, pictures; the path of the report.

    A run that was stopped goes on; one that is finished is scored and reported again.

    Raises:
        UserError: `out` holds another run.
        Interrupted: asked to stop while training.
    """
    folder = material.default(mix)
    alignment, labels = material.load(folder)
    exam = evaluate.prepare(alignment, labels)
    watch = Watch(exam, preset, out)
    runs.run(
        preset, alignment, material.facts(folder), out,
        seed=seed, resume=True, command=command, watch=watch,
    )  # fmt: skip
    return score_and_report(out, exam, command)


def score_and_report(out: Path, exam: Exam, command: str) -> Path:
    """Score the finished run in `out`, write its scorecard and its report; the report's path."""
    held = artefact.read(str(out))
    model = Model(held)
    answer = evaluate.evaluate(model, exam)
    artefact.write_scorecard(held, out, answer.scorecard)
    data = _data(model, exam, answer, baselines(model, exam), out, command)
    path = out / "report.html"
    report.write(data, path)
    return path


class Watch:
    """Notes the agreement now and then while training; nothing of it reaches training."""

    def __init__(self, exam: Exam, preset: config.Preset, out: Path) -> None:
        self._exam, self._path = exam, out / WATCHED
        self._audio = spectrograms(exam.alignment, preset.spectrogram)
        self._weights = np.bincount(exam.recordings, minlength=len(self._audio))
        self._classes = _classes_of_recordings(exam)
        self._judge = load_judge("lenet5")

    def __call__(self, step: Step, model: Family) -> None:
        """Append the step's agreement, with one image a recording, to `WATCHED`."""
        if step.number % WATCH_EVERY or not isinstance(model, Generator):
            return
        was_training = model.training
        model.eval()
        with torch.inference_mode():
            size = model.noise_size
            images = model.sample(self._audio, noise(0, 0, len(self._audio), 1, size))[:, 0]
        model.train(was_training)
        found = read(self._judge, to_uint8(images))[1].argmax(1) == self._classes
        agreement = float(np.average(found, weights=self._weights))
        with naming(self._path), self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step.number, "agreement": agreement}) + "\n")


def curves(out: Path) -> list[dict[str, float]]:
    """The run's log and the agreements noted beside it, by step."""
    rows = {int(line["step"]): dict(line) for line in read_log(out)}
    for line in read_log(out, WATCHED):
        rows.setdefault(int(line["step"]), {}).update(line)
    return [rows[step] for step in sorted(rows)]


def recipe(held: artefact.Artefact) -> dict[str, Any]:
    """How a model came about, as a report tells it."""
    training = held.preset.training
    return {
        "preset": held.preset.name,
        "family": held.preset.family,
        "parameters": held.parameters,
        "steps": held.training["steps"],
        "batch_size": training.batch_size,
        "objective": training.objective,
        "seconds": held.training["seconds"],
        "seed": held.training["seed"],
        "torch": held.training["torch"],
        "precision": training.precision,
    }


def _data(
    model: Model,
    exam: Exam,
    answer: Answer,
    others: Mapping[str, Answer],
    out: Path,
    command: str,
) -> report.ReportData:
    """Everything that the page shows."""
    held = model.artefact
    data = held.data
    pictures, rng = spectrograms(exam.alignment, held.preset.spectrogram), np.random.default_rng(0)
    heard = _classes_of_recordings(exam)
    return report.ReportData(
        title="Hear a digit, see a digit",
        command=command,
        created=time.strftime("%Y-%m-%d"),
        scorecard=answer.scorecard,
        rows=_examples(pictures, exam, answer, _one_a_class(exam, rng)),
        model=recipe(held),
        origins=data["origins"],
        counts=_counts(data["counts"]["splits"]),
        protocol=_protocol(data),
        synthetic=bool(data.get("audio_synthetic")),
        baselines={name: found.scorecard for name, found in others.items()},
        deck=DECK,
        grid=_grid(exam, answer.images, rng),
        real_grid=_grid(exam, exam.alignment.images[exam.alignment.edges[:, 1], 0], rng),
        classes=evaluate.DIGITS,
        confusion=confusion(exam.wanted, answer.reading.read, len(evaluate.DIGITS)),
        curves=curves(out),
        latent=plane(model.embed_spectrogram(pictures)),
        latent_labels=[evaluate.DIGITS[c] for c in heard],
        latent_speakers=exam.speakers.tolist(),
        failures=_examples(pictures, exam, answer, _failures(exam, answer)),
    )


def _classes_of_recordings(exam: Exam) -> NDArray[np.int64]:
    """int64[R], the class that each recording's pairs share."""
    classes = np.zeros(len(exam.alignment.audio_ids), np.int64)
    classes[exam.recordings] = exam.wanted
    return classes


def _one_a_class(exam: Exam, rng: np.random.Generator) -> list[int]:
    """A pair of each class, of varied speakers, chosen blindly: right or wrong."""
    order = rng.permutation(len(exam.wanted))
    return [int(order[exam.wanted[order] == c][0]) for c in np.unique(exam.wanted)]


def _failures(exam: Exam, answer: Answer, most: int = 24) -> list[int]:
    """The first wrong pair of each recording that has one, the most often wrong first."""
    wrong = np.flatnonzero(answer.reading.read != exam.wanted)
    _, first, counts = np.unique(exam.recordings[wrong], return_index=True, return_counts=True)
    return [int(wrong[first[i]]) for i in np.argsort(-counts, kind="stable")[:most]]


def _examples(
    pictures: Tensor, exam: Exam, answer: Answer, pairs: list[int]
) -> list[report.Example]:
    """What was heard (`pictures` are the spectrograms), drawn and seen in each of `pairs`."""
    found = []
    for pair in pairs:
        recording, image = exam.alignment.edges[pair]
        same = np.flatnonzero(exam.recordings == recording)
        shown = [pair, *same[same != pair][:3].tolist()]
        found.append(
            report.Example(
                spectrogram=pictures[recording, 0].numpy(),
                waveform=audio.trim_silence(
                    exam.alignment.waveforms[recording], exam.alignment.rate
                ),
                generated=answer.images[shown],
                real=exam.alignment.images[image, 0],
                label=evaluate.DIGITS[exam.wanted[pair]],
                speaker=str(exam.speakers[recording]),
                judged=evaluate.DIGITS[answer.reading.read[pair]],
            )
        )
    return found


def _grid(
    exam: Exam, images: NDArray[np.uint8], rng: np.random.Generator, n: int = 8
) -> dict[str, NDArray[np.uint8]]:
    """`n` images of each class, chosen blindly."""
    rows = rng.permutation(len(images))
    return {
        evaluate.DIGITS[c]: images[rows[exam.wanted[rows] == c][:n]] for c in np.unique(exam.wanted)
    }


def plane(vectors: NDArray[np.float32]) -> NDArray[np.float64]:
    """The first two principal components of float32[R, D]."""
    centred = vectors - vectors.mean(0)
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    return np.asarray(centred @ axes[:2].T, np.float64)


def _protocol(data: Mapping[str, Any]) -> str:
    """How the recordings were split, in words."""
    split = data.get("split", "")
    told = {
        "random": "A tenth of the recordings, drawn at random, is held out for the test (the "
        "deck's 90/10 split)",
        "official": "FSDD's own split: each speaker's first five takes of a digit are the test",
    }
    told["crowd"] = "All recordings of FSDD are the test: training hears synthetic speakers alone"
    if split.startswith("speaker:"):
        told[split] = (
            f"All recordings of {split.removeprefix('speaker:')} are held out for the test"
        )
    paired = "inside each side, every image drew one recording of its digit; the only use of labels"
    return f"{told.get(split, 'As the alignment says')}; {paired}."


def _counts(splits: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, int]]:
    return {
        name: {"recordings": s["recordings"], "images": s["images"], "pairs": s["edges"]}
        for name, s in splits.items()
    }
