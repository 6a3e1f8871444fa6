"""The loop: what it computes, how it stops, and that a resumed run is the same run."""

import itertools
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from synesthete import artefact, checkpoint, config, runs
from synesthete.config import Preset, TrainingConfig
from synesthete.data import storage, toy
from synesthete.data.alignment import Alignment
from synesthete.data.batches import generator
from synesthete.data.labels import Labels
from synesthete.errors import UserError
from synesthete.family import Family
from synesthete.train import Diverged, Interrupted, Step, precision, rate, read_log, train


def preset(steps: int = 12, **training: object) -> Preset:
    table = config.read("archetype")
    table["training"] |= {"steps": steps, "batch_size": 8, "checkpoint_every": 4, **training}
    table["model"] |= {"width": 8}
    return config.from_table(table)


def run(
    out: Path, world: tuple[Alignment, Labels], recipe: Preset | None = None, **options: object
) -> artefact.Artefact:
    facts = {"digest": world[0].digest()}
    return runs.run(recipe or preset(), world[0], facts, out, **options)  # type: ignore[arg-type]


def weights(out: Path) -> bytes:
    return (out / artefact.WEIGHTS).read_bytes()


class Line(Family):
    """y = a: a model with one parameter, whose every step can be done by hand."""

    phases: ClassVar[Mapping[str, tuple[str, ...]]] = {"all": ("layer",)}

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(1, 1, bias=False)
        torch.nn.init.constant_(self.layer.weight, 2.0)

    def losses(self, batch: "Target", phase: str, rng: torch.Generator) -> dict[str, torch.Tensor]:  # type: ignore[override]
        return {"loss": (self.layer(torch.ones(1)) - batch.value).square().sum()}


class Target:
    """A batch of one number."""

    def __init__(self, value: float) -> None:
        self.value = value

    def to(self, device: torch.device) -> "Target":
        return self


def targets(value: float = 0.0) -> object:
    def stream(start: int, reader: int) -> Iterator[Target]:
        while True:
            yield Target(value)

    return stream


@pytest.mark.parametrize(("name", "dtype"), [
    ("32-true", torch.float32), ("bf16-mixed", torch.bfloat16),
])  # fmt: skip
def test_the_precision_asked_for_is_the_one_computed_in(
    name: str, dtype: torch.dtype, tmp_path: Path
) -> None:
    seen = set()
    line = Line()
    line.layer.register_forward_hook(lambda _, __, out: seen.add(out.dtype))
    train(line, targets(), TrainingConfig(2, precision=name), tmp_path, seed=0)  # type: ignore[arg-type]
    assert seen == {dtype}
    assert line.layer.weight.dtype == torch.float32


@pytest.mark.parametrize(("able", "found"), [
    ({"avx512_bf16": True}, "bf16-mixed"), ({"amx_bf16": True}, "bf16-mixed"),
    ({"avx512_bf16": False, "amx_bf16": False}, "32-true"), ({}, "32-true"),
])  # fmt: skip
def test_precision_auto_is_bfloat16_only_where_the_cpu_has_it(
    able: dict[str, bool], found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able)
    assert precision(TrainingConfig(1, precision="auto")) == found
    assert precision(TrainingConfig(1, precision="32-true")) == "32-true"


def test_a_step_is_adam_s(tmp_path: Path) -> None:
    """Against torch.optim.Adam on the same loss, written out."""
    parameter = torch.tensor([[2.0]], requires_grad=True)
    adam = torch.optim.Adam([parameter], lr=0.1)
    for _ in range(5):
        adam.zero_grad()
        parameter.square().sum().backward()  # type: ignore[no-untyped-call]
        adam.step()
    model = train(Line(), targets(), TrainingConfig(5, learning_rate=0.1), tmp_path, seed=0)  # type: ignore[arg-type]
    assert isinstance(model, Line)
    torch.testing.assert_close(model.layer.weight.detach(), parameter.detach())


def test_averaged_weights_are_the_exponential_mean_of_the_steps(tmp_path: Path) -> None:
    seen: list[float] = []
    raw = train(
        Line(),
        targets(),  # type: ignore[arg-type]
        TrainingConfig(4, learning_rate=0.1),
        tmp_path / "raw",
        seed=0,
        watch=lambda _, model: seen.append(next(model.parameters()).item()),
    )
    settings = TrainingConfig(4, learning_rate=0.1, ema=0.5)
    averaged = train(Line(), targets(), settings, tmp_path / "ema", seed=0)  # type: ignore[arg-type]
    mean = seen[0]
    for value in seen[1:]:
        mean = 0.5 * mean + 0.5 * value
    assert next(averaged.parameters()).item() == pytest.approx(mean)
    assert next(raw.parameters()).item() == seen[-1]


def until(last: int, then: float) -> object:
    """Targets of 0 up to step `last`, then others."""

    def stream(start: int, reader: int) -> Iterator[Target]:
        for step in itertools.count(start):
            yield Target(0.0 if step < last else then)

    return stream


def test_a_loss_that_is_not_finite_stops_the_run_and_says_what_to_do(tmp_path: Path) -> None:
    settings = TrainingConfig(9, learning_rate=0.1, checkpoint_every=2)
    with pytest.raises(Diverged, match=r"at step 6 .*lower training.learning_rate \(now 0.1\)"):
        train(Line(), until(5, float("nan")), settings, tmp_path, seed=0)  # type: ignore[arg-type]
    assert_last_checkpoint_is_that_of_step(4, tmp_path)


@pytest.mark.parametrize("steps", [6, 7], ids=["at a checkpoint", "at the end"])
def test_weights_that_are_not_finite_are_not_kept(steps: int, tmp_path: Path) -> None:
    """A finite loss may have a gradient that is not."""
    settings = TrainingConfig(steps, learning_rate=0.1, checkpoint_every=3)
    with pytest.raises(Diverged, match=f"weights are no longer finite after step {steps}"):
        train(Spoilt(steps), targets(), settings, tmp_path, seed=0)  # type: ignore[arg-type]
    assert_last_checkpoint_is_that_of_step(3 if steps == 6 else 6, tmp_path)


def assert_last_checkpoint_is_that_of_step(number: int, out: Path) -> None:
    """It can be gone on from, and its weights are those of a run that ended there."""
    newest = checkpoint.found(out / "checkpoints")[-1]
    assert newest.name == f"step-{number:08d}"
    settings = TrainingConfig(number, learning_rate=0.1)
    whole = train(Line(), targets(), settings, out / "whole", seed=0)  # type: ignore[arg-type]
    found = train(Line(), targets(), settings, out, seed=0)  # type: ignore[arg-type]
    assert torch.equal(next(found.parameters()), next(whole.parameters()))


class Spoilt(Line):
    """A line whose gradient at step `last` is not a number, although its loss is."""

    def __init__(self, last: int) -> None:
        super().__init__()
        self.last, self.step = last, 0

    def losses(self, batch: "Target", phase: str, rng: torch.Generator) -> dict[str, torch.Tensor]:  # type: ignore[override]
        self.step += 1
        loss = super().losses(batch, phase, rng)["loss"]
        if self.step == self.last:
            loss = loss + (loss - loss).sqrt()  # 0, whose slope there is infinite
        return {"loss": loss}


class Normed(Family):
    """A parameter, and the running average of what it is shown."""

    phases: ClassVar[Mapping[str, tuple[str, ...]]] = {"all": ("layer", "norm")}

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(1, 1, bias=False)
        self.norm = torch.nn.BatchNorm1d(1, momentum=0.5)

    def losses(self, batch: "Target", phase: str, rng: torch.Generator) -> dict[str, torch.Tensor]:  # type: ignore[override]
        shown = torch.tensor([[batch.value - 1], [batch.value + 1]])
        return {"loss": (self.layer(self.norm(shown)) - batch.value).square().mean()}


def read_by(values: Mapping[int, float]) -> object:
    """Targets by reader."""

    def stream(start: int, reader: int) -> Iterator[Target]:
        while True:
            yield Target(values[reader])

    return stream


def test_running_averages_are_the_mean_of_what_each_reader_makes_of_them(tmp_path: Path) -> None:
    settings = TrainingConfig(2, batch_size=4, readers=2)
    model = train(Normed(), read_by({0: 2.0, 1: 6.0}), settings, tmp_path, seed=0)  # type: ignore[arg-type]
    assert isinstance(model, Normed)
    assert model.norm.running_mean is not None
    assert model.norm.num_batches_tracked is not None
    after_one = (1.0 + 3.0) / 2
    after_two = ((after_one + 2) / 2 + (after_one + 6) / 2) / 2
    assert model.norm.running_mean.item() == pytest.approx(after_two)
    assert model.norm.num_batches_tracked.item() == 2


def test_a_step_of_several_readers_is_that_of_their_mean_loss(tmp_path: Path) -> None:
    """Mean of (y - v)² over v in 1, 2, 6: value, gradient, and what Adam makes of it."""
    parameter = torch.tensor(2.0, requires_grad=True)
    adam, shown = torch.optim.Adam([parameter], lr=0.1), torch.tensor([1.0, 2.0, 6.0])
    wanted: list[tuple[float, float]] = []
    for _ in range(3):
        adam.zero_grad()
        loss = (parameter - shown).square().mean()
        loss.backward()  # type: ignore[no-untyped-call]
        adam.step()
        assert parameter.grad is not None
        wanted.append((loss.item(), parameter.grad.item()))
    found: list[tuple[float, float]] = []

    def watch(step: Step, model: Family) -> None:
        (gradient,) = [weight.grad for weight in model.parameters()]
        assert gradient is not None
        found.append((step.losses["loss"], gradient.item()))

    model = train(
        Line(),
        read_by({0: 1.0, 1: 2.0, 2: 6.0}),  # type: ignore[arg-type]
        TrainingConfig(3, batch_size=6, readers=3, learning_rate=0.1),
        tmp_path,
        seed=0,
        watch=watch,
    )
    np.testing.assert_allclose(found, wanted, rtol=1e-6)
    torch.testing.assert_close(next(model.parameters()).detach().squeeze(), parameter.detach())


class Drawn(Line):
    """A line towards random numbers, which it notes."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[float] = []

    def losses(self, batch: "Target", phase: str, rng: torch.Generator) -> dict[str, torch.Tensor]:  # type: ignore[override]
        aim = torch.rand(1, generator=rng)
        self.seen += [aim.item()]
        assert torch.rand(1) == aim  # what dropout would read
        return {"loss": (self.layer(torch.ones(1)) - aim).square().sum()}


def test_each_reader_draws_random_numbers_of_its_own(tmp_path: Path) -> None:
    runs_of = {}
    for readers in (1, 2, 4):
        model = Drawn()
        settings = TrainingConfig(2, batch_size=4, readers=readers)
        train(model, targets(), settings, tmp_path / str(readers), seed=0)  # type: ignore[arg-type]
        assert len(set(model.seen)) == len(model.seen) == 2 * readers
        runs_of[readers] = model.seen
    assert runs_of[4][:2] == runs_of[2][:2]
    assert runs_of[1][0] == torch.rand(1, generator=generator(0, 0, 0)).item()


def test_the_cosine_schedule_warms_up_and_ends_at_zero() -> None:
    rates = [rate("cosine", step, 100) for step in range(101)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[10] == pytest.approx(1)
    assert rates[55] == pytest.approx(0.5)
    assert rates[100] == pytest.approx(0, abs=1e-12)
    assert {rate("constant", step, 100) for step in range(100)} == {1.0}


class Lines(Line):
    """Two of them, learnt one after the other."""

    phases: ClassVar[Mapping[str, tuple[str, ...]]] = {"one": ("layer",), "two": ("other",)}

    def __init__(self) -> None:
        super().__init__()
        self.other = torch.nn.Linear(1, 1, bias=False)

    def losses(self, batch: "Target", phase: str, rng: torch.Generator) -> dict[str, torch.Tensor]:  # type: ignore[override]
        layer = self.layer if phase == "one" else self.other
        return {"loss": (layer(torch.ones(1)) - batch.value).square().sum()}


def test_a_first_phase_ends_with_a_schedule_of_its_own_and_stays_as_it_is(tmp_path: Path) -> None:
    seen: list[tuple[Step, float, float]] = []

    def watch(step: Step, model: Family) -> None:
        assert isinstance(model, Lines)
        seen.append((step, model.layer.weight.item(), model.other.weight.item()))

    settings = TrainingConfig(20, first_phase_steps=10, schedule="cosine", learning_rate=0.1)
    train(Lines(), targets(5.0), settings, tmp_path, seed=0, watch=watch)  # type: ignore[arg-type]
    first = [value for _, value, _ in seen]
    moves = [abs(after - before) for before, after in itertools.pairwise(first)]
    assert all(moves[:8])
    assert moves[8] < 0.2 * moves[0]
    assert not any(moves[9:])
    assert len({value for _, _, value in seen}) == 20
    assert [{*step.losses} for step, *_ in seen[9:11]] == [{"one/loss", "two/loss"}, {"two/loss"}]


def test_two_runs_with_one_seed_are_bitwise_equal(
    tmp_path: Path, toy_world: tuple[Alignment, Labels]
) -> None:
    for name in ("one", "two"):
        run(tmp_path / name, toy_world, seed=3)
    run(tmp_path / "other", toy_world, seed=4)
    assert weights(tmp_path / "one") == weights(tmp_path / "two")
    assert weights(tmp_path / "one") != weights(tmp_path / "other")


@pytest.mark.parametrize("stop_at", [1, 4, 7])
def test_a_resumed_run_equals_an_uninterrupted_one_bit_for_bit(
    tmp_path: Path, toy_world: tuple[Alignment, Labels], stop_at: int
) -> None:
    """Stopped by a real signal after a step, then resumed."""
    run(tmp_path / "whole", toy_world)

    def interrupt(step: Step, _: Family) -> None:
        if step.number == stop_at:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Interrupted, match=f"step {stop_at} of 12") as caught:
        run(tmp_path / "parts", toy_world, watch=interrupt)
    assert caught.value.signal == signal.SIGTERM
    run(tmp_path / "parts", toy_world, resume=True)
    assert weights(tmp_path / "parts") == weights(tmp_path / "whole")
    logs = [
        [{k: v for k, v in line.items() if k != "seconds"} for line in read_log(tmp_path / name)]
        for name in ("whole", "parts")
    ]
    assert logs[0] == logs[1]


def test_resuming_a_finished_run_changes_nothing(
    tmp_path: Path, toy_world: tuple[Alignment, Labels]
) -> None:
    run(tmp_path / "run", toy_world)
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "run").rglob("*") if p.is_file()}
    run(tmp_path / "run", toy_world, resume=True)
    after = {p: p.stat().st_mtime_ns for p in (tmp_path / "run").rglob("*") if p.is_file()}
    assert before == after


def test_a_run_folder_keeps_to_one_recipe_seed_and_data_set(
    tmp_path: Path, toy_world: tuple[Alignment, Labels]
) -> None:
    run(tmp_path / "run", toy_world)
    with pytest.raises(UserError, match="--resume"):
        run(tmp_path / "run", toy_world)
    others: list[tuple[Preset, int, tuple[Alignment, Labels]]] = [
        (preset(13), 0, toy_world),
        (preset(), 1, toy_world),
        (preset(), 0, toy.build(seed=1)),
    ]
    for recipe, seed, world in others:
        with pytest.raises(UserError, match="another recipe, seed or data"):
            run(tmp_path / "run", world, recipe, seed=seed, resume=True)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("dear to me")
    with pytest.raises(UserError, match="not empty"):
        run(tmp_path / "mine", toy_world)


def test_a_run_of_before_readers_goes_on(
    tmp_path: Path, toy_world: tuple[Alignment, Labels]
) -> None:
    """A key that its record lacks has its default, and is no other recipe."""
    run(tmp_path, toy_world)
    record = json.loads((tmp_path / runs.RUN).read_text())
    del record["preset"]["training"]["readers"]
    (tmp_path / runs.RUN).write_text(json.dumps(record))
    run(tmp_path, toy_world, resume=True)
    with pytest.raises(UserError, match="another recipe, seed or data"):
        run(tmp_path, toy_world, preset(readers=2), resume=True)
    (tmp_path / runs.RUN).write_text("[]")
    with pytest.raises(UserError, match="cannot be read"):
        run(tmp_path, toy_world, resume=True)


def test_only_the_newest_checkpoints_stay(
    tmp_path: Path, toy_world: tuple[Alignment, Labels]
) -> None:
    run(tmp_path, toy_world, preset(steps=16))
    names = sorted(p.name for p in (tmp_path / "checkpoints").iterdir())
    assert names == ["step-00000012", "step-00000016"]


def test_a_log_line_cut_short_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_text('{"step": 1}\n{"step": 2}\n{"ste')
    assert read_log(tmp_path) == [{"step": 1}, {"step": 2}]


SCRIPT = """
import sys, torch
from pathlib import Path
from synesthete import config, runs
from synesthete.data import storage
torch.set_num_threads(1)
table = config.read("archetype")
table["training"] |= {"steps": 200, "batch_size": 4, "checkpoint_every": 1}
table["model"] |= {"width": 8}
alignment = storage.load(sys.argv[1])
print("ready", flush=True)
runs.run(config.from_table(table), alignment, {}, Path(sys.argv[2]), resume=True)
"""


def test_a_sigkill_at_any_moment_leaves_a_run_that_goes_on(tmp_path: Path) -> None:
    """Killed four times at random moments of a run that writes a checkpoint each step."""
    storage.save(toy.build(recordings=20, images=40)[0], tmp_path / "pairs")
    out, rng = tmp_path / "run", random.Random(7)
    steps = [0]
    for _ in range(4):
        command = [sys.executable, "-c", SCRIPT, str(tmp_path / "pairs"), str(out)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            while not checkpoint.found(out / "checkpoints") and process.poll() is None:
                time.sleep(0.01)
            time.sleep(rng.uniform(0, 0.5))
            process.kill()
            _, errors = process.communicate()
        assert process.returncode in (-signal.SIGKILL, 0), errors.decode()
        for newest in checkpoint.found(out / "checkpoints")[-1:]:
            load_file(newest / "model.safetensors")
            load_file(newest / "average.safetensors")
            steps.append(json.loads((newest / "state.json").read_text())["step"])
        assert (out / artefact.CONFIG).exists() or not (out / artefact.WEIGHTS).exists()
    assert steps == sorted(steps)
    assert steps[-1] > 0
