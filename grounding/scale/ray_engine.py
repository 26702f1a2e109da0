"""Partitions done by Ray Data: a stream of partitions through a pool of actors, each with a localizer of its own."""

import contextlib
import logging
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from grounding.errors import GroundingError
from grounding.scale.partitions import Partition
from grounding.scale.parts import read_tally
from grounding.scale.worker import Job, Worker

_STORE_BYTES: Final = 100 << 20  # of a Ray that we start: only numbers of partitions pass through its object store
_QUIET: Final = {
    "RAY_USAGE_STATS_ENABLED": "0",  # nothing is reported to anybody
    "RAY_BACKEND_LOG_LEVEL": "fatal",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_DISABLE_IMPORT_WARNING": "1",
}
_MOST_BLOCKS: Final = 10_000
_INIT_DEATHS: Final = 3  # of actors that die while they load their model


class Actor:
    """A `Worker` as Ray Data wants it: batches of partitions in, numbers and errors out.

    Errors are handed on as text: whoever waits gets one line, not the trace of a remote process.
    """

    def __init__(self, job: Job, threads: int) -> None:
        try:
            self.worker, self.error = Worker(job, threads), ""
        except GroundingError as error:
            self.error = str(error)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Do the partitions of a batch."""
        errors, deaths = [], []
        for row in zip(*(batch[name].tolist() for name in Partition._fields), strict=True):
            try:
                partition = Partition(*row)
                again = bool(self.error) or self._is_done(partition)
                deaths.append(0 if again else self.worker.do(partition))
                errors.append(self.error)
            except GroundingError as error:
                deaths.append(0)
                errors.append(str(error))
        return {**batch, "error": errors, "deaths": deaths}

    def _is_done(self, partition: Partition) -> bool:
        """Whether an actor that died had done this one of its batch."""
        job = self.worker.job
        return read_tally(job.output, job.run, partition) is not None


def run(job: Job, partitions: Sequence[Partition], workers: int | None, gpus: float) -> Iterator[tuple[Partition, int]]:
    """Give each partition as soon as it is done, with the number of workers that died at it.

    Ray Data hands an actor two partitions at most, so that nothing piles up; it starts actors that die again, and
    gives their partitions once more.

    Args:
        workers: how many actors; None for as many as the cluster has room for.
        gpus: share of a GPU that each has.

    Raises:
        GroundingError: Ray is not installed or cannot be reached, has no such room, or what a worker raises.
    """
    with _connected(workers) as ray:
        room = _room(ray, gpus)
        workers = workers or room
        settings = ray.data.DataContext.get_current()
        settings.enable_progress_bars = False
        settings.print_on_execution_start = False
        settings.max_consecutive_actor_init_deaths = _INIT_DEATHS
        settings.execution_no_progress_timeout_s = -1  # a partition takes as long as it takes
        rows = [partition._asdict() for partition in partitions]
        done = ray.data.from_items(rows, override_num_blocks=min(len(rows), _MOST_BLOCKS)).map_batches(
            Actor,
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(size=min(workers, len(rows)), max_tasks_in_flight_per_actor=2),
            num_cpus=1,
            num_gpus=gpus,
            fn_constructor_kwargs={"job": job, "threads": 1},
        )
        try:
            for row in done.iter_rows():
                if row["error"]:
                    raise GroundingError(row["error"])
                yield Partition(**{name: row[name] for name in Partition._fields}), row["deaths"]
        except ray.exceptions.RayTaskError:  # a bug of ours, with its trace
            raise
        except ray.exceptions.RayError as error:
            lines = [line for line in str(error).splitlines() if line.strip()]
            raise GroundingError(
                f"Ray stopped ({lines[-1].strip()}); the same command goes on where this one stopped"
            ) from error


@contextlib.contextmanager
def _connected(workers: int | None) -> Iterator[Any]:
    """Ray, quiet: the cluster that `RAY_ADDRESS` names, or one on this machine that ends with the block.

    Args:
        workers: for how many there must be room on this machine.
    """
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise GroundingError(
            "--engine ray needs Ray, which is not installed: python -m pip install 'grounding[ray]'"
        ) from error
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    ours = not ray.is_initialized()
    termination = signal.getsignal(signal.SIGTERM)
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    with contextlib.ExitStack() as stack:
        nothing = stack.enter_context(Path(os.devnull).open("w", encoding="utf-8"))
        stack.enter_context(contextlib.redirect_stdout(nothing))  # where Ray says at length that an actor died
        if ours and (address := os.environ.get("RAY_ADDRESS")):
            try:
                with _silent():
                    ray.init(address, **quiet)
            except (ConnectionError, RuntimeError, ValueError) as error:
                raise GroundingError(
                    f"RAY_ADDRESS is {address}: no Ray cluster answers there ({str(error).splitlines()[0]})"
                ) from error
        elif ours:
            processors = max(workers or 1, os.cpu_count() or 1)
            folder = tempfile.mkdtemp(prefix="ray-", dir="/tmp" if Path("/tmp").is_dir() else None)
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
            room = {"num_cpus": processors, "object_store_memory": _STORE_BYTES, "_temp_dir": folder}
            with _silent():
                ray.init("local", include_dashboard=False, **room, **quiet)
        if ours:
            stack.callback(ray.shutdown)
            with contextlib.suppress(ValueError):  # not the main thread
                signal.signal(signal.SIGTERM, termination)  # which Ray has made its own
        yield ray


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Keep what Ray's C++ parts say at their start off the terminal; what goes wrong is an exception."""
    sys.stderr.flush()
    kept, nothing = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nothing)


def _room(ray: Any, gpus: float) -> int:
    """How many actors there is room for now, at least 1: a cluster may grow."""
    resources = ray.cluster_resources()
    room = int(resources.get("CPU", 0))
    if gpus:
        room = min(room, int(resources.get("GPU", 0) / gpus))
        if not room and not os.environ.get("RAY_ADDRESS"):
            raise GroundingError(f"--gpus-per-worker is {gpus:g}: Ray finds no GPU on this machine")
    return max(1, room)
