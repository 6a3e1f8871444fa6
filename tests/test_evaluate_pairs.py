"""Pairs of one's own from training to scores: any shape and rate; scores whose values are known."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray
from torch import Tensor

from synesthete import (
    artefact,
    cli,
    config,
    demo_pairs,
    evaluate,
    evaluate_pairs,
    judges,
    matching,
    pairs_exam,
)
from synesthete.data import joining, storage
from synesthete.data.own import Form, Found, Item
from synesthete.data.sides import Shares
from synesthete.data.spectrogram import SpectrogramConfig
from synesthete.pairs_exam import Exam
from synesthete.pixels import planes, seen

KINDS, RATE = 3, 16_000
READ = config.read


def material(each: int, form: Form, *, labelled: bool) -> Found:
    """A tone of one of three pitches for a patch of one of three colours, at varied places."""
    rng = np.random.default_rng(0)
    items, waves, pixels = [], [], []
    for row in range(KINDS * each):
        kind = row % KINDS
        time = np.arange(int(form.rate * rng.uniform(0.25, 0.4))) / form.rate
        waves.append((0.5 * np.sin(2 * np.pi * 400 * 2**kind * time)).astype(np.float32))
        picture = rng.integers(0, 20, (form.channels, form.size, form.size), np.uint8)
        top, left = rng.integers(0, form.size // 2, 2)
        patch = np.s_[
            kind % form.channels, top : top + form.size // 2, left : left + form.size // 2
        ]
        picture[patch] = 120 + 60 * kind
        pixels.append(picture)
        label = ("low", "middle", "high")[kind] if labelled else ""
        items.append(Item(f"{row}", group=f"take {row // 2}", label=label))
    edges = np.repeat(np.arange(len(items))[:, None], 2, axis=1)
    return Found(items, waves, items, pixels, edges)


def stored(folder: Path, form: Form, each: int = 8, *, labelled: bool = False) -> Path:
    made = joining.join(
        material(each, form, labelled=labelled), form, Shares(0.3), {"audio_source": "tones"}
    )
    storage.save(made.alignment, folder, beside=made.save_beside)
    return folder


def train(preset: str, pairs: Path, out: Path, *options: str) -> Path:
    quick = ["--steps", "2", "--batch-size", "4", *options]
    assert cli.main(["train", preset, "--pairs", str(pairs), "--out", str(out), *quick]) == 0
    return out


@pytest.mark.parametrize(
    ("preset", "form", "options"),
    [
        ("archetype", Form(48_000, 64, 3), []),
        pytest.param("archetype", Form(16_000, 128, 3), [], marks=pytest.mark.slow),
        ("archetype", Form(16_000, 28, 1), []),
        pytest.param("deck-vae", Form(16_000, 64, 3), [], marks=pytest.mark.slow),
        pytest.param("vae-gan", Form(22_050, 64, 3), ["--images-per-recording", "1"],
                     marks=pytest.mark.slow),
        ("flow", Form(16_000, 64, 3), ["--copies", "1", "--images-per-recording", "1",
                                       "--plain-steps", "1", "--first-phase-steps", "1"]),
    ],
)  # fmt: skip
def test_image_size_colour_and_rate_are_the_only_change(
    tmp_path: Path, preset: str, form: Form, options: list[str]
) -> None:
    run = train(preset, stored(tmp_path / "pairs", form), tmp_path / "run", *options)
    held = artefact.read(str(run))
    assert held.shapes.image == (form.channels, form.size, form.size)
    assert held.shapes.audio == (1, 48, 48)
    assert held.preset.spectrogram.rate == form.rate
    soundfile.write(tmp_path / "tone.wav", 0.3 * np.sin(np.arange(20_000) / 9), 44_100)
    arguments = ["generate", str(run), str(tmp_path / "tone.wav"), "-n", "2"]
    assert cli.main([*arguments, "--npz", str(tmp_path / "all.npz")]) == 0
    shape = (form.size, form.size) if form.channels == 1 else (form.size, form.size, 3)
    assert np.load(tmp_path / "all.npz")["images"].shape == (1, 2, *shape)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return stored(
        tmp_path_factory.mktemp("own") / "pairs", Form(RATE, 32, 3), each=20, labelled=True
    )


class Oracle(matching.Model):
    """A matcher that knows: one number tells the kind, and belonging is being near in it."""

    def __init__(self) -> None:
        """Nothing was trained."""

    def embed_image(self, images: NDArray[np.uint8]) -> matching.Floats:
        """The brightest colour, and what there is besides, so that there is spread."""
        means = images.reshape(*images.shape[:2], -1).max(axis=2)
        kind = means.argmax(axis=1)
        rest = images.mean((1, 2, 3)) / 255
        return np.stack([kind, rest], axis=1).astype(np.float32)

    def embed_audio(self, spectrogram: Tensor) -> matching.Floats:
        band = spectrogram[:, 0].mean(2).argmax(1).numpy()
        order = np.searchsorted(np.unique(band), band)
        return np.asarray(order[:, None], np.float32)

    def match(self, audio: matching.Floats, image: matching.Floats) -> matching.Floats:
        near: matching.Floats = 0.5 - np.abs(audio[:, :1] - image[:, 0])
        return near


@pytest.fixture
def exam(pairs: Path, monkeypatch: pytest.MonkeyPatch) -> Exam:
    bare = pairs_exam.prepare(pairs, None, judged=False)
    config = SpectrogramConfig().fitted(RATE, 0.4)
    monkeypatch.setattr(Oracle, "log_mel", type("Front", (), {"config": config}), raising=False)
    return replace(bare, matcher=Oracle(), labels=None)


def test_real_images_belong_to_their_sounds_and_are_as_real_as_themselves(exam: Exam) -> None:
    card = evaluate_pairs.score(exam, exam.real)
    assert tuple(card) == (*evaluate.KEYS, "retrieval", "correspondence")
    assert json.loads(json.dumps(card, allow_nan=False)) == card
    assert card["correspondence"]["drawn"] == card["correspondence"]["real"] == 1
    assert card["correspondence"]["others"] < 0.7
    assert card["retrieval"]["median_rank"] == 1
    assert card["retrieval"]["mean_rank"] == 0
    assert card["retrieval"]["recall@1"] == 1
    assert card["fld"] == pytest.approx(0, abs=1e-6)
    assert card["diversity_ratio"] == pytest.approx(1)
    assert card["precision"] == card["recall"] == card["coverage"] == 1
    assert card["agreement"] is None


def test_images_of_other_pairs_do_not_belong(exam: Exam) -> None:
    kinds = Oracle().embed_image(planes(exam.real))[:, 0]
    other = np.array([int(np.flatnonzero(kinds != kind)[0]) for kind in kinds])
    card = evaluate_pairs.score(exam, exam.real[other])
    assert card["correspondence"]["drawn"] == 0
    assert card["retrieval"]["recall@1"] < 1
    assert card["retrieval"]["mean_rank"] > 0.2
    assert card["retrieval"]["real"]["mean_rank"] == 0


def test_one_image_for_all_has_no_diversity_and_train_images_are_memory(exam: Exam) -> None:
    same = np.repeat(exam.real[:1], len(exam.real), axis=0)
    card = evaluate_pairs.score(exam, same, np.repeat(same[:, None], 4, axis=1))
    assert card["diversity_ratio"] == pytest.approx(0, abs=1e-6)
    assert card["diversity_within_recording"] == pytest.approx(0, abs=1e-6)
    assert card["fld"] > card["fld_floor"] > 0
    copied = seen(exam.train.images)[: len(exam.real)]
    assert evaluate_pairs.score(exam, copied)["memorised_fraction"] == 1


def test_kinds_without_labels_are_the_parts_of_the_graph(exam: Exam) -> None:
    assert (exam.heard[exam.recordings] == exam.wanted).all()
    assert len({*exam.heard.tolist()}) == len(exam.alignment.audio_ids)


def test_a_judge_of_the_users_labels_reads_real_images(
    pairs: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(judges, "OWN", replace(judges.OWN, steps=60, batch_size=24))
    run = train("archetype", pairs, tmp_path / "run")
    capsys.readouterr()
    assert cli.main(["evaluate", str(run), "--pairs", str(pairs), "--json", "-"]) == 0
    card = json.loads(capsys.readouterr().out)
    assert card["judge_accuracy"] >= 0.9
    assert {*card["agreement_per_class"]} == {"low", "middle", "high"}
    assert card["fld"] is None
    monkeypatch.setattr(judges, "fit", None)  # it was kept: nothing is trained again
    exam = pairs_exam.prepare(pairs, None)
    scored = evaluate_pairs.score(exam, exam.real)
    assert scored["agreement"] == scored["judge_accuracy"] == card["judge_accuracy"]


def test_without_labels_a_matcher_is_asked_for_and_must_be_of_these_pairs(
    tmp_path: Path, pairs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bare = stored(tmp_path / "pairs", Form(RATE, 32, 3), each=10)
    run, quick = train("archetype", bare, tmp_path / "run"), ["--width", "8"]
    matcher = train("ave", bare, tmp_path / "ave", *quick)
    other = train("ave", pairs, tmp_path / "other", *quick)
    capsys.readouterr()
    command = ["evaluate", str(run), "--pairs", str(bare)]
    assert cli.main(command) == 2
    assert "--matcher runs/ave" in capsys.readouterr().err
    assert cli.main([*command, "--matcher", str(other)]) == 2
    assert "another alignment" in capsys.readouterr().err
    assert cli.main([*command, "--matcher", str(matcher)]) == 0
    assert "correspondence drawn" in capsys.readouterr().out
    assert cli.main(["evaluate", str(matcher), "--pairs", str(bare), "--json", "-"]) == 0
    card = json.loads(capsys.readouterr().out)
    assert 0 <= card["correspondence"]["accuracy"] <= 1
    assert card["retrieval"]["audio_to_image"]["n"] == card["n_recordings"]


def test_the_whole_job_leaves_a_model_its_matcher_a_scorecard_and_a_page(
    pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo_pairs, "MATCHER_STEPS", 2)
    monkeypatch.setattr(judges, "OWN", replace(judges.OWN, steps=2, batch_size=8))
    table = config.override(
        config.read("archetype"), {"training.steps": "2"}, {"training": config.TrainingConfig}
    )
    monkeypatch.setattr(config, "read", lambda name: table if name == "archetype" else READ(name))
    run = tmp_path / "run"
    assert cli.main(["demo", "--pairs", str(pairs), "--out", str(run)]) == 0
    card = json.loads((run / "scorecard.json").read_text())
    assert card["correspondence"]["n"] == card["n_pairs"]
    assert card["agreement"] is not None
    page = (run / "report.html").read_text()
    assert page.count("data:image/png") > 2 * demo_pairs.ROWS
    assert "handwriting" not in page
    assert "Belongs to its sound" in page
    capsys.readouterr()
    assert cli.main(["evaluate", str(run), "--pairs", str(pairs), "--json", "-"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert again["fld"] == card["fld"]  # by the matcher in the run
