"""Engines: the same bytes from a Ray cluster as from this machine, whatever happens to a worker."""

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import soundfile

from chores import (
    double,
    full_at_three,
    kill,
    leave_at_three,
    negative,
    once_slow,
)
from synesthete import cli, deliver, evaluate, ray_engine
from synesthete.data import storage, toy
from synesthete.engines import Engine, Local
from synesthete.errors import UserError
from synesthete.ray_engine import Ray
from test_video import brightening, film, rising
from tiny import artefact_of, tone, toy_exam, untrained

quiet = pytest.mark.filterwarnings("ignore::DeprecationWarning:ray", "ignore::ResourceWarning")
slow = pytest.mark.slow


@pytest.fixture(scope="session")
def cluster() -> Iterator[Ray]:
    """A cluster of two cores, in which the modules of these tests can be imported."""
    import ray

    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("RAY_ADDRESS", raising=False)
        patch.setenv("PYTHONPATH", str(Path(__file__).parent))
        yield Ray(2)
    ray.shutdown()


def contents(folder: Path) -> dict[str, bytes]:
    return {
        p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()
    }


class Slowed:
    """A cluster of which one process waits to be killed."""

    def __init__(self, cluster: Ray, folder: Path) -> None:
        self.cluster, self.folder = cluster, folder

    def map(self, function, items, *, cores=1, crashed=None):  # type: ignore[no-untyped-def]
        slowed = partial(once_slow, self.folder, function)
        return self.cluster.map(slowed, items, cores=cores, crashed=crashed)


def behaves(engine: Engine) -> None:
    """What every engine does."""
    assert list(engine.map(double, range(12))) == [*range(0, 24, 2)]
    assert list(engine.map(double, iter(()))) == []
    found = list(engine.map(leave_at_three, range(6), crashed=negative))
    assert found == [0, 1, 2, -3, 4, 5]
    with pytest.raises(OSError, match="no room") as told:
        list(engine.map(full_at_three, range(6)))
    assert told.value.errno == 28
    assert told.value.filename == "there"


def test_local() -> None:
    behaves(Local(2))


@slow
@quiet
def test_ray(cluster: Ray) -> None:
    behaves(cluster)
    with pytest.raises(UserError, match="OMP_NUM_THREADS"):
        list(cluster.map(double, range(3), cores=3))


@slow
@quiet
def test_a_killed_worker_loses_nothing(cluster: Ray, tmp_path: Path) -> None:
    """Images of a block whose process was ended by SIGKILL come from another process."""
    model, files = untrained("archetype"), tones(tmp_path, 70)
    deliver.deliver(model, files, 2, npz=tmp_path / "local.npz")

    killer = threading.Thread(target=kill, args=(tmp_path,))
    killer.start()
    deliver.deliver(model, files, 2, npz=tmp_path / "ray.npz", engine=Slowed(cluster, tmp_path))
    killer.join()
    assert same(tmp_path / "local.npz", tmp_path / "ray.npz")


@slow
@quiet
def test_videos_give_the_same_folder_though_a_worker_is_killed(
    cluster: Ray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process that dies holds a video that is half done; another one is no video at all."""
    films = tmp_path / "films"
    for number in range(4):
        frames = brightening(3) + np.uint8(7 * number)
        film(films / f"{number}.mp4", frames, rising(3) * (0.5 + 0.1 * number))
    (films / "corrupt.mp4").write_bytes(b"no video" * 500)
    monkeypatch.chdir(tmp_path)
    options = ["--size", "32", "--test", "0.3", "--fps", "2"]
    assert cli.main(["pairs", "from-video", "films", "--out", "local", *options]) == 0
    local = contents(tmp_path / "local")
    assert len(local) > 3
    command = ["pairs", "from-video", "films", "--engine", "ray", *options]
    assert cli.main([*command, "--out", "ray"]) == 0
    assert contents(tmp_path / "ray") == local

    def slowed(_: object) -> Slowed:
        return Slowed(cluster, tmp_path)

    monkeypatch.setattr("synesthete.cli.options.engine_of", slowed)
    killer = threading.Thread(target=kill, args=(tmp_path,), kwargs={"parent": True})
    killer.start()
    assert cli.main([*command, "--out", "killed"]) == 0
    killer.join()
    assert contents(tmp_path / "killed") == local


def tones(folder: Path, count: int) -> list[str]:
    for i in range(count):
        soundfile.write(folder / f"{i}.wav", tone(300 + 20 * i), 8_000, subtype="FLOAT")
    (folder / "5.wav").write_bytes(b"RIFF, but not really")
    return [str(folder / f"{i}.wav") for i in range(count)]


def same(one: Path, other: Path) -> bool:
    with np.load(one, allow_pickle=False) as a, np.load(other, allow_pickle=False) as b:
        assert {*a} == {*b} == {"files", "error", "images"}
        assert a["images"].any()
        return all(np.array_equal(a[key], b[key]) for key in a)


@slow
@quiet
def test_generate_gives_the_same_images_and_errors(
    cluster: Ray,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    tones(tmp_path, 70)
    told = {}
    for engine in ("local", "ray"):
        command = ["generate", "digits", ".", "gone.wav", "-n", "2", "--engine", engine]
        assert cli.main([*command, "--npz", f"{engine}.npz", "--json", f"{engine}.json"]) == 2
        told[engine] = capsys.readouterr().err
    assert same(tmp_path / "local.npz", tmp_path / "ray.npz")
    assert told["local"] == told["ray"]
    assert "5.wav" in told["ray"]
    assert (tmp_path / "local.json").read_text() == (tmp_path / "ray.json").read_text()


@slow
@quiet
def test_evaluate_gives_the_same_scorecard(cluster: Ray) -> None:
    exam, model = toy_exam(classes=4, recordings=120, images=900), untrained("flow")
    local, far = (evaluate.evaluate(model, exam, 3, 0.9, e) for e in (Local(), cluster))
    np.testing.assert_array_equal(local.images, far.images)
    cards = [{**a.scorecard, "seconds_per_image": 0} for a in (local, far)]
    assert json.dumps(cards[0]) == json.dumps(cards[1])
    assert far.scorecard["seconds_per_image"] > 0


@slow
def test_evaluate_from_a_shell_starts_a_cluster_and_says_nothing_of_it(tmp_path: Path) -> None:
    """A process of its own: standard output is one JSON text, standard error is ours."""
    soundfile.write(tmp_path / "tone.wav", tone(300), 8_000)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    environment.pop("RAY_ADDRESS", None)
    command = [sys.executable, "-m", "synesthete.cli", "generate", "digits", "tone.wav"]
    done = subprocess.run(
        [*command, "-n", "1", "--engine", "ray", "--json", "-"],
        capture_output=True, text=True, check=False, cwd=tmp_path, env=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)[0]["written"] == "images/tone.png"
    assert done.stderr == ""


def test_without_ray_the_extra_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(ray_engine, "ray", None)
    tmp_path.joinpath("films").mkdir()
    out = str(tmp_path / "out")
    command = ["pairs", "from-video", str(tmp_path / "films"), "--out", out, "--engine", "ray"]
    assert cli.main(command) == 2
    assert "pip install 'synesthete[ray]'" in capsys.readouterr().err


def test_a_cluster_that_is_not_there_is_told_at_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{port}")
    monkeypatch.setattr("synesthete.ray_engine.ray.is_initialized", lambda: False)
    assert cli.main(["generate", "digits", "seven.wav", "--engine", "ray"]) == 2
    assert f"no Ray cluster answers at RAY_ADDRESS=127.0.0.1:{port}" in capsys.readouterr().err


def test_a_cluster_of_another_version_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def other(**_: object) -> None:
        raise RuntimeError("Version mismatch: The cluster was started with:\n    Ray: 1.0\n")

    monkeypatch.setattr("synesthete.ray_engine.ray.is_initialized", lambda: False)
    monkeypatch.setattr("synesthete.ray_engine.ray.init", other)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        monkeypatch.setenv("RAY_ADDRESS", address)
        assert cli.main(["generate", "digits", "seven.wav", "--engine", "ray"]) == 2
    told = capsys.readouterr().err
    assert (
        f"RAY_ADDRESS={address}: Version mismatch: The cluster was started with: Ray: 1.0" in told
    )


@pytest.mark.parametrize(
    ("preset", "options", "told"),
    [("ave", [], "draw from sound"), ("archetype", ["--dial"], "--dial do not take --engine ray")],
)
def test_what_is_not_drawn_with_an_engine_refuses_it(
    preset: str, options: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from synesthete import artefact

    artefact.write(artefact_of(preset), tmp_path / "run")
    storage.save(toy.build(classes=2, recordings=8, images=40)[0], tmp_path / "pairs")
    command = ["evaluate", str(tmp_path / "run"), "--pairs", str(tmp_path / "pairs"), *options]
    assert cli.main([*command, "--engine", "ray"]) == 2
    assert told in capsys.readouterr().err
