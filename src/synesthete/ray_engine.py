"""Ray Data as the engine: a cluster's processes in the place of this machine's."""

import contextlib
import logging
import os
import pickle
import socket
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from synesthete.engines import Item, Result, apart
from synesthete.errors import UserError

# No report to Ray's makers; no lines of Ray's among ours: what is wrong is raised.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", ".")
try:
    import ray
    import ray.data
except ModuleNotFoundError:  # an optional extra
    ray = None


class Ray:
    """The cluster at `RAY_ADDRESS`; where that is not set, one of this machine's cores.

    Raises:
        UserError: Ray is not installed, or no cluster answers.
    """

    def __init__(self, workers: int | None = None) -> None:
        if ray is None:
            raise UserError("--engine ray needs Ray: pip install 'synesthete[ray]'")
        self.workers = workers
        if not ray.is_initialized():
            _start(workers or os.cpu_count() or 1)

    def map(
        self,
        function: Callable[[Item], Result],
        items: Iterable[Item],
        *,
        cores: int = 1,
        crashed: Callable[[Item], Result] | None = None,
    ) -> Iterator[Result]:
        """As `engines.Engine.map`: each item is a block of Ray Data, and a task of its own.

        A task whose process is killed is begun again in another. What is pickled is read by the
        cluster's processes and by this one alone.

        Raises:
            UserError: no machine of the cluster has so many cores, or Ray failed.
        """
        rows = [{"item": pickle.dumps(item)} for item in items]
        if not rows:
            return
        context = ray.data.DataContext.get_current()
        context.execution_options.preserve_order = True
        context.enable_progress_bars = False
        size = min(_room(cores), len(rows), self.workers or len(rows))
        found = ray.data.from_items(rows, override_num_blocks=len(rows)).map_batches(
            _Task(function, crashed, Path.cwd()).run,
            batch_size=1,
            batch_format="pyarrow",
            compute=ray.data.TaskPoolStrategy(size),
            num_cpus=cores,
        )
        try:
            for row in found.iter_rows():
                result, error = pickle.loads(row["result"])
                if error is not None:
                    raise error
                yield result
        except ray.exceptions.RayError as error:
            raise UserError(f"Ray failed: {str(error).strip().splitlines()[-1]}") from error


@dataclass(frozen=True)
class _Task:
    """What is done with an item, in the folder that relative paths are meant from."""

    function: Callable[[Any], Any]
    crashed: Callable[[Any], Any] | None
    folder: Path

    def run(self, rows: pa.Table) -> pa.Table:
        """A row of an item, pickled -> a row of its result and exception."""
        with contextlib.suppress(OSError):  # paths may be absolute
            os.chdir(self.folder)
        item = pickle.loads(rows["item"][0].as_py())
        result = error = None
        try:
            if self.crashed is None:
                result = self.function(item)
            else:
                result = apart(self.function, item, self.crashed)
        except Exception as raised:  # noqa: BLE001 - raised again by `Ray.map`
            error = raised
        told = pickle.dumps((result, error))
        return pa.table({"result": pa.array([told], pa.large_binary())})


def _start(workers: int) -> None:
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address := os.environ.get("RAY_ADDRESS"):
        try:
            _reach(address)
            ray.init(**quiet)
        except OSError as error:
            raise UserError(
                f"no Ray cluster answers at RAY_ADDRESS={address}, or none that takes our token"
            ) from error
        except RuntimeError as error:  # of another version of Ray or Python
            told = " ".join(str(error).split())
            raise UserError(f"the Ray cluster at RAY_ADDRESS={address}: {told}") from error
    else:
        ray.init("local", num_cpus=workers, include_dashboard=False, **quiet)
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)


def _reach(address: str) -> None:
    """Raise OSError where nothing answers at host:port; Ray itself would try for minutes."""
    host, _, port = address.rpartition(":")
    if port.isdigit():
        socket.create_connection((host.removeprefix("ray://"), int(port)), timeout=10).close()


def _room(cores: int) -> int:
    """How many tasks of so many cores the cluster has room for."""
    machines = [int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]]
    room = sum(machine // cores for machine in machines)
    if not room:
        raise UserError(
            f"one process here uses {cores} cores, and no machine of the Ray cluster has so many "
            f"(the largest: {max(machines, default=0)}): set OMP_NUM_THREADS to fewer"
        )
    return room
