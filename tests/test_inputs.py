"""Which recordings are meant: files, globs, folders, standard input; what is said of bad ones."""

import io
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from synesthete.data import audio
from synesthete.inputs import find_audio, summarise, usable


def test_files_are_found_in_folders_and_by_globs(sounds: Path) -> None:
    def names(argument: str) -> list[str]:
        return [Path(file).name for file in find_audio([str(sounds / argument)])]

    assert names("") == ["bad.wav", "t2.wav", "t0.wav", "t1.wav"]  # by path: sub/ before t0
    assert names("t*.wav") == ["t0.wav", "t1.wav"]
    assert names("**/t*.wav") == ["t2.wav", "t0.wav", "t1.wav"]
    assert names("s*") == ["t2.wav"]
    assert find_audio(["-", "missing.wav"]) == ["-", "missing.wav"]


def test_a_file_may_be_called_like_a_glob(sounds: Path) -> None:
    odd = sounds / "t[0].wav"
    odd.write_bytes((sounds / "t0.wav").read_bytes())
    assert find_audio([str(odd)]) == [str(odd)]


def heard(files: list[str]) -> tuple[list[int], list[dict[str, Any]]]:
    records: list[dict[str, Any]] = [{"error": ""} for _ in files]
    return [row for row, _ in usable(files, records)], records


def test_what_names_nothing_fails_alone(sounds: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (sounds / "empty").mkdir()
    arguments = [str(sounds / name) for name in ("empty", "*.flac", "t0.wav", "gone.wav")]
    rows, records = heard(find_audio(arguments))
    assert rows == [2]
    assert "empty: no sound file in it" in records[0]["error"]
    assert "*.flac: cannot be read" in records[1]["error"]
    assert "gone.wav" in records[3]["error"]
    assert len(capsys.readouterr().err.splitlines()) == 3
    assert summarise(records) == 2
    assert capsys.readouterr().err == "1 of 4 files done; 3 failed\n"


@pytest.mark.parametrize(
    ("failures", "told"), [([""], ""), (["bad"], ""), (["", ""], "2 of 2 files done\n")]
)
def test_the_summary_is_for_several_files(
    failures: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert summarise([{"error": error} for error in failures]) == (2 if any(failures) else 0)
    assert capsys.readouterr().err == told


def stdin(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))


def test_standard_input_is_one_sound(sounds: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stdin((sounds / "t0.wav").read_bytes(), monkeypatch)
    ((_, waveform),) = usable(["-"], [{}])
    np.testing.assert_array_equal(waveform, audio.load(sounds / "t0.wav"))


@pytest.mark.parametrize(
    ("data", "told"), [(b"", "standard input: 0 bytes"), (b"words", "standard input: not a sound")]
)
def test_a_bad_standard_input_is_named(
    data: bytes, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stdin(data, monkeypatch)
    rows, records = heard(["-"])
    assert rows == []
    assert records[0]["error"].startswith(told)


def test_an_endless_standard_input_is_not_read_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    class Endless:
        @property
        def buffer(self) -> "Endless":
            return self

        def read(self, size: int) -> bytes:
            asked.append(size)
            return bytes(size)

    monkeypatch.setattr(sys, "stdin", Endless())
    _, records = heard(["-"])
    assert "standard input: wanted at most" in records[0]["error"]
    assert asked == [audio.LIMITS.max_bytes + 1]
