"""Tab really completes: in the shells that are installed here, through a terminal."""

import os
import pty
import select
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from synesthete import cli

WORDS = [
    ("synesthete gen", "generate"),
    ("synesthete pairs insp", "inspect"),
    ("synesthete train deck-vae-g", "deck-vae-grouped"),
    ("synesthete generate dig", "digits"),
    ("synesthete evaluate runs/ma", "runs/mature/"),
    ("synesthete evaluate digits --deg", "--degraded"),
]
"""What is typed before Tab, and the word it becomes."""


@contextmanager
def shell(command: list[str], folder: Path) -> Iterator[int]:
    """A terminal in which an interactive shell runs."""
    ours, theirs = pty.openpty()
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PS1": "", "HOME": str(folder), "TERM": "xterm"}
    with subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, cwd=folder, env=environment,
        start_new_session=True,
    ) as process:  # fmt: skip
        os.close(theirs)
        yield ours
        process.kill()
    os.close(ours)


def told(terminal: int, keys: str, end: str) -> None:
    """Type these keys and wait until the terminal shows the text `end`."""
    os.write(terminal, keys.encode())
    shown = ""
    while end not in shown:
        assert select.select([terminal], [], [], 30)[0], shown
        shown += os.read(terminal, 10_000).decode(errors="replace")


START = {
    "bash": ["bash", "--norc", "--noprofile", "-i"],
    "zsh": ["zsh", "-f", "-i"],
}


@pytest.mark.parametrize("name", sorted(START))
def test_tab_completes(name: str, tmp_path: Path) -> None:
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed")
    (tmp_path / "runs" / "mature").mkdir(parents=True)
    with shell(START[name], tmp_path) as terminal:
        setup = "autoload -U compinit && compinit -u; " if name == "zsh" else ""
        told(terminal, f'{setup}eval "$(synesthete completion {name})"; echo rea""dy\n', "ready")
        for typed, word in WORDS:
            # Tab, then to the line's start, to print its words instead of running them.
            told(terminal, f"{typed}\t\x01printf '<%s>' \n", f"<{word}>")


def test_fish_completes(tmp_path: Path) -> None:
    if shutil.which("fish") is None:
        pytest.skip("fish is not installed")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    for typed, word in WORDS[:4]:
        script = f"synesthete completion fish | source; complete -C '{typed}'"
        done = subprocess.run(
            ["fish", "--no-config", "-c", script], capture_output=True, text=True, check=True,
            cwd=tmp_path, env={**os.environ, "PATH": path, "HOME": str(tmp_path)},
        )  # fmt: skip
        assert word in done.stdout.split()


def test_another_shell_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["completion", "fsh"]) == 2
    assert "did you mean 'fish'" in capsys.readouterr().err
