"""What docs/faults.md promises of a full disk: the kernel itself refuses to write, mid-command."""

from functools import partial
from pathlib import Path

import pytest

from faulty import before_rename, command, full_output, no_room, resource
from synesthete import artefact
from synesthete.train import LOG_EVERY, Step, _Log
from test_faults import PAIRS, TRAIN, content, quiet, world

__all__ = ["quiet", "world"]

LOG, CHECKPOINT = 2, 3
"""Which rename of a run makes which file appear: the first is run.json's."""


def before(rename: int, size: int) -> partial[None]:
    """From that rename on, no file grows beyond `size` bytes."""
    return partial(before_rename, rename, partial(no_room, size))


def one_line(said: str, place: str) -> None:
    """The last line, and the only one of ours, names the place and says what to do."""
    assert "Traceback" not in said
    (line,) = [line for line in said.splitlines() if line.startswith("synesthete: ")]
    assert line.startswith(f"synesthete: {place}")
    assert "File too large" in line
    assert said.rstrip().endswith(line)


@pytest.mark.parametrize(
    ("options", "room", "place", "kept"),
    [
        ([], partial(no_room, 600), "run/run.json: ", []),
        (["--checkpoint-every", "99"], before(LOG, 200), "run: ", []),
        ([], before(CHECKPOINT, 3_000), "run/checkpoints/step-00000040: ", ["step-00000020"]),
        (["--checkpoint-every", "99"], before(LOG, 3_000), "run/model.safetensors: ", []),
    ],
    ids=["beginning", "log", "checkpoint", "model"],
)  # fmt: skip
def test_training_stops_with_its_last_checkpoint_and_goes_on_to_the_same_weights(
    options: list[str], room: partial[None], place: str, kept: list[str],
    world: Path, quiet: Path, tmp_path: Path,
) -> None:  # fmt: skip
    argv = [*TRAIN, *options, "--pairs", world / "toy", "--out", "run"]
    told = command(*argv, at=tmp_path, fault=room)
    assert told.status == 2
    one_line(told.err, place)
    found = [path.name for path in (tmp_path / "run" / "checkpoints").glob("*")]
    assert found == kept
    assert not (tmp_path / "run" / artefact.CONFIG).exists()
    assert command(*argv, "--resume", at=tmp_path).status == 0
    weights = (tmp_path / "run" / artefact.WEIGHTS).read_bytes()
    assert weights == (quiet / artefact.WEIGHTS).read_bytes()


def test_the_threads_of_tensorboard_meet_a_full_disk_in_silence(tmp_path: Path) -> None:
    """Its error is ours once, with the run's name; pytest would tell of a thread's exception."""
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (50, usual[1]))
        with _Log(tmp_path, 0) as log:
            for number in range(0, 1_000, LOG_EVERY):
                log.write(Step(number, {"loss": 0.5}, 0.1))

    try:
        with pytest.raises(OSError, match="File too large") as told:
            fill()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, usual)
    assert told.value.filename == str(tmp_path)


@pytest.mark.parametrize(
    ("words", "target", "place"),
    [
        (PAIRS, "pairs", "{at}/pairs: cannot be written ("),
        ("generate digits {world}/tone.wav --out", "images", "images/tone.png: "),
        ("generate digits {world}/tone.wav --npz", "all.npz", "all.npz: "),
        ("generate digits {world}/tone.wav --npz x.npz --json", "all.json", "x.npz: "),
        pytest.param("evaluate {world}/quiet --pairs {world}/toy --json", "card.json",
                     "{world}/quiet/scorecard.json: ", marks=pytest.mark.slow),
        pytest.param("export {world}/quiet --onnx", "quiet.onnx", "quiet.onnx: ",
                     marks=pytest.mark.slow),
    ],
)  # fmt: skip
def test_what_is_written_whole_stays_as_it_was(
    words: str, target: str, place: str, world: Path, quiet: Path, tmp_path: Path
) -> None:
    argv = [*words.format(world=world).split(), target]
    assert command(*argv, at=tmp_path).status == 0
    before = content(tmp_path / target)
    told = command(*argv, at=tmp_path, fault=partial(no_room, 400))
    assert told.status == 2
    one_line(told.err, place.format(world=world, at=tmp_path))
    assert content(tmp_path / target) == before
    assert not [*tmp_path.rglob(".draft-*"), *tmp_path.rglob(".lock-*")]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's /dev/full")
def test_a_full_standard_output_is_an_error(world: Path, tmp_path: Path) -> None:
    argv = ["generate", "digits", world / "tone.wav", "-n", "1", "--json", "-"]
    told = command(*argv, at=tmp_path, fault=full_output)
    assert told.status == 2
    assert told.err.startswith("synesthete: standard output: No space left on device; ")
    assert len(told.err.splitlines()) == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's /dev/full")
def test_a_device_is_written_to_and_not_replaced(world: Path, tmp_path: Path) -> None:
    argv = ["generate", "digits", world / "tone.wav", "-n", "1", "--json"]
    told = command(*argv, "/dev/full", at=tmp_path)
    assert told.status == 2
    assert told.err.startswith("synesthete: /dev/full: No space left on device; ")
    assert command(*argv, "/dev/null", at=tmp_path).status == 0
    assert Path("/dev/full").is_char_device()
    assert Path("/dev/null").is_char_device()
