"""Training in several processes: it is what one process computes, whatever becomes of them."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch.distributed import TCPStore  # type: ignore[attr-defined]

import plain
from synesthete import artefact, checkpoint, cli, distributed
from synesthete.data import storage, toy
from synesthete.errors import SharedError
from synesthete.train import read_log

pytestmark = pytest.mark.timeout(600)

SETTINGS = "--batch-size 8 --readers 2 --checkpoint-every 20 --precision 32-true".split()
PRESETS = {
    "archetype": "--steps 60 --model.width 8 --ema 0.5",
    "flow": "--steps 12 --model.width 8 --encoder-width 8 --first-phase-steps 6 "
    "--images-per-recording 2",
    "vae-gan": "--steps 4 --images-per-recording 2",
}

CLI = ("-m", "synesthete.cli")

TROUBLED = """
import os, sys, threading, time
from pathlib import Path
from synesthete import checkpoint, cli

def trouble(out):
    while not checkpoint.found(out):
        time.sleep(0.001)
    os.kill(os.getpid(), int(os.environ["TROUBLE"]))

out = Path(sys.argv[sys.argv.index("--out") + 1], "checkpoints")
if os.environ["RANK"] == "1" and os.environ["TORCHELASTIC_RESTART_COUNT"] == "0":
    threading.Thread(target=trouble, args=[out], daemon=True).start()
sys.exit(cli.main(sys.argv[1:]))
"""
"""`synesthete` whose second process is sent a signal once there is a checkpoint."""


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    storage.save(toy.build(recordings=20, images=40)[0], tmp_path / "pairs")
    return tmp_path / "pairs"


def command(out: Path, pairs: Path, preset: str = "archetype", *more: str) -> list[str]:
    """`synesthete train`, small, with two readers."""
    places = ["--pairs", str(pairs), "--out", str(out)]
    return ["train", preset, *places, *SETTINGS, *PRESETS[preset].split(), *more]


def together(
    arguments: list[str],
    *options: str,
    trouble: int | None = None,
    program: Sequence[str] = CLI,
    hosts: Sequence[str] = ("--standalone", "--nproc-per-node", "2"),
) -> subprocess.CompletedProcess[str]:
    """Two processes of `program`, by torchrun; its end, however it ends."""
    torchrun = ["-m", "torch.distributed.run", *hosts, *options]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    if trouble is not None:
        script = Path(arguments[arguments.index("--out") + 1]).with_suffix(".py")
        script.write_text(TROUBLED, encoding="utf-8")
        program, environment["TROUBLE"] = [str(script)], str(int(trouble))
    return subprocess.run(
        [sys.executable, *torchrun, *program, *arguments],
        capture_output=True, text=True, check=False, timeout=500, env=environment,
    )  # fmt: skip


def assert_same_run(one: Path, other: Path) -> None:
    """The same losses at the same steps, and the same weights, to float32's accuracy."""
    assert_same_logs(one, other)
    weights = [load_file(out / artefact.WEIGHTS) for out in (one, other)]
    for name, value in weights[0].items():
        torch.testing.assert_close(weights[1][name], value, rtol=1e-3, atol=1e-5)


def assert_same_logs(one: Path, other: Path) -> None:
    logs = [read_log(out) for out in (one, other)]
    assert len(logs[0]) == len(logs[1]) > 0
    for a, b in zip(*logs, strict=True):
        wanted = {name: pytest.approx(value, rel=1e-4) for name, value in a.items()}
        assert b == wanted | {"seconds": b["seconds"]}


def test_two_processes_follow_one_with_two_readers_each(tmp_path: Path) -> None:
    """Accumulated, then averaged: the losses and the averaged weights, on both processes."""
    wanted = plain.main(tmp_path / "one").state_dict()
    done = together([str(tmp_path / "two")], program=[plain.__file__])
    assert done.returncode == 0, done.stderr
    assert_same_logs(tmp_path / "one", tmp_path / "two")
    for rank in range(2):
        found = load_file(tmp_path / "two" / f"process-{rank}.safetensors")
        torch.testing.assert_close(found, dict(wanted), rtol=1e-4, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("preset", PRESETS)
def test_the_command_in_two_processes_follows_one(preset: str, tmp_path: Path, pairs: Path) -> None:
    """Batch norm, dropout, several phases: nothing depends on the processes."""
    assert cli.main(command(tmp_path / "one", pairs, preset)) == 0
    done = together(command(tmp_path / "two", pairs, preset))
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{tmp_path / 'two'}\n"
    assert "Warning" not in done.stderr
    assert_same_run(tmp_path / "one", tmp_path / "two")
    names = [sorted(p.name for p in (tmp_path / out).iterdir()) for out in ("one", "two")]
    assert names[0] == names[1]
    boards = list((tmp_path / "two" / "tensorboard").iterdir())
    assert len(boards) == 1


@pytest.mark.slow
def test_a_signal_to_one_process_stops_all_and_one_goes_on(tmp_path: Path, pairs: Path) -> None:
    assert cli.main(command(tmp_path / "whole", pairs, "archetype")) == 0
    parts = command(tmp_path / "parts", pairs)
    stopped = together(parts, trouble=signal.SIGTERM)
    assert stopped.returncode != 0
    assert stopped.stderr.count("synesthete: stopped after step") == 1
    assert stopped.stderr.count("synesthete:") == 1
    newest = checkpoint.found(tmp_path / "parts" / "checkpoints")[-1]
    step = json.loads((newest / "state.json").read_text())["step"]
    assert f"stopped after step {step} of 60" in stopped.stderr
    assert cli.main([*parts, "--resume"]) == 0
    assert_same_run(tmp_path / "whole", tmp_path / "parts")


@pytest.mark.slow
def test_a_killed_process_ends_the_run_which_then_goes_on(tmp_path: Path, pairs: Path) -> None:
    arguments = command(tmp_path / "run", pairs)
    killed = together(arguments, trouble=signal.SIGKILL)
    assert killed.returncode != 0
    assert "synesthete: process 0 lost another process of this run" in killed.stderr
    assert "Traceback" not in killed.stderr.partition("synesthete: process 0")[0]
    assert not (tmp_path / "run" / artefact.CONFIG).exists()
    again = together([*arguments, "--resume"])
    assert again.returncode == 0, again.stderr
    assert cli.main(command(tmp_path / "whole", pairs, "archetype")) == 0
    assert_same_run(tmp_path / "whole", tmp_path / "run")


@pytest.mark.slow
def test_torchrun_restarts_a_run_from_its_last_checkpoint(tmp_path: Path, pairs: Path) -> None:
    arguments = command(tmp_path / "run", pairs)
    done = together(arguments, "--max-restarts", "1", trouble=signal.SIGKILL)
    assert done.returncode == 0, done.stderr
    assert "lost another process" in done.stderr
    assert cli.main(command(tmp_path / "whole", pairs, "archetype")) == 0
    assert_same_run(tmp_path / "whole", tmp_path / "run")


@pytest.mark.slow
def test_two_hosts_go_on_when_one_has_lost_its_process(tmp_path: Path, pairs: Path) -> None:
    """Two torchruns that meet by an address; only one of them knows of a restart."""
    with socket.create_server(("localhost", 0)) as server:
        port = server.getsockname()[1]
    hosts = ["--nnodes", "2", "--nproc-per-node", "1", "--max-restarts", "2", "--rdzv-id", "x"]
    hosts += ["--rdzv-backend", "c10d", "--rdzv-endpoint", f"localhost:{port}"]
    arguments = command(tmp_path / "run", pairs)

    def host(_: int) -> subprocess.CompletedProcess[str]:
        return together(arguments, trouble=signal.SIGKILL, hosts=hosts)

    with ThreadPoolExecutor() as pool:
        ends = [*pool.map(host, range(2))]
    assert [end.returncode for end in ends] == [0, 0], ends
    assert any("exitcode: -9" in end.stderr for end in ends)
    assert cli.main(command(tmp_path / "whole", pairs)) == 0
    assert_same_run(tmp_path / "whole", tmp_path / "run")


@pytest.mark.slow
def test_what_all_processes_refuse_the_first_tells(tmp_path: Path, pairs: Path) -> None:
    out = tmp_path / "run"
    refused = together(command(out, pairs, "archetype", "--readers", "1"))
    assert refused.returncode != 0
    assert refused.stderr.count("synesthete: training.readers is 1, no multiple") == 1
    assert refused.stderr.count("synesthete:") == 1
    assert not out.exists()
    out.mkdir()
    (out / "mine.txt").write_text("dear to me")
    refused = together(command(out, pairs))
    assert refused.stderr.count("not empty and not a run") == 1
    assert refused.stderr.count("synesthete:") == 1


def test_processes_meet_by_a_name_that_no_earlier_start_of_theirs_had() -> None:
    """torchrun's store outlives its processes; whoever of them comes first, they agree."""
    store = TCPStore("localhost", 0, is_master=True, wait_for_workers=False)
    names: list[str] = []
    for order in ([0, 1, 2], [1, 0, 2], [2, 1, 0]):
        with ThreadPoolExecutor() as pool:
            found = []
            for rank in order:
                client = TCPStore("localhost", store.port, wait_for_workers=False)
                found.append(pool.submit(distributed._meeting, client, rank, 3))
                time.sleep(0.1)
        (name,) = {each.result() for each in found}
        names.append(name)
    assert len(set(names)) == 3


def started_by_torchrun(monkeypatch: pytest.MonkeyPatch, rank: int, world: int) -> None:
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "x")
    monkeypatch.setenv("RANK", str(rank))
    monkeypatch.setenv("WORLD_SIZE", str(world))


@pytest.mark.parametrize("world", [1, 2, 3, 6])
def test_readers_are_dealt_evenly_each_to_one_process(
    world: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    dealt = []
    for rank in range(world):
        started_by_torchrun(monkeypatch, rank, world)
        dealt.append(distributed.own(6))
    assert {len(each) for each in dealt} == {6 // world}
    assert [reader for each in dealt for reader in each] == [*range(6)]


def test_processes_that_cannot_share_the_readers_are_told_what_to_set(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    started_by_torchrun(monkeypatch, 0, 4)
    with pytest.raises(SharedError, match=r"readers is 6, .*4 processes; add --readers 4"):
        distributed.own(6)


@pytest.mark.parametrize("arguments", [["demo"], ["train", "lenet5"], ["generate", "digits", "x"]])
def test_torchrun_is_for_training_alone(
    arguments: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    started_by_torchrun(monkeypatch, 0, 2)
    assert cli.main(arguments) == 2
    assert "torchrun" in capsys.readouterr().err
    assert not [*tmp_path.iterdir()]
