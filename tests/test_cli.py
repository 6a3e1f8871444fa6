"""The commands, end to end on the toy world: what they write, what they print, how they fail."""

import argparse
import dataclasses
import errno
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from synesthete import cli, evaluate, material
from synesthete.data import degrade, fsdd, mix, mnist, speech, storage, toy
from synesthete.data.alignment import Alignment
from synesthete.data.labels import FILE as LABELS_FILE
from synesthete.data.labels import Labels
from synesthete.data.sources import Unavailable

QUICK = ["--steps", "6", "--batch-size", "8"]


def as_digits(world: tuple[Alignment, Labels]) -> tuple[Alignment, Labels]:
    alignment, labels = world
    digit = {name: str(i) for i, name in enumerate(labels.classes)}
    unseen = frozenset(alignment.subset("train").image_ids[:100])
    audio, images = (
        {k: digit[v] for k, v in kind.items()} for kind in (labels.audio, labels.images)
    )
    return alignment, Labels(audio, images, labels.groups, unseen)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The toy world on disk, its classes called digits so that the judges can be asked."""
    folder = tmp_path_factory.mktemp("pairs") / "toy"
    alignment, labels = as_digits(toy.build(recordings=80, images=400))
    storage.save(alignment, folder, beside=labels.save)
    return folder


@pytest.fixture(scope="module")
def trained(pairs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "run"
    assert cli.main(["train", "archetype", "--pairs", str(pairs), "--out", str(out), *QUICK]) == 0
    return out


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "tone.wav"
    soundfile.write(path, 0.3 * np.sin(np.arange(4_000) / 3), 8_000)
    return path


def test_training_leaves_a_model_a_log_and_a_card(trained: Path) -> None:
    names = {path.name for path in trained.iterdir()}
    assert {"config.json", "model.safetensors", "README.md", "log.jsonl", "run.json"} <= names
    about = json.loads((trained / "config.json").read_text())
    assert about["preset"]["training"]["steps"] == 6
    assert about["training"]["command"].startswith("synesthete train archetype --pairs")
    assert about["data"]["digest"]


def test_training_is_the_same_without_labels(pairs: Path, trained: Path, tmp_path: Path) -> None:
    """With labels.parquet gone, the same weights come out, bit for bit."""
    bare = tmp_path / "bare"
    storage.save(storage.load(pairs), bare)
    assert not (bare / LABELS_FILE).exists()
    out = tmp_path / "run"
    assert cli.main(["train", "archetype", "--pairs", str(bare), "--out", str(out), *QUICK]) == 0
    assert (out / "model.safetensors").read_bytes() == (trained / "model.safetensors").read_bytes()


def test_evaluate_writes_the_scorecard_for_scripts_and_for_the_model(
    pairs: Path, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "card.json"
    arguments = ["evaluate", str(trained), "--pairs", str(pairs), "--json"]
    assert cli.main([*arguments, str(target)]) == 0
    card = json.loads(target.read_text())
    assert tuple(card) == evaluate.KEYS
    assert json.loads((trained / "scorecard.json").read_text()) == card
    assert "| agreement |" in (trained / "README.md").read_text()
    assert "agreement" in capsys.readouterr().out
    assert cli.main([*arguments, "-"]) == 0
    assert json.loads(capsys.readouterr().out)["agreement"] == card["agreement"]


def test_evaluate_tells_what_is_left_on_degraded_clips(
    pairs: Path, trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["evaluate", str(trained), "--pairs", str(pairs), "--degraded"]
    assert cli.main([*arguments, "--json", "-"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["condition"] for row in rows] == list(degrade.CONDITIONS)
    assert all(0 <= row["ci95"][0] <= row["agreement"] <= row["ci95"][1] <= 1 for row in rows)
    assert cli.main(arguments) == 0
    line = next(x for x in capsys.readouterr().out.splitlines() if "opus, smallest" in x)
    row = next(row for row in rows if row["condition"] == "opus, smallest")
    low, high = row["ci95"]
    assert f" {row['agreement']:.1%} " in line
    assert f" {low:.1%} to {high:.1%} " in line
    assert cli.main(["evaluate", str(trained), *arguments[1:]]) == 2
    assert "one model" in capsys.readouterr().err


def test_a_matcher_is_scored_by_what_matchers_do_alone_or_over_seeds(
    pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs, quick = [str(tmp_path / name) for name in ("one", "two")], [*QUICK, "--width", "8"]
    for seed, run in enumerate(runs):
        options = ["--pairs", str(pairs), "--out", run, "--seed", str(seed), *quick]
        assert cli.main(["train", "avc", *options]) == 0
    capsys.readouterr()
    assert cli.main(["evaluate", runs[0], "--pairs", str(pairs)]) == 0
    assert "retrieval image_to_audio mAP" in capsys.readouterr().out
    card = json.loads((tmp_path / "one" / "scorecard.json").read_text())
    assert tuple(card) == (*evaluate.KEYS, "correspondence", "retrieval")
    assert "| correspondence accuracy |" in (tmp_path / "one" / "README.md").read_text()
    assert cli.main(["evaluate", *runs, "--pairs", str(pairs), "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out)["seed"] == [0, 1]


def test_several_models_are_scored_as_seeds_of_one(
    pairs: Path, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other"
    options = ["--pairs", str(pairs), "--out", str(other), "--seed", "1", *QUICK]
    assert cli.main(["train", "archetype", *options]) == 0
    capsys.readouterr()
    models = [str(trained), str(other)]
    assert cli.main(["evaluate", *models, "--pairs", str(pairs), "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out)["seed"] == [0, 1]


def test_generate_writes_npz_and_goes_on_past_bad_files(
    trained: Path, clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "out.npz"
    arguments = ["generate", str(trained), str(clip), "missing.wav", "-n", "3"]
    assert cli.main([*arguments, "--npz", str(target)]) == 2
    assert "missing.wav" in capsys.readouterr().err
    with np.load(target) as held:
        assert held["images"].shape == (2, 3, 28, 28)
        assert held["images"][0].any()
    assert cli.main(["generate", str(trained), str(clip), "--out", str(tmp_path / "png")]) == 0
    assert (tmp_path / "png" / "tone.png").exists()


def test_inspect_tells_counts_and_provenance(
    pairs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["pairs", "inspect", str(pairs), "--json", "-"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["splits"]["train"]["recordings"] == 64
    assert told["digest"] == storage.read_header(pairs)["digest"]
    assert cli.main(["pairs", "inspect", str(pairs)]) == 0
    assert "64" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["train", "archetipe"], "did you mean 'archetype'"),
        (["train", "archetype", "--stpes", "3"], "did you mean 'steps'"),
        (["train", "archetype", "--steps"], "wanted --key value"),
        (["train", "archetype", "--pairs", "/nowhere"], "not an alignment"),
        (["evaluate", "/nowhere"], "no model '/nowhere'"),
        (["generate", "/nowhere", "a.wav"], "no model"),
        (["pairs", "inspect", "/nowhere"], "not an alignment"),
        (["generate", "x", "y", "--stpes", "3"], "not understood"),
        (["genrate", "digits", "a.wav"], "did you mean 'generate'?"),
        (["pairs", "inspct", "pairs"], "did you mean 'inspect'?"),
        (
            ["retrieve", "x", "y", "--what", "sounds"],
            "--what is 'sounds'; there are: images, audio",
        ),
        (["generate", "digits", "a.wav", "-n", "many"], "invalid int value: 'many'"),
        (["generate", "digts", "a.wav"], "did you mean 'digits'?"),
        ([], "COMMAND; see synesthete --help"),
        (["fetch", "minst"], "fsdd, mnist, speech"),
    ],
)
def test_wrong_usage_is_one_clear_line_and_status_2(
    arguments: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    pairs: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(material, "default", lambda _: pairs)
    assert cli.main(arguments) == 2
    shown = capsys.readouterr()
    assert told in shown.err
    assert len(shown.err.strip().splitlines()) == 1
    assert shown.out == ""


def test_help_comes_without_torch_and_a_wrong_option_says_so() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "synesthete.cli", "--help"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0
    for command in ("demo", "fetch", "pairs", "train", "evaluate", "generate", "retrieve"):
        assert command in done.stdout


def test_ctrl_c_leaves_a_run_that_resumes(pairs: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    command = [
        sys.executable, "-m", "synesthete.cli", "train", "archetype", "--pairs", str(pairs),
        "--out", str(out), "--steps", "3000", "--batch-size", "4",
    ]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as process:
        while not (out / "log.jsonl").exists() or not (out / "log.jsonl").read_text():
            time.sleep(0.05)
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate()
    assert process.returncode == 130
    assert "stopped after step" in errors
    assert "--resume" in errors
    assert "Traceback" not in errors
    assert list((out / "checkpoints").iterdir())


def test_the_demo_runs_from_data_to_report_and_a_second_time_only_scores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On stand-in data, told to be synthetic: the scorecard and the page say so."""
    alignment, labels = as_digits(toy.build(recordings=80, images=400))
    provenance = {**alignment.provenance, "audio_synthetic": True, "audio_source": "stand-in"}
    folder = tmp_path / "pairs"
    told = dataclasses.replace(alignment, provenance=provenance)
    storage.save(told, folder, beside=labels.save)
    monkeypatch.setattr(material, "default", lambda _: folder)
    small = tmp_path / "small.toml"
    small.write_text('family = "autoencoder"\n[training]\nsteps = 60\nbatch_size = 8\n')
    out = tmp_path / "demo"
    assert cli.main(["demo", "--preset", str(small), "--out", str(out)]) == 0
    assert capsys.readouterr().out.strip().endswith("report.html")
    assert "synthetic" in (out / "report.html").read_text()
    card = json.loads((out / "scorecard.json").read_text())
    assert card["audio_source"] == "stand-in"
    before = (out / "model.safetensors").stat().st_mtime_ns
    assert cli.main(["demo", "--preset", str(small), "--out", str(out)]) == 0
    assert (out / "model.safetensors").stat().st_mtime_ns == before


def test_without_fsdd_the_first_line_says_that_speakers_are_synthetic(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(fsdd, "load", no_fsdd)
    monkeypatch.setattr(speech, "synthesise", stand_in)
    monkeypatch.setattr(mnist, "load", no_fsdd)
    assert cli.main(["pairs", "mix", "--out", str(tmp_path / "pairs")]) == 2
    first, second, *_ = capsys.readouterr().err.splitlines()
    assert first.startswith("SYNTHETIC SPEAKERS")
    assert second == "not to be had"


def no_fsdd(*_: object, **__: object) -> fsdd.Recordings:
    raise Unavailable("not to be had")


def stand_in(*_: object, **__: object) -> fsdd.Recordings:
    from synesthete.data.sources import Origin

    origin = Origin("stand-in voices", "synthesised", "", "", verified=False)
    return fsdd.Recordings((), origin, synthetic=True)


def test_a_model_is_not_scored_on_a_split_it_was_not_trained_on_unless_asked(
    pairs: Path, trained: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    alignment, labels = as_digits(toy.build(recordings=80, images=400, seed=1))
    storage.save(alignment, tmp_path / "other", beside=labels.save)
    monkeypatch.setattr(material, "default", lambda _: tmp_path / "other")
    assert cli.main(["evaluate", str(trained)]) == 2
    assert "--pairs DIR" in capsys.readouterr().err
    assert cli.main(["evaluate", str(trained), "--pairs", str(tmp_path / "other")]) == 0
    assert "may have been heard in training" in capsys.readouterr().err


def test_a_full_disk_is_one_clear_line_and_costs_no_checkpoint(
    pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It fills up during the second checkpoint; with room again, the run goes on."""
    written: list[Path] = []
    write = Path.write_bytes

    def fill(path: Path, data: bytes) -> int:
        written.append(path)
        if len(written) > 4:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        return write(path, data)

    out = tmp_path / "run"
    arguments = ["train", "archetype", "--pairs", str(pairs), "--out", str(out), *QUICK]
    arguments += ["--checkpoint-every", "2"]
    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_bytes", fill)
        assert cli.main(arguments) == 2
    shown = capsys.readouterr().err.strip().splitlines()
    assert len(shown) == 1
    assert "No space left on device" in shown[0]
    assert [p.name for p in (out / "checkpoints").iterdir()] == ["step-00000002"]
    assert cli.main([*arguments, "--resume"]) == 0
    assert (out / "model.safetensors").exists()


def test_the_shuffled_control_has_a_folder_of_its_own_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = as_digits(toy.build(recordings=80, images=400))
    monkeypatch.setattr(fsdd, "load", stand_in)
    monkeypatch.setattr(mnist, "load", stand_in)
    monkeypatch.setattr(mix, "build", lambda *_, **__: plain)
    out = tmp_path / "control"
    assert cli.main(["pairs", "mix", "--shuffled", "--out", str(out)]) == 0
    assert storage.read_header(out)["provenance"]["shuffled"] is True
    folders = [material.default(material.MixConfig(shuffled=s)) for s in (False, True)]
    assert folders[0] != folders[1]
    digests = [storage.read_header(f)["digest"] for f in (*folders, out)]
    assert digests[0] == plain[0].digest()
    assert digests[1] == digests[2] != digests[0]


def test_fetch_says_where_everything_came_from(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(fsdd, "load", lambda *_, **__: stand_in())
    assert cli.main(["fetch", "fsdd"]) == 0
    assert "stand-in voices: synthesised" in capsys.readouterr().out


def parsers(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """A parser and those of its subcommands, each once."""
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for inner in action.choices.values():
                yield from parsers(inner)


def understood(line: str) -> None:
    """A line of a shell in which `synesthete` is a word: what follows it is parsed."""
    command = line.partition(" #")[0].partition(" > ")[0].rstrip(' ")')
    words = shlex.split(command.rpartition("synesthete ")[2])
    arguments, rest = cli.parser().parse_known_args(words)
    assert arguments.command == "train" or not rest


def test_every_help_ends_in_examples_that_are_understood() -> None:
    for parser in parsers(cli.parser()):
        first, *lines = str(parser.epilog).splitlines()
        assert first == "examples:"
        assert 2 <= len(lines) <= 3, parser.prog
        for line in lines:
            assert len(line) <= 90
            understood(line)


def test_the_page_says_what_it_needs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "gradio", None)
    monkeypatch.delitem(sys.modules, "synesthete.app", raising=False)
    assert cli.main(["app", "--no-browser"]) == 2
    wanted = "synesthete: the page needs Gradio: pip install 'synesthete[app]'\n"
    assert capsys.readouterr().err == wanted
