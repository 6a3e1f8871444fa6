"""Images on disk: past bad files, told to people, pipes and scripts."""

import io
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

from synesthete.deliver import deliver, picture_names
from synesthete.generate import CLIPS, Model
from synesthete.inputs import find_audio
from tiny import tone, untrained


@pytest.fixture(scope="module")
def vae() -> Model:
    return untrained()


def size(picture: Path) -> tuple[int, int]:
    with Image.open(picture) as file:
        return file.size


def test_delivery_goes_on_past_bad_files(
    vae: Model, sounds: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = find_audio([str(sounds)])
    status = deliver(vae, files, 4, npz=sounds / "out.npz", out=sounds / "pictures")
    shown = capsys.readouterr()
    assert status == 2
    error, summary = shown.err.splitlines()
    assert "bad.wav" in error
    assert summary == "3 of 4 files done; 1 failed"
    with np.load(sounds / "out.npz", allow_pickle=False) as held:
        assert held["files"].tolist() == files
        assert [bool(e) for e in held["error"]] == [True, False, False, False]
        assert held["images"].shape == (4, 4, 28, 28)
        assert not held["images"][0].any()
        alone = vae.draw([tone(300)], 4, rows=[2])[0]
        assert np.abs(held["images"][2].astype(int) - alone).max() <= 1
    assert size(sounds / "pictures" / "t0.png") == (2 * 28 + 1, 2 * 28 + 1)
    assert not (sounds / "pictures" / "bad.png").exists()


def test_files_are_drawn_in_blocks_each_by_its_own_noise(vae: Model, tmp_path: Path) -> None:
    """What a file gives does not depend on which of the others are bad."""
    files = [str(tmp_path / f"{i}.wav") for i in range(CLIPS + 10)]
    for i, file in enumerate(files):
        if i % 7 != 3:
            soundfile.write(file, tone(300 + 20 * i), 8_000, subtype="FLOAT")
    assert deliver(vae, files, 2, npz=tmp_path / "out.npz") == 2
    with np.load(tmp_path / "out.npz", allow_pickle=False) as held:
        for i in (0, 9, CLIPS + 8):
            alone = vae.draw([tone(300 + 20 * i)], 2, rows=[i])[0]
            assert np.abs(held["images"][i].astype(int) - alone).max() <= 1


def test_a_block_without_a_good_file_draws_nothing(vae: Model, tmp_path: Path) -> None:
    assert deliver(vae, [str(tmp_path / "gone.wav")], 2, npz=tmp_path / "out.npz") == 2
    with np.load(tmp_path / "out.npz", allow_pickle=False) as held:
        assert "gone.wav" in held["error"][0]
        assert not held["images"].any()


def test_every_file_has_a_picture_of_its_own() -> None:
    files = ["a/t.wav", "b/t.wav", "t-2.wav", "T.flac", "-"]
    names = ["t.png", "t-2.png", "t-2-2.png", "T-3.png", "stdin.png"]
    assert picture_names(files) == names
    many = picture_names([f"{i}/same.wav" for i in range(5_000)])
    assert len(set(many)) == 5_000


def test_the_listing_is_json_and_standard_output_stays_clean(
    vae: Model, sounds: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    deliver(vae, [str(sounds / "t0.wav"), "gone.wav"], 1, out=sounds, listing="-")
    told = json.loads(capsys.readouterr().out)
    assert [record["file"] for record in told] == [str(sounds / "t0.wav"), "gone.wav"]
    assert told[0]["error"] == ""
    assert "gone.wav" in told[1]["error"]
    assert Path(told[0]["written"]).exists()
    assert size(Path(told[0]["written"])) == (28, 28)


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "synesthete.cli", *words]


def test_a_pipe_in_gives_plain_lines_out(tmp_path: Path, sounds: Path) -> None:
    """One sound from standard input beside files: names alone, no colour, a summary apart."""
    files = ["-", str(sounds / "sub"), "nothing-*.wav"]
    done = subprocess.run(
        command("generate", "digits", *files, "-n", "1", "--out", "pictures"),
        input=(sounds / "t0.wav").read_bytes(), capture_output=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stdout.decode().splitlines() == ["pictures/stdin.png", "pictures/t2.png"]
    error, summary = done.stderr.decode().splitlines()
    assert error.startswith("synesthete: nothing-*.wav: cannot be read")
    assert summary == "2 of 3 files done; 1 failed"
    assert {path.name for path in (tmp_path / "pictures").iterdir()} == {"stdin.png", "t2.png"}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("plain", [False, True])
def test_a_terminal_gets_a_table(
    plain: bool, vae: Model, sounds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("NO_COLOR" if plain else "UNUSED", "1")
    (sounds / "[red]1.wav").write_bytes((sounds / "t0.wav").read_bytes())
    assert deliver(vae, ["sounds/t0.wav", "sounds/[red]1.wav"], 1) == 0
    shown = terminal.getvalue()
    assert re.search(r"sounds/t0\.wav .* 1 .* images/t0\.png", shown)
    assert "images/[red]1.png" in shown
    assert bool(re.search(r"\x1b\[[0-9;]*3[0-9]", shown)) != plain
