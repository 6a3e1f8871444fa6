"""Several processes that train one model: who does what, and what they agree on."""

import atexit
import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any, TypeVar

import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies.ddp import DDPStrategy
from torch import Tensor
from torch import distributed as dist
from torch.distributed import PrefixStore, Store  # type: ignore[attr-defined]
from torch.distributed.rendezvous import rendezvous

from synesthete import torchrun
from synesthete.errors import SharedError, UserError

T = TypeVar("T")

TIMEOUT = timedelta(minutes=10)
"""How long a process waits for the others, such as for the first to write a checkpoint."""


class Lost(UserError):
    """Another process of the run is gone, or has been silent for `TIMEOUT`."""


def join() -> None:
    """Meet the other processes, where torchrun started several; later calls do nothing.

    Raises:
        Lost: they did not come.
    """
    if torchrun.world() == 1 or dist.is_initialized():
        return
    store, rank, world = next(rendezvous("env://", timeout=TIMEOUT))
    store = PrefixStore(_meeting(store, rank, world), store)
    # Without a backend named: gloo for what is in memory, NCCL for what is on GPUs.
    dist.init_process_group(store=store, rank=rank, world_size=world, timeout=TIMEOUT)
    atexit.register(_leave)


def _leave() -> None:
    """Threads that still wait for another process would abort this one at its end."""
    with suppress(RuntimeError):
        if dist.is_initialized():
            dist.destroy_process_group()


def _meeting(store: Store, rank: int, world: int) -> str:
    """A name that the processes of this start of the run agree on, and no earlier start had.

    torchrun's store outlives the processes that it starts anew, and with it the addresses of the
    lost ones. So the first process calls out a fresh name, and waits until each of the others has
    answered; these believe a name once the first has acknowledged their own answer to it.
    """
    own = uuid.uuid4().hex
    if rank == 0:
        store.set("meeting", own)
        for other in range(1, world):
            answer = store.get(f"{own}/{other}").decode()
            store.set(f"{own}/{other}/{answer}", "")
        return own
    for _ in range(int(TIMEOUT.total_seconds())):
        name = store.get("meeting").decode()
        store.set(f"{name}/{rank}", own)
        try:
            store.wait([f"{name}/{rank}/{own}"], timedelta(seconds=1))
        except dist.DistStoreError:  # not yet, or an earlier start's name
            continue
        return name
    raise Lost(_lost(rank))


def engine(precision: str, phases: int = 1) -> Fabric:
    """Fabric on this process's device, averaging gradients over all processes.

    `phases`: of the model; with several, a step leaves the others' parameters without gradients.
    """
    if torchrun.world() == 1:
        return Fabric(accelerator="auto", devices=1, precision=precision)  # type: ignore[arg-type]
    here, gpus = int(os.environ["LOCAL_WORLD_SIZE"]), torch.cuda.device_count()
    if 0 < gpus < here:
        raise UserError(f"torchrun started {here} processes here for {gpus} GPUs; start {gpus}")
    strategy = DDPStrategy(find_unused_parameters=phases > 1)
    fabric = Fabric(
        accelerator="cuda" if gpus else "cpu",
        devices=here,
        num_nodes=torchrun.world() // here,
        strategy=strategy,
        precision=precision,  # type: ignore[arg-type]
    )
    fabric.launch()
    return fabric


def own(readers: int) -> range:
    """The readers whose share of each batch is this process's work.

    Raises:
        SharedError: the processes cannot divide them evenly.
    """
    world = torchrun.world()
    if readers % world:
        raise SharedError(
            f"training.readers is {readers}, no multiple of torchrun's {world} processes; add "
            f"--readers {world}, or start as many processes as divide {readers}"
        )
    each = readers // world
    return range(torchrun.rank() * each, (torchrun.rank() + 1) * each)


def first(act: Callable[[], T]) -> T:
    """What `act` gives the first process, for all: the others wait, and share its `UserError`."""
    if torchrun.world() == 1:
        return act()
    told: list[Any] = [None, None]
    if torchrun.rank() == 0:
        try:
            told[0] = act()
        except UserError as error:
            told[1] = str(error)
    dist.broadcast_object_list(told)
    if told[1] is not None:
        raise SharedError(told[1])
    result: T = told[0]
    return result


def mean(values: Tensor) -> Tensor:
    """The mean of each of `values` over the processes."""
    if torchrun.world() == 1:
        return values
    total = values.clone()
    dist.all_reduce(total)
    return total / torchrun.world()


def most(number: int) -> int:
    """The largest of the processes' numbers."""
    if torchrun.world() == 1:
        return number
    found = torch.tensor(number)
    dist.all_reduce(found, dist.ReduceOp.MAX)
    return int(found)


@contextmanager
def company() -> Iterator[None]:
    """Say plainly that another process was lost, where the block could not go on without it."""
    try:
        yield
    except RuntimeError as error:
        if torchrun.world() == 1 or not _of_the_network(error):
            raise
        raise Lost(_lost(torchrun.rank())) from error


def _lost(rank: int) -> str:
    return (
        f"process {rank} lost another process of this run; once that one's trouble is mended, the "
        "same command with --resume goes on from the last checkpoint"
    )


def _of_the_network(error: RuntimeError) -> bool:
    return isinstance(error, dist.DistError) or "gloo" in str(error)
