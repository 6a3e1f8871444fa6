"""The nearest images and recordings of audio files: written, told, past bad files."""

import dataclasses
import json
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image

from synesthete import cli, family, matching, material
from synesthete.artefact import Artefact
from synesthete.config import Preset, TrainingConfig
from synesthete.data import audio, storage, toy
from synesthete.errors import UserError
from synesthete.family import Shapes
from synesthete.matching import Model
from synesthete.retrieve import gallery, retrieve


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The toy world on disk, without labels."""
    folder = tmp_path_factory.mktemp("pairs") / "toy"
    storage.save(toy.build(recordings=80, images=200)[0], folder)
    return folder


@pytest.fixture(scope="module")
def model() -> Model:
    torch.manual_seed(0)
    matcher = family.build("retrieval", {"width": 8}, Shapes()).eval()
    preset = Preset("ave", "retrieval", TrainingConfig(steps=1), {"width": 8})
    return Model(Artefact(matcher, preset, Shapes(), {"seed": 0}, {}))


@pytest.fixture
def clip(tmp_path: Path) -> str:
    path = tmp_path / "tone.wav"
    soundfile.write(path, 0.3 * np.sin(np.arange(4_000) / 3), 8_000)
    return str(path)


def listed(target: Path) -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads(target.read_text())
    return found


def test_the_neighbours_are_those_of_the_highest_logits(
    model: Model, pairs: Path, clip: str, tmp_path: Path
) -> None:
    target = tmp_path / "found.json"
    shown = gallery(model, pairs)
    assert retrieve(model, [clip], shown, 7, out=tmp_path / "out", listing=str(target)) == 0
    test = storage.load(pairs).subset("test")
    heard = model.spectrogram([audio.load(clip)])
    with torch.inference_mode():
        scores = model.matcher.score(heard, torch.from_numpy(test.images) / 255)[0].numpy()
    order = np.argsort(-scores, kind="stable")[:7]
    (record,) = listed(target)
    assert set(record) == {"file", "error", "neighbours"}
    assert (record["file"], record["error"]) == (clip, "")
    neighbours = record["neighbours"]
    assert isinstance(neighbours, list)
    assert [n["id"] for n in neighbours] == [test.image_ids[row] for row in order]
    np.testing.assert_allclose([n["score"] for n in neighbours], scores[order], atol=1e-3)
    assert all(set(n) == {"id", "score"} for n in neighbours)
    with Image.open(tmp_path / "out" / "tone.png") as file:
        pixels = np.asarray(file)
    assert pixels.shape == (28, 7 * 29 - 1)
    for place, row in enumerate(order):
        np.testing.assert_array_equal(pixels[:, 29 * place :][:, :28], test.images[row, 0])


def test_recordings_are_ranked_by_nearness_and_a_known_one_finds_itself(
    model: Model, pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    test = storage.load(pairs).subset("test")
    path = tmp_path / "known.wav"
    soundfile.write(path, test.waveforms[5], test.rate, subtype="PCM_16")
    shown = gallery(model, pairs, "audio")
    assert retrieve(model, [str(path)], shown, 3, out=tmp_path / "out", listing="-") == 0
    (record,) = json.loads(capsys.readouterr().out)
    scores = [found["score"] for found in record["neighbours"]]
    assert record["neighbours"][0]["id"] == test.audio_ids[5]
    assert scores[0] == pytest.approx(0, abs=1e-2)
    assert scores == sorted(scores, reverse=True)
    assert len({found["id"] for found in record["neighbours"]}) == 3
    assert not (tmp_path / "out").exists()


def test_bad_files_are_told_and_cost_the_others_nothing(
    model: Model, pairs: Path, clip: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bad.wav").write_bytes(b"RIFF, but not really")
    files = [str(tmp_path / "bad.wav"), clip, "missing.wav"]
    assert retrieve(model, files, gallery(model, pairs), 2, out=tmp_path / "out") == 2
    shown = capsys.readouterr()
    assert len(shown.err.strip().splitlines()) == 3
    assert shown.err.endswith("1 of 3 files done; 2 failed\n")
    first, *places = shown.out.strip().splitlines()
    assert first == f"{clip}: {tmp_path / 'out' / 'tone.png'}"
    assert all(re.fullmatch(r" +\d  [0-9a-f]{16}  -?\d+\.\d{4}", line) for line in places)
    assert len(places) == 2
    target = tmp_path / "found.json"
    retrieve(model, files, gallery(model, pairs), 2, out=tmp_path / "out", listing=str(target))
    assert [len(r["neighbours"]) for r in listed(target)] == [0, 2, 0]  # type: ignore[arg-type]
    assert [bool(r["error"]) for r in listed(target)] == [True, False, True]


def test_asking_for_more_than_there_is_gives_all(
    model: Model, pairs: Path, clip: str, tmp_path: Path
) -> None:
    shown, target = gallery(model, pairs), tmp_path / "found.json"
    retrieve(model, [clip], shown, 1_000, out=tmp_path, listing=str(target))
    (record,) = listed(target)
    assert len(record["neighbours"]) == len(shown.ids) == 40  # type: ignore[arg-type]
    with pytest.raises(UserError, match="-k is 0"):
        retrieve(model, [clip], shown, 0)


def test_without_a_test_side_everything_is_searched(
    model: Model, pairs: Path, tmp_path: Path
) -> None:
    alignment = storage.load(pairs)
    train = ("train",)
    bare = dataclasses.replace(
        alignment,
        audio_splits=train * len(alignment.audio_ids),
        image_splits=train * len(alignment.image_ids),
    )
    storage.save(bare, tmp_path / "bare")
    assert len(gallery(model, tmp_path / "bare").ids) == 200
    assert len(gallery(model, tmp_path / "bare", "audio").ids) == 80


def test_images_of_another_size_are_refused(model: Model, tmp_path: Path) -> None:
    storage.save(toy.build(size=32)[0], tmp_path / "large")
    with pytest.raises(UserError, match=r"images are \(1, 32, 32\), this model looks at"):
        gallery(model, tmp_path / "large")


def test_the_command_finds_neighbours_for_a_trained_matcher(
    pairs: Path, clip: str, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(material, "default", lambda _: pairs)
    quick = ["--steps", "2", "--batch-size", "8", "--width", "8"]
    assert cli.main(["train", "ave", "--pairs", str(pairs), *quick]) == 0
    assert cli.main(["retrieve", "runs/ave", clip, "-k", "3"]) == 0
    assert (tmp_path / "neighbours" / "tone.png").exists()
    capsys.readouterr()
    arguments = ["retrieve", "runs/ave", clip, "nowhere.wav", "--what", "audio", "--json", "-"]
    assert cli.main(arguments) == 2
    shown = capsys.readouterr()
    assert [len(record["neighbours"]) for record in json.loads(shown.out)] == [10, 0]
    assert "nowhere.wav" in shown.err
    assert cli.main(["generate", "runs/ave", clip]) == 2
    assert "draws no images" in capsys.readouterr().err
    assert cli.main(["train", "archetype", "--pairs", str(pairs), *quick[:4]]) == 0
    capsys.readouterr()
    assert cli.main(["retrieve", "runs/archetype", clip]) == 2
    assert ", ".join(matching.presets()) in capsys.readouterr().err
