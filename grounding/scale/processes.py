"""Partitions done by processes of this machine. One that dies is replaced, and its partition begun again."""

import contextlib
import multiprocessing
import signal
import traceback
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection, wait
from typing import Any, Final

import torch

from grounding.errors import GroundingError
from grounding.scale.partitions import Partition
from grounding.scale.worker import Job, Worker

_STARTS_IN_VAIN: Final = 3  # workers that die, one after the other, before they have loaded their model


def run(job: Job, partitions: Sequence[Partition], workers: int) -> Iterator[tuple[Partition, int]]:
    """Give each partition as soon as it is done, with the number of workers that died at it.

    Args:
        workers: how many processes; the threads of this machine are divided among them.

    Raises:
        GroundingError: what a worker raises; or one dies before it has begun, again and again.
    """
    threads = max(1, torch.get_num_threads() // workers)
    waiting = list(reversed(partitions))
    pool = [_Process(job, threads) for _ in range(min(workers, len(waiting)))]
    in_vain = 0
    try:
        while waiting or any(each.partition for each in pool):
            ready = wait([each.pipe for each in pool])
            for worker in [each for each in pool if each.pipe in ready]:
                try:
                    answer = worker.pipe.recv()
                except (EOFError, OSError):  # it has died
                    in_vain = 0 if worker.ready else in_vain + 1
                    if in_vain == _STARTS_IN_VAIN:
                        raise GroundingError(_too_many(worker.process.exitcode)) from None
                    if worker.partition is not None:
                        waiting.append(worker.partition)
                    worker.end()
                    pool[pool.index(worker)] = _Process(job, threads)
                    continue
                if isinstance(answer, GroundingError):
                    raise answer
                if isinstance(answer, str):
                    raise RuntimeError(f"a worker failed:\n{answer}")
                in_vain = 0
                if worker.partition is not None:
                    yield worker.partition, answer
                worker.give(waiting.pop() if waiting else None)
    finally:
        for worker in pool:
            worker.end()


def _too_many(status: int | None) -> str:
    return (
        f"{_STARTS_IN_VAIN} workers died while they loaded the model, the last with exit status {status}: "
        "is there memory for so many? fewer --workers need less"
    )


class _Process:
    """A process with a localizer, and the partition that it does."""

    def __init__(self, job: Job, threads: int) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, job, threads), daemon=True)
        self.process.start()
        theirs.close()  # so that the end of the process is the end of the pipe
        self.partition: Partition | None = None
        self.ready = False

    def give(self, partition: Partition | None) -> None:
        self.ready, self.partition = True, partition
        if partition is not None:
            with contextlib.suppress(BrokenPipeError):  # it has died since; the end of its pipe will say so
                self.pipe.send(partition)

    def end(self) -> None:
        self.process.kill()  # what it was writing has no name yet
        self.process.join()
        self.pipe.close()


def _serve(pipe: "Connection[Any, Any]", job: Job, threads: int) -> None:
    """Do partitions as they come; says when it is ready, how many died at each, or what is wrong."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that waits for this one
    try:
        worker = Worker(job, threads)
        pipe.send(None)
        while True:
            pipe.send(worker.do(pipe.recv()))
    except GroundingError as error:
        pipe.send(error)
    except (EOFError, BrokenPipeError):  # nobody waits any more
        return
    except Exception:  # a bug of ours: another try would end as this one did
        pipe.send(traceback.format_exc())
