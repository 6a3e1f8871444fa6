"""What docs/faults.md promises of kills, company, homes and clocks: real processes and signals."""

import json
import re
import shutil
import threading
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

from faulty import (
    Running,
    before_rename,
    clock_runs_backwards,
    command,
    die,
    no_home,
    no_locks,
    others_folder,
)  # fmt: skip
from loopback import Server
from synesthete import artefact, checkpoint, locks, material
from synesthete.data import fsdd, storage, toy
from synesthete.data.download import download
from synesthete.data.sources import Origin
from synesthete.errors import UserError
from synesthete.files import sweep
from synesthete.train import read_log
from test_cli import as_digits
from tiny import tone

DOCS = Path(__file__).parents[1] / "docs" / "faults.md"
TRAIN = "train archetype --steps 40 --batch-size 2 --width 4 --checkpoint-every 20".split()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an alignment of digits, sounds and images to pair, and a recording."""
    at = tmp_path_factory.mktemp("world")
    alignment, labels = as_digits(toy.build(recordings=40, images=80))
    storage.save(alignment, at / "toy", beside=labels.save)
    (at / "material").mkdir()
    for number in range(4):
        soundfile.write(at / "material" / f"{number}.wav", tone(300 + 100 * number), 8_000)
        pixels = np.full((32, 32), 60 * number, np.uint8)
        Image.fromarray(pixels).save(at / "material" / f"{number}.png")
    soundfile.write(at / "tone.wav", tone(440), 8_000)
    return at


@pytest.fixture(scope="module")
def quiet(world: Path) -> Path:
    """A run of `TRAIN` in which nothing went wrong."""
    assert command(*TRAIN, "--pairs", world / "toy", "--out", "quiet", at=world).status == 0
    return world / "quiet"


def content(path: Path) -> dict[str, bytes]:
    """Every file of a folder, or the one file."""
    files = path.rglob("*") if path.is_dir() else [path]
    return {str(file.relative_to(path)): file.read_bytes() for file in files if file.is_file()}


SPOKEN = fsdd.Recordings((), Origin("none", "synthesised", "", "0" * 64, False), synthetic=True)
PAIRS = "pairs from-folder {world}/material --size 32 --test 0.3 --out"


@pytest.mark.parametrize(
    ("words", "target"),
    [
        (PAIRS, "pairs"),
        ("generate digits {world}/tone.wav -n 2 --out", "images"),
        ("generate digits {world}/tone.wav -n 2 --npz", "all.npz"),
        pytest.param("export {world}/quiet --onnx", "quiet.onnx", marks=pytest.mark.slow),
    ],
)
def test_a_kill_leaves_nothing_half_written_and_the_same_command_does_it_all(
    words: str, target: str, world: Path, quiet: Path, tmp_path: Path
) -> None:
    argv = words.format(world=world).split()
    killed = command(*argv, target, at=tmp_path, fault=partial(before_rename, 1, die))
    assert killed.status == -9
    assert not [path for path in (tmp_path / target).rglob("[!.]*") if path.is_file()]
    assert [*tmp_path.rglob(".draft-*")]
    assert command(*argv, target, at=tmp_path).status == 0
    (tmp_path / "quiet").mkdir()
    assert command(*argv, target, at=tmp_path / "quiet").status == 0
    shown = {k: v for k, v in content(tmp_path / target).items() if ".draft-" not in k}
    assert shown == content(tmp_path / "quiet" / target)


def test_a_run_that_was_killed_as_it_began_begins_again(world: Path, tmp_path: Path) -> None:
    argv = [*TRAIN, "--steps", "1", "--pairs", world / "toy", "--out", "run"]
    assert command(*argv, at=tmp_path, fault=partial(before_rename, 1, die)).status == -9
    (draft,) = (tmp_path / "run").iterdir()
    assert draft.name.startswith(".draft-run.json-")
    assert command(*argv, at=tmp_path).status == 0


@pytest.mark.slow
def test_a_kill_while_scoring_leaves_the_earlier_scorecard(
    world: Path, quiet: Path, tmp_path: Path
) -> None:
    shutil.copytree(quiet, tmp_path / "run")
    score = ["evaluate", "run", "--pairs", world / "toy", "--json", "card.json"]
    assert command(*score, at=tmp_path).status == 0
    earlier = (tmp_path / "card.json").read_bytes(), content(tmp_path / "run")
    for rename in (1, 3):
        killed = command(*score, at=tmp_path, fault=partial(before_rename, rename, die))
        assert killed.status == -9
        assert (tmp_path / "card.json").read_bytes() == earlier[0]
        assert json.loads((tmp_path / "run" / artefact.SCORECARD).read_bytes())["model"]
    (tmp_path / "card.json").unlink()
    assert command(*score, at=tmp_path).status == 0
    again = json.loads((tmp_path / "card.json").read_bytes())
    assert again | {"seconds_per_image": 0} == json.loads(earlier[0]) | {"seconds_per_image": 0}


def test_pairs_that_were_set_aside_when_the_kill_came_are_put_back(
    world: Path, tmp_path: Path
) -> None:
    argv = PAIRS.format(world=world).split()
    assert command(*argv, "pairs", at=tmp_path).status == 0
    before = content(tmp_path / "pairs")
    fault = partial(before_rename, 2, die)
    assert command(*argv, "pairs", "--seed", "1", at=tmp_path, fault=fault).status == -9
    assert not (tmp_path / "pairs").exists()
    sweep(tmp_path / "pairs")
    assert content(tmp_path / "pairs") == before
    assert not [*tmp_path.glob(".draft-*")]


def test_the_next_builder_sweeps_up_after_a_killed_one_and_touches_nobody_elses(
    world: Path, tmp_path: Path
) -> None:
    others = (".draft-pairs-2-abcdefgh", ".draft-pairs-2-abcdefgh.old", ".draft-x-abcdefgh")
    for name in (*others, ".draft-pairs-abcdefgh", ".draft-pairs-abcdefgh.old"):
        (tmp_path / name).mkdir()
    argv = PAIRS.format(world=world).split()
    assert command(*argv, "pairs", at=tmp_path).status == 0
    assert sorted(p.name for p in tmp_path.glob(".draft-*")) == sorted(others)


def test_a_second_run_in_one_folder_is_refused_until_the_first_is_killed(
    world: Path, tmp_path: Path
) -> None:
    argv = [*TRAIN, "--steps", "100000", "--pairs", world / "toy", "--out", "run"]

    def newest() -> int:
        """The step of the newest checkpoint."""
        steps = [path.name for path in checkpoint.found(tmp_path / "run" / "checkpoints")]
        return int(steps[-1].removeprefix("step-")) if steps else 0

    def after(step: int, *more: str) -> Running:
        """A run that has written a checkpoint of a later step."""
        begun = Running(*argv, *more, at=tmp_path)
        while newest() <= step:
            assert begun.process.is_alive()
            time.sleep(0.05)
        return begun

    first = after(0)
    second = command(*argv, "--resume", at=tmp_path)
    assert second.status == 2
    assert second.err.startswith("synesthete: run: another process is writing there")
    assert first.process.is_alive()
    first.process.kill()
    assert first.end().status == -9
    assert (tmp_path / ".lock-run").exists()
    third = after(newest(), "--resume")
    third.process.kill()
    assert third.end().status == -9


def test_a_second_builder_of_the_same_pairs_is_refused(world: Path, tmp_path: Path) -> None:
    argv = PAIRS.format(world=world).split()
    with locks.alone(tmp_path / "pairs"):
        refused = command(*argv, "pairs", at=tmp_path)
        assert command(*argv, "others", at=tmp_path).status == 0
    assert refused.status == 2
    assert refused.err.splitlines()[-1].startswith("synesthete: pairs: another process is writing")
    assert not (tmp_path / "pairs").exists()
    assert not [*tmp_path.glob(".lock-*")]


def test_the_mix_in_the_cache_is_built_once_and_the_others_wait(
    monkeypatch: pytest.MonkeyPatch, own_cache: Path
) -> None:
    """Another process builds it while this one asks for it."""
    monkeypatch.setattr(material, "_recordings", lambda _: SPOKEN)
    monkeypatch.setattr(material, "_build", lambda *_: pytest.fail("built a second time"))
    folder = own_cache / "pairs" / "mix-00000000-random-0"
    found: list[Path] = []
    asking = threading.Thread(target=lambda: found.append(material.default(material.MixConfig())))
    with locks.in_turn(folder, "testing"):
        asking.start()
        asking.join(0.5)
        assert asking.is_alive()
        folder.mkdir()
        (folder / storage.HEADER).touch()
    asking.join()
    assert found == [folder]


def test_generating_needs_no_home_and_no_cache(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SYNESTHETE_CACHE", str(world / "tone.wav" / "cache"))
    monkeypatch.setenv("HOME", str(world / "tone.wav"))
    argv = ["generate", "digits", world / "tone.wav", "-n", "1", "--out"]
    assert command(*argv, "bad-cache", at=tmp_path) == (0, "bad-cache/tone.png\n", "")
    assert command(*argv, "no-home", at=tmp_path, fault=no_home) == (0, "no-home/tone.png\n", "")


def test_what_needs_a_cache_and_has_none_says_which_variable_to_set(
    world: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SYNESTHETE_CACHE", str(world / "tone.wav" / "cache"))
    monkeypatch.setattr(material, "_recordings", lambda _: SPOKEN)
    with pytest.raises(UserError, match=r"Not a directory|File exists.*set SYNESTHETE_CACHE to"):
        material.default(material.MixConfig())
    told = command("fetch", "fsdd", at=world, fault=no_home)
    assert told.status == 2
    assert told.err.startswith("synesthete: no cache, as this user has no home directory; set SYN")


def test_a_cache_that_has_the_mix_is_only_read(
    monkeypatch: pytest.MonkeyPatch, own_cache: Path
) -> None:
    monkeypatch.setattr(material, "_recordings", lambda _: SPOKEN)
    folder = own_cache / "pairs" / "mix-00000000-random-0"
    folder.mkdir(parents=True)
    (folder / storage.HEADER).touch()
    before = {path: path.stat().st_mtime_ns for path in (own_cache, *own_cache.rglob("*"))}
    assert material.default(material.MixConfig()) == folder
    after = {path: path.stat().st_mtime_ns for path in (own_cache, *own_cache.rglob("*"))}
    assert before == after


def test_where_nothing_can_be_written_the_place_is_named(world: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for option, target in (("--out", "file/x"), ("--npz", "file/x.npz"), ("--json", "file/x.json")):
        told = command("generate", "digits", world / "tone.wav", option, target, at=tmp_path)
        assert told.status == 2
        assert re.search(r"^synesthete: file.*(Not a directory|File exists); ", told.err)
        assert "Traceback" not in told.err


def test_a_disk_without_locks_is_told(world: Path, tmp_path: Path) -> None:
    argv = [*TRAIN, "--pairs", world / "toy", "--out", "run"]
    told = command(*argv, at=tmp_path, fault=no_locks)
    assert told.status == 2
    assert told.err.startswith("synesthete: run: No locks available; name a place on a disk that")
    assert told.err.count("\n") == 1


def test_a_run_into_a_mount_in_anothers_folder_keeps_its_lock_there(
    world: Path, tmp_path: Path
) -> None:
    (tmp_path / "run").mkdir()
    argv = [*TRAIN, "--pairs", world / "toy", "--out"]
    assert command(*argv, "run", at=tmp_path, fault=others_folder).status == 0
    assert not (tmp_path / ".lock-run").exists()
    told = command(*argv, "new", at=tmp_path, fault=others_folder)
    assert told.status == 2
    assert told.err.startswith("synesthete: new: Permission denied; name a place")


def test_a_clock_that_runs_backwards_changes_no_training_and_no_log(
    world: Path, quiet: Path, tmp_path: Path
) -> None:
    argv = [*TRAIN, "--pairs", world / "toy", "--out", "odd"]
    assert command(*argv, at=tmp_path, fault=clock_runs_backwards).status == 0
    seconds = [line["seconds"] for line in read_log(tmp_path / "odd")]
    assert 0 < seconds[0] < seconds[-1] < 200
    assert seconds == sorted(seconds)
    odd = (tmp_path / "odd" / artefact.WEIGHTS).read_bytes()
    assert odd == (quiet / artefact.WEIGHTS).read_bytes()


def test_a_clock_that_runs_backwards_spoils_no_download_and_no_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = iter(range(2_000_000_000, 0, -3_600))
    monkeypatch.setattr(time, "time", lambda: float(next(now)))
    body = bytes(range(256)) * 400
    with Server(files={"/file": body}, cuts=[50_000], hangs=True) as server:
        fetched = download(server.url("/file"), tmp_path / "file", patience=0.5)
        assert fetched.read_bytes() == body
    with locks.alone(tmp_path / "file"), pytest.raises(UserError), locks.alone(tmp_path / "file"):
        pass


def test_the_page_names_tests_that_exist_and_every_test_here() -> None:
    folder = Path(__file__).parent
    named = set(re.findall(r"`(\w+\.py)::(\w+)`", DOCS.read_text(encoding="utf-8")))
    ours = {path.name for path in folder.glob("test_faults*.py")}
    assert {file for file, _ in named} > ours
    written = {
        (file, test)
        for file in {file for file, _ in named}
        for test in re.findall(r"^def (test_\w+)", (folder / file).read_text(), re.MULTILINE)
    }
    assert named <= written
    assert {(f, t) for f, t in written if f in ours and "page_names" not in t} <= named
