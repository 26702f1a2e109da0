"""Work on several threads, with the results in the order of what was asked for, and few of them waiting."""

import contextlib
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

import torch

T = TypeVar("T")
R = TypeVar("R")
_WAITING = 2  # for each worker: pieces of work that are being done, or done and not yet taken


def ordered_map(
    work: Callable[[T], R], items: Iterable[T], workers: int, prepare: Callable[[], Any] | None = None
) -> Generator[R]:
    """Apply a function to each item, `workers` at a time, and give the results in the order of the items.

    While nobody takes results, no more than two items a worker are begun, so that memory stays bounded. An error is
    raised in its turn, behind the results before it. However the iteration ends, what has not begun is not done, and
    what has is waited for: no thread is left behind.

    Args:
        work: called on threads of its own; in this thread, when a result is asked for, where there is one worker.
        prepare: called first on each thread of its own.
    """
    if workers == 1:
        yield from map(work, items)
        return
    pool = ThreadPoolExecutor(workers, "grounding", prepare)
    try:
        waiting: deque[Future[R]] = deque()
        for item in items:
            if len(waiting) == _WAITING * workers:
                yield waiting.popleft().result()
            waiting.append(pool.submit(work, item))
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Let PyTorch compute on the calling thread alone; afterwards on as many threads as before.

    The last digit of a sum depends on how many threads share it out. Pictures side by side use the cores better than
    the threads of one picture, and each is then what it is on any machine with such a processor.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
