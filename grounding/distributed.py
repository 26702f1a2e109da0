"""The processes that share one job: this one alone, worker processes of our own, or the ranks of torchrun."""

import contextlib
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, TypeVar

from grounding.errors import GroundingError

if TYPE_CHECKING:  # torch takes seconds to import, and an evaluation of ready predictions does without
    import torch

T = TypeVar("T")
R = TypeVar("R")
Work = Callable[[T], R]
_ENDING: Final = (signal.SIGINT, signal.SIGTERM)
_PATIENCE: Final = timedelta(days=7)  # while rank 0 writes teacher scores the others wait


@dataclass(frozen=True, slots=True)
class Process:
    """One of the processes that share a job, and the device it uses."""

    rank: int
    count: int
    device: "torch.device"


def world() -> tuple[int, int]:
    """(rank, number of processes) as torchrun says, (0, 1) without it."""
    return int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))


def from_rank_0(value: T) -> T:
    """The value that rank 0 has; every rank must call it, and the others' own value does not count."""
    if world()[1] == 1:
        return value
    from torch import distributed

    if not distributed.is_initialized():
        distributed.init_process_group("gloo")
    told = [value]
    distributed.broadcast_object_list(told)
    return told[0]


@contextlib.contextmanager
def processes(device: str) -> Iterator[Process]:
    """This process, connected with torchrun's others while the block lasts.

    Args:
        device: as PyTorch names them; under torchrun `cuda` is another GPU in every process.

    Raises:
        GroundingError: the device cannot be used.
    """
    import torch
    from torch import distributed

    from grounding.devices import usable_device

    rank, count = world()
    if count > 1 and device == "cuda":
        device = f"cuda:{os.environ['LOCAL_RANK']}"
    place = usable_device(device)
    if count == 1:
        yield Process(rank, count, place)
        return
    backend = "gloo"
    if place.type == "cuda":
        torch.cuda.set_device(place)
        backend = "cpu:gloo,cuda:nccl"
    distributed.init_process_group(backend, timeout=_PATIENCE)
    try:
        yield Process(rank, count, place)
    finally:
        distributed.destroy_process_group()


def in_order(prepare: Callable[[], Work[T, R]], items: Sequence[T], workers: int = 1) -> Iterator[R]:
    """The result of each item, in order; by this process, by `workers` others, or shared among torchrun's ranks.

    Under torchrun only rank 0 yields results; the others work along. Each process computes with one thread, so that
    results do not depend on how many there are.

    Args:
        prepare: called once in each process that works; returns what gives the result of an item. It is sent to other
            processes, as items and results are, so all must be picklable.

    Raises:
        GroundingError: a worker process ended by itself.
    """
    from grounding.workers import one_thread

    with one_thread():
        if world()[1] > 1:
            yield from _shared_among_ranks(prepare(), items)
        elif workers > 1:
            yield from _shared_among_workers(prepare, items, workers)
        else:
            yield from map(prepare(), items)


_work: Work[Any, Any]  # of a worker process


@contextlib.contextmanager
def _interrupts_waiting() -> Iterator[None]:
    """Ctrl-C and SIGTERM wait for the end of the block, and in processes that start in it until they are ready."""
    arrived: list[int] = []
    handlers = {number: signal.signal(number, lambda number, _: arrived.append(number)) for number in _ENDING}
    if posix := hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)  # processes inherit this, but no handler
    try:
        yield
    finally:
        if posix:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)
        for number, handler in handlers.items():
            signal.signal(number, handler)
    if arrived:
        signal.raise_signal(arrived[0])


def leave_signals_to_parent() -> None:
    """In a worker process: Ctrl-C is for the parent, and so is SIGTERM, unless the parent does nothing for a while."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _end_soon)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)


def _end_soon(number: int, frame: object) -> None:
    time.sleep(3)
    os._exit(0)  # of any other status PyTorch's loader would complain while the parent tidies up


def _start_worker(prepare: Callable[[], Work[T, R]]) -> None:
    import torch

    global _work
    leave_signals_to_parent()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(1)
    _work = prepare()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _do(item: Any) -> Any:
    return _work(item)


def _shared_among_workers(prepare: Callable[[], Work[T, R]], items: Sequence[T], workers: int) -> Iterator[R]:
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, context, _start_worker, (prepare,))
    try:
        with _interrupts_waiting():
            results = pool.map(_do, items)
        yield from results
    except BrokenProcessPool as error:
        raise GroundingError(
            "a worker process ended without a word (out of memory?): run the same command again with fewer --workers"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _shared_among_ranks(work: Work[T, R], items: Sequence[T]) -> Iterator[R]:
    from torch import distributed

    rank, size = world()
    for first in range(0, len(items), size):
        group = items[first : first + size]
        result = work(group[rank]) if rank < len(group) else None
        gathered: list[Any] | None = [None] * size if rank == 0 else None
        distributed.gather_object(result, gathered)
        if gathered is not None:
            yield from gathered[: len(group)]
