"""Damaged files of every kind are opened by the thousand, and do no harm."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings

import fuzz
from damage import HARMS, TWISTS, Harm, Twist
from synesthete.errors import UserError

FUZZ = Path(__file__).with_name("fuzz.py")
SECONDS = float(os.environ.get("SYNESTHETE_FUZZ_SECONDS", "640"))
"""For all targets together, in `make test-all`."""


def run(target: str, seconds: float, seed: int) -> tuple[int, int]:
    """How many damaged files were opened, and how many were none the worse for it."""
    command = [sys.executable, str(FUZZ), target, "--seconds", str(seconds), "--seed", str(seed)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3_000:] + done.stderr[-3_000:]
    opened, good = map(int, done.stdout.split())
    return opened, good


@pytest.mark.parametrize(
    ("target", "draws"),
    [
        ("alignments", 3),
        ("archives", 12),
        ("artefacts", 3),
        ("containers", 8),
        ("images", 3),
        ("sounds", 8),
    ],
)
def test_damaged_files_are_errors_for_people(target: str, draws: int, tmp_path: Path) -> None:
    """A few, here and now; what else they might do is looked for by the tests below."""
    calls = fuzz.TARGETS[target](tmp_path)
    for call in calls((), ()):
        call()
    refused = []

    @settings(max_examples=draws, derandomize=True, database=None)
    @given(HARMS, TWISTS)
    def attempt(harms: list[Harm], twists: list[Twist]) -> None:
        for call in calls(harms, twists):
            try:
                call()
            except UserError as error:
                refused.append(str(error))

    attempt()
    assert refused
    assert all(refused)


@pytest.mark.slow
@pytest.mark.timeout(SECONDS + 600)
@pytest.mark.parametrize("target", fuzz.TARGETS)
def test_damaged_files_do_no_harm_for_long(target: str) -> None:
    opened, good = run(target, SECONDS / len(fuzz.TARGETS), seed=1)
    assert 0 < good < opened


HARMFUL = {
    "an error": ("raise KeyError('x')", "KeyError"),
    "a hang": ("while True: pass", "Current thread"),
    "memory": ("bytes(2 * 10**9)", "MemoryError"),
    "a file": ("open(os.devnull, 'w')", "harm: open"),
    "a program": ("os.system('true')", "harm: os.system"),
    "a pickle": ("import pickle; pickle.loads(pickle.dumps(print))", "harm: pickle.find_class"),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", HARMFUL)
def test_harm_is_noticed(kind: str) -> None:
    """Were it not, the tests above could not fail."""
    harm, told = HARMFUL[kind]
    program = (
        f"import sys, os; sys.path.insert(0, {str(FUZZ.parent)!r}); import fuzz\n"
        f"def harm():\n  {harm}\n"
        "fuzz.SECONDS = 1\n"
        "fuzz.TARGETS['harm'] = lambda folder: lambda harms, twists: iter([harm])\n"
        "sys.argv = ['fuzz', 'harm', '--seconds', '20']\n"
        "fuzz.main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert told in done.stderr
