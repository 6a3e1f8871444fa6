"""What docs/faults.md promises of damaged files and of training that goes astray."""

import itertools
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from synesthete import artefact, checkpoint
from synesthete.artefact import ArtefactError
from synesthete.config import TrainingConfig
from synesthete.data.alignment import Alignment
from synesthete.data.labels import Labels
from synesthete.errors import UserError
from synesthete.train import Diverged, train
from test_train import Line, Target, run, targets, weights

World = tuple[Alignment, Labels]


def flip(path: Path) -> None:
    """Another bit in the middle of a file, as a disk or a copy may get wrong."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, toy_world: World) -> Path:
    """A run of 12 steps with its last two checkpoints, of steps 8 and 12."""
    out = tmp_path_factory.mktemp("runs") / "run"
    run(out, toy_world)
    return out


@pytest.fixture
def unfinished(finished: Path, tmp_path: Path) -> Path:
    """The same as if it had been killed before it wrote its model."""
    out = tmp_path / "run"
    shutil.copytree(finished, out, ignore=shutil.ignore_patterns(*artefact.FILES[:1]))
    return out


@pytest.mark.parametrize(
    ("name", "harm"),
    [
        ("model.safetensors", flip), ("average.safetensors", flip), ("state.json", flip),
        ("optimizer-all.safetensors", flip), (checkpoint.SUMS, flip),
        ("model.safetensors", cut), ("state.json", Path.unlink),
    ],
)  # fmt: skip
def test_a_damaged_checkpoint_is_told_and_the_one_before_it_leads_to_the_same_end(
    name: str, harm: Callable[[Path], object], finished: Path, unfinished: Path,
    toy_world: World, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    older, newest = sorted((unfinished / "checkpoints").iterdir())
    harm(newest / name)
    (unfinished / artefact.WEIGHTS).unlink()
    run(unfinished, toy_world, resume=True)
    told = capsys.readouterr().err.replace("\n", " ")
    assert f"{newest}: this checkpoint cannot be read" in told
    assert f"going on from {older.name}" in told
    assert weights(unfinished) == weights(finished)


def test_with_every_checkpoint_damaged_it_says_what_to_do(
    unfinished: Path, toy_world: World
) -> None:
    for step in (unfinished / "checkpoints").iterdir():
        flip(step / "model.safetensors")
    with pytest.raises(UserError, match=r"(?s)00012: .*00008: .*another --out, or delete .*/run"):
        run(unfinished, toy_world, resume=True)


def test_a_checkpoint_of_an_earlier_version_has_no_sums_and_is_read(
    unfinished: Path, toy_world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    for step in (unfinished / "checkpoints").iterdir():
        (step / checkpoint.SUMS).unlink()
    run(unfinished, toy_world, resume=True)
    assert "cannot be read" not in capsys.readouterr().err


def test_what_a_kill_left_among_the_checkpoints_is_swept_up(
    unfinished: Path, toy_world: World
) -> None:
    left = unfinished / "checkpoints" / ".draft-step-00000012-abcdefgh"
    left.mkdir()
    (left / "model.safetensors").write_bytes(b"half of it")
    run(unfinished, toy_world, resume=True)
    assert not left.exists()


@pytest.mark.parametrize("harm", [flip, cut])
def test_damaged_weights_of_a_model_are_refused(
    harm: Callable[[Path], object], tmp_path: Path
) -> None:
    """Of the bundled model too: every config.json holds the hash of its weights."""
    artefact.copy(artefact.read("digits"), tmp_path / "copy")
    assert artefact.read(str(tmp_path / "copy")).parameters
    harm(tmp_path / "copy" / artefact.WEIGHTS)
    with pytest.raises(ArtefactError, match=r"not the weights .* copy the folder again"):
        artefact.read(str(tmp_path / "copy"))


class Cliff(Line):
    """A finite loss whose gradient is none from the third step on."""

    steps = 0

    def losses(self, batch: object, phase: str, rng: torch.Generator) -> dict[str, torch.Tensor]:
        self.steps += 1
        gap = self.layer.weight.sum() * float(self.steps < 3)
        return {"loss": gap.square().sqrt()}


def test_weights_that_are_not_finite_are_never_kept(tmp_path: Path) -> None:
    """The loss alone would not show it before they had taken the last good checkpoint's place."""
    settings = TrainingConfig(3, checkpoint_every=1)
    with pytest.raises(Diverged, match=r"weights .* after step 3; .*learning_rate"):
        train(Cliff(), targets(), settings, tmp_path, seed=0)  # type: ignore[arg-type]
    kept = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert kept == ["step-00000001", "step-00000002"]


def test_a_run_that_ends_between_two_checkpoints_is_looked_at_too(tmp_path: Path) -> None:
    settings = TrainingConfig(3, checkpoint_every=100)
    with pytest.raises(Diverged, match="after step 3"):
        train(Cliff(), targets(), settings, tmp_path, seed=0)  # type: ignore[arg-type]


def test_a_loss_that_is_not_finite_keeps_the_last_checkpoint(tmp_path: Path) -> None:
    def stream(start: int, _: int) -> Iterator[Target]:
        for step in itertools.count(start):
            yield Target(float("nan") if step == 2 else 0.0)

    settings = TrainingConfig(5, checkpoint_every=1)
    with pytest.raises(Diverged, match=r"at step 3 .*last checkpoint is kept.*learning_rate"):
        train(Line(), stream, settings, tmp_path, seed=0)
    kept = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert kept == ["step-00000001", "step-00000002"]
