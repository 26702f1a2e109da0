"""The photographs of a run shared among processes: worker processes of our own, or the ranks of torchrun."""

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from grounding.datasets.flickr30k import EntityImage
from grounding.errors import GroundingError
from grounding.evaluation.predictions.predictor import Job, Predictor

T = TypeVar("T")


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


def lines_in_order(job: Job, images: Sequence[EntityImage], workers: int) -> Iterator[str]:
    """`Predictor.line` of each image, in order; by this process, by `workers` others, or shared among torchrun's ranks.

    Under torchrun only rank 0 yields lines; the others work along.
    """
    if world()[1] > 1:
        yield from _torchrun_lines(job, images)
    elif workers > 1:
        yield from _worker_lines(job, images, workers)
    else:
        yield from map(Predictor(job).line, images)


_predictor: Predictor  # of a worker process


@contextlib.contextmanager
def _interrupts_waiting() -> Iterator[None]:
    """Ctrl-C waits for the end of the block; processes that start in it never get one: their parent ends them."""
    arrived: list[int] = []
    handler = signal.signal(signal.SIGINT, lambda number, _: arrived.append(number))
    if posix := hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # processes inherit this, but no handler
    try:
        yield
    finally:
        if posix:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        signal.signal(signal.SIGINT, handler)
    if arrived:
        raise KeyboardInterrupt


def _start_worker(job: Job, threads: int) -> None:
    import torch

    global _predictor
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(threads)
    _predictor = Predictor(job)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _work(image: EntityImage) -> str:
    return _predictor.line(image)


def _worker_lines(job: Job, images: Sequence[EntityImage], workers: int) -> Iterator[str]:
    threads = max(1, (os.cpu_count() or 1) // workers)
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, context, _start_worker, (job, threads))
    try:
        with _interrupts_waiting():
            lines = pool.map(_work, images)
        yield from lines
    except BrokenProcessPool as error:
        raise GroundingError(
            "a worker process ended without a word (out of memory?): run the same command again with fewer --workers"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _torchrun_lines(job: Job, images: Sequence[EntityImage]) -> Iterator[str]:
    from torch import distributed

    rank, size = world()
    predictor = Predictor(job)
    for first in range(0, len(images), size):
        group = images[first : first + size]
        line = predictor.line(group[rank]) if rank < len(group) else ""
        gathered = [""] * size if rank == 0 else None
        distributed.gather_object(line, gathered)
        if gathered is not None:
            yield from gathered[: len(group)]
