"""The training loop: it knows phases and named losses, never families."""

import json
import math
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from operator import methodcaller
from pathlib import Path
from typing import Any, Protocol

import torch
from lightning_fabric import Fabric
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.tensorboard import SummaryWriter

from synesthete import checkpoint, distributed, torchrun
from synesthete.config import TrainingConfig
from synesthete.data.batches import generator, reader_key
from synesthete.errors import SharedError
from synesthete.family import Family, Losses
from synesthete.files import naming, whole_file
from synesthete.progress import bar

LOG = "log.jsonl"
LOG_EVERY = 10
"""Steps between two lines of the log."""


class Movable(Protocol):
    """A batch: all the loop does with one is to bring it to the device."""

    def to(self, device: torch.device) -> Any:
        """The batch on `device`."""


class Interrupted(SharedError):
    """The run was asked to stop (Ctrl-C, SIGTERM) and can be resumed; `signal` says by what."""

    def __init__(self, message: str, number: int) -> None:
        super().__init__(message)
        self.signal = number


class Diverged(SharedError):
    """A loss or the weights became infinite or not a number."""


@dataclass(frozen=True)
class Step:
    """One finished step."""

    number: int
    """Steps done, this one included."""
    losses: dict[str, float]
    """Named losses; with several phases the names carry `phase/`."""
    seconds: float
    """Since the run started or resumed."""


@dataclass
class State:
    """Everything that changes while training."""

    model: Family
    optimizers: dict[str, torch.optim.Optimizer]
    average: AveragedModel | None = None
    step: int = 0
    forward: Any = field(default=None, repr=False)
    """`Asked` as Fabric wraps it: precision, devices, gradient synchronisation."""

    @property
    def result(self) -> Family:
        """The weights worth keeping: the averaged ones where there are any."""
        module = self.model if self.average is None else self.average.module
        assert isinstance(module, Family)
        return module


class Asked(nn.Module):
    """Losses as the output of a module, which is all that DDP takes note of."""

    def __init__(self, model: Family) -> None:
        super().__init__()
        self.model = model

    def forward(self, ask: Callable[[Family], Losses]) -> Losses:
        """What `ask` gets from the model; gradients flow from `"loss"` alone."""
        losses = ask(self.model)
        return {name: x if name == "loss" else x.detach() for name, x in losses.items()}


def prepare(model: Family, config: TrainingConfig, fabric: Fabric) -> State:
    """An optimiser a phase, the moving average, and Fabric around them."""
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # convolutions run 1.2-1.4x faster on CPUs
    optimizers = {
        phase: torch.optim.AdamW(
            [p for name in attributes for p in _parameters(getattr(model, name))],
            lr=config.learning_rate,
            betas=(config.adam_beta1, 0.999),
            weight_decay=config.weight_decay,
        )
        for phase, attributes in model.phases.items()
    }
    average = None
    if config.ema:
        average = AveragedModel(model, fabric.device, multi_avg_fn=get_ema_multi_avg_fn(config.ema))  # type: ignore[no-untyped-call]
    forward, *wrapped = fabric.setup(Asked(model), *optimizers.values())
    wrapped_by_phase = dict(zip(optimizers, wrapped, strict=True))
    return State(model, wrapped_by_phase, average, forward=forward)


def fit(
    state: State,
    batches: Callable[[int, int], Iterator[Movable]],
    config: TrainingConfig,
    fabric: Fabric,
    seed: int,
) -> Iterator[Step]:
    """Train to `config.steps`, yielding after each step.

    `batches(s, r)` gives reader r's share of the batch of step s, then of those that follow.
    Every random number of step s is drawn from (seed, s), with several readers from (seed, s, r),
    so neither stopping and resuming nor the number of processes that the readers are dealt among
    changes anything. The order within a step is that of the model's `phases`.

    Raises:
        Diverged: a loss is no longer finite.
        SharedError: the processes cannot divide the readers evenly.
    """
    started = time.perf_counter()
    state.model.train()
    readers = distributed.own(config.readers)
    for shares in zip(*(batches(state.step, reader) for reader in readers), strict=True):
        if state.step >= config.steps:
            return
        here = {r: share.to(fabric.device) for r, share in zip(readers, shares, strict=True)}
        losses = _step(state, here, config, fabric, seed)
        state.step += 1
        yield Step(state.step, losses, time.perf_counter() - started)


def train(
    model: Family,
    batches: Callable[[int, int], Iterator[Movable]],
    config: TrainingConfig,
    out: Path,
    *,
    seed: int,
    description: str = "training",
    watch: Callable[[Step, Family], None] | None = None,
) -> Family:
    """Fit `model`, with checkpoints, logs and a progress bar in `out`; go on where it stopped.

    `watch` is called after each step with the weights worth keeping so far. Of several processes
    the first alone writes, shows and watches; asked to stop, all do so after the same step.

    Returns:
        The trained model (averaged weights where the configuration asks for them), in eval mode.

    Raises:
        Interrupted: after Ctrl-C or SIGTERM, with a checkpoint of the last whole step on disk.
        Diverged: a loss or the weights are no longer finite; the checkpoints on disk are.
    """
    distributed.join()
    fabric = distributed.engine(precision(config), len(model.phases))
    state = prepare(model, config, fabric)
    checkpoints = out / "checkpoints"
    found = distributed.first(lambda: checkpoint.resume(state, checkpoints))
    if found is not None and torchrun.rank():
        checkpoint.restore(state, found)
    with (
        _stop_signals() as received,
        nullcontext() if torchrun.rank() else _Log(out, state.step) as log,
        bar(description, config.steps, state.step) as progress,
    ):
        for step in fit(state, batches, config, fabric, seed):
            progress.advance(note=f"loss {step.losses[_total(step.losses)]:.4g}")
            if log is not None:
                log.write(step)
                if watch is not None:
                    watch(step, state.result)
            stopped = distributed.most(received[0] if received else 0)
            if stopped or step.number % config.checkpoint_every == 0 or step.number == config.steps:
                _check_weights(state, config)
            if stopped or step.number % config.checkpoint_every == 0:
                distributed.first(lambda: checkpoint.save(state, checkpoints))
            if stopped and step.number < config.steps:
                raise Interrupted(
                    f"stopped after step {step.number} of {config.steps}; nothing is lost: the "
                    "same command with --resume goes on (`demo` does so by itself)",
                    stopped,
                )
    return state.result.eval()


def _check_weights(state: State, config: TrainingConfig) -> None:
    """See that the weights are worth keeping: a step may break them though its loss was finite."""
    floats = (t for t in state.model.state_dict().values() if t.is_floating_point())
    if not all(bool(tensor.isfinite().all()) for tensor in floats):
        raise _diverged(f"the weights are no longer finite after step {state.step}", config)


def _diverged(what: str, config: TrainingConfig) -> Diverged:
    return Diverged(
        f"{what}; the last checkpoint is kept. Train into another --out with a lower "
        f"training.learning_rate (now {config.learning_rate}) or precision 32-true"
    )


def _step(
    state: State, shares: Mapping[int, Any], config: TrainingConfig, fabric: Fabric, seed: int
) -> dict[str, float]:
    """One update of every phase by the shares of this process's readers; the losses as numbers."""
    logged: dict[str, float] = {}
    for index, (phase, optimizer) in enumerate(state.optimizers.items()):
        steps = (not index and config.first_phase_steps) or config.steps
        if state.step >= steps:
            continue
        for group in optimizer.param_groups:
            group["lr"] = config.learning_rate * rate(config.schedule, state.step, steps)
        _thaw(state.model, (phase,))
        optimizer.zero_grad()
        losses = _backward(state, shares, phase, (seed, state.step, index), config.readers, fabric)
        optimizer.step()
        prefix = f"{phase}/" if len(state.optimizers) > 1 else ""
        logged |= {prefix + name: value for name, value in losses.items()}
    _thaw(state.model, state.optimizers)
    if not all(math.isfinite(value) for value in logged.values()):
        raise _diverged(f"the loss is no longer finite at step {state.step + 1} ({logged})", config)
    if state.average is not None:
        state.average.update_parameters(state.model)
    return logged


def _backward(
    state: State,
    shares: Mapping[int, Any],
    phase: str,
    key: tuple[int, ...],
    readers: int,
    fabric: Fabric,
) -> dict[str, float]:
    """Leave the gradient of all readers' mean loss in the parameters; their mean losses.

    Buffers, such as batch norm's running averages, are as before the step to each reader, and
    then the mean of what the readers made of them; counters are what each made of them.
    """
    buffers = list(state.model.buffers()) if readers > 1 else []
    before, after = [x.clone() for x in buffers], []
    found: list[Losses] = []
    for reader, share in shares.items():
        for buffer, value in zip(buffers, before, strict=True):
            buffer.copy_(value)
        rng = generator(*key, *reader_key(reader, readers))
        torch.manual_seed(rng.initial_seed())  # dropout reads the global generator
        with fabric.no_backward_sync(state.forward, enabled=len(found) < len(shares) - 1):
            losses = state.forward(methodcaller("losses", share, phase, rng))
            fabric.backward(losses["loss"] / len(shares))
        found.append(losses)
        after.append([x.clone() for x in buffers])
    for buffer, *values in zip(buffers, *after, strict=True):
        if buffer.is_floating_point():
            buffer.copy_(distributed.mean(torch.stack(values).mean(0)))
    rows = [[float(x.detach()) for x in losses.values()] for losses in found]
    means = torch.tensor(rows, dtype=torch.float64).mean(0)
    return dict(zip(found[0], distributed.mean(means).tolist(), strict=True))


def _thaw(model: Family, phases: Iterable[str]) -> None:
    """Let gradients reach the parameters of `phases` alone: the others need none."""
    for phase, attributes in model.phases.items():
        for attribute in attributes:
            for parameter in _parameters(getattr(model, attribute)):
                parameter.requires_grad_(phase in phases)


def precision(config: TrainingConfig) -> str:
    """Fabric's name for the run's precision; `"auto"` asks the machine.

    A CPU without bfloat16 instructions emulates them, a hundred times slower than float32.
    """
    if config.precision != "auto":
        return config.precision
    if torch.cuda.is_available():
        return "bf16-mixed" if torch.cuda.is_bf16_supported() else "32-true"
    look = getattr(torch.cpu, "get_capabilities", dict[str, bool])  # absent from older torch
    able = look()
    return "bf16-mixed" if able.get("avx512_bf16") or able.get("amx_bf16") else "32-true"


def rate(schedule: str, step: int, steps: int) -> float:
    """The share of the peak learning rate at `step` (0-based) of `steps`."""
    if schedule == "constant":
        return 1.0
    warm = max(1, steps // 10)
    if step < warm:
        return (step + 1) / warm
    return (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm))) / 2


def _parameters(attribute: nn.Module | nn.Parameter) -> list[nn.Parameter]:
    return [attribute] if isinstance(attribute, nn.Parameter) else list(attribute.parameters())


def _total(losses: dict[str, float]) -> str:
    return next(name for name in losses if name.rpartition("/")[2] == "loss")


@contextmanager
def _stop_signals() -> Iterator[list[int]]:
    """A list that receives the first SIGINT or SIGTERM; a second one acts as usual.

    Under torchrun it does nothing: it may be the first one again, as torchrun passes it on.
    """
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield received
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def remember(number: int, _: object) -> None:
        received.append(number)
        if not torchrun.launched():
            signal.signal(number, before[signal.Signals(number)])

    for number in before:
        signal.signal(number, remember)
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Log:
    """`log.jsonl` (a line every `LOG_EVERY` steps) and TensorBoard's event files."""

    def __init__(self, out: Path, step: int) -> None:
        out.mkdir(parents=True, exist_ok=True)
        self._path = out / LOG
        kept = [line for line in read_log(out) if line["step"] <= step]
        with whole_file(self._path) as draft:
            draft.write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")
        self._before = kept[-1]["seconds"] if kept else 0.0
        self._hook, threading.excepthook = threading.excepthook, self._of_a_thread
        with naming(out):
            self._board = SummaryWriter(str(out / "tensorboard"), purge_step=step + 1)

    def __enter__(self) -> "_Log":
        self._file = self._path.open("a", encoding="utf-8", buffering=1)
        return self

    def __exit__(self, *_: object) -> None:
        try:
            with naming(self._path.parent):
                self._file.close()
                self._board.close()
        finally:
            threading.excepthook = self._hook

    def _of_a_thread(self, error: threading.ExceptHookArgs) -> None:
        """Say nothing of TensorBoard's thread, which raises its error again where we write."""
        if not type(error.thread).__module__.startswith("tensorboard."):
            self._hook(error)

    def write(self, step: Step) -> None:
        if step.number % LOG_EVERY and step.number != 1:
            return
        line = {
            "step": step.number,
            "seconds": round(self._before + step.seconds, 3),
            **step.losses,
        }
        with naming(self._path.parent):
            self._file.write(json.dumps(line) + "\n")
            for name, value in step.losses.items():
                self._board.add_scalar(name, value, step.number)


def read_log(out: Path, name: str = LOG) -> list[dict[str, float]]:
    """The lines of a run's log; a last line cut short by a kill is left out."""
    path = out / name
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").split("\n")[:-1]
    return [json.loads(line) for line in lines]
