"""What is said of a machine: sound, lacking, or broken; nothing is asked of the network."""

import importlib.metadata
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import soundfile

from synesthete import cli

Told = dict[str, dict[str, Any]]


def examined(capsys: pytest.CaptureFixture[str]) -> tuple[int, Told]:
    """The status of the command, and its checks by their names."""
    status = cli.main(["doctor", "--json", "-"])
    told = json.loads(capsys.readouterr().out)
    assert told["works"] == (status == 0)
    return status, {check["part"]: check for check in told["checks"]}


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No data here, and no way out."""

    def refuse(*_: object) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setenv("SYNESTHETE_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def test_a_sound_machine_works_even_without_data(
    own_cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, told = examined(capsys)
    assert status == 0
    for part in ("Python", "torch", "wav", "flac", "ogg", "opus", "cache", "model digits"):
        assert told[part]["works"], told[part]
    assert told["torch"]["found"].startswith(importlib.metadata.version("torch"))
    assert str(own_cache) in told["cache"]["found"]
    for part, name in (("FSDD v1.0.10", "fsdd"), ("MNIST", "mnist")):
        assert not told[part]["works"]
        assert told[part]["mend"] == f"synesthete fetch {name}"
    assert "espeakng-loader" in told["extra speech"]["found"]


def test_people_get_a_table_that_says_how_to_mend(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["doctor"]) == 0
    shown = capsys.readouterr().out
    line = next(line for line in shown.splitlines() if "MNIST" in line)
    assert " no " in line
    assert "synesthete fetch mnist" in line
    assert shown.endswith("the main job works here\n")


@pytest.mark.parametrize(("kind", "part", "status"), [("MP3", "mp3", 0), ("WAV", "wav", 2)])
def test_a_missing_codec_is_told_and_only_wav_is_needed(
    kind: str, part: str, status: int,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    write = soundfile.write

    def lacking(*args: Any, format: str, **kwargs: Any) -> None:
        if format == kind:
            raise ValueError(f"no {kind}")
        write(*args, format=format, **kwargs)

    monkeypatch.setattr(soundfile, "write", lacking)
    found, told = examined(capsys)
    assert found == status
    assert not told[part]["works"]
    assert told[part]["found"] == f"no {kind}"
    assert "soundfile" in told[part]["mend"]


def test_a_cache_that_cannot_be_made_is_what_the_main_job_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SYNESTHETE_CACHE", str(tmp_path / "file" / "cache"))
    status, told = examined(capsys)
    assert status == 2
    assert not told["cache"]["works"]
    assert "SYNESTHETE_CACHE" in told["cache"]["mend"]


def test_a_broken_torch_is_a_finding_not_a_traceback(tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("raise ImportError('libtorch.so: cannot open')")
    done = subprocess.run(
        [sys.executable, "-m", "synesthete.cli", "doctor"], capture_output=True, text=True,
        check=False, env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr == ""
    line = next(line for line in done.stdout.splitlines() if "libtorch.so" in line)
    assert "│ torch " in line
    assert " NO " in line
    assert "pip install --force-reinstall torch" in line
    assert done.stdout.endswith("the main job needs what is marked NO\n")
