"""Work on several threads: order, how much is begun, and how it ends."""

import threading
import time
from contextlib import closing

import pytest

from grounding.workers import ordered_map

WORKERS = [1, 2, 3]


@pytest.mark.parametrize("workers", WORKERS)
@pytest.mark.parametrize("count", [0, 1, 2, 5, 40])
def test_results_are_in_the_order_of_the_items(workers, count):
    def work(item):
        time.sleep(0.002 * (item * 7 % 3))
        return item * item

    assert list(ordered_map(work, range(count), workers)) == [item * item for item in range(count)]


@pytest.mark.parametrize("workers", [2, 3])
def test_no_more_is_begun_than_two_for_each_worker_or_taken_from_the_items(workers):
    begun, taken = [], []
    results = ordered_map(begun.append, (taken.append(item) or item for item in range(50)), workers)
    for number in range(3):
        next(results)
        time.sleep(0.05)
        assert max(begun) < number + 1 + 2 * workers
        assert len(taken) <= number + 1 + 2 * workers
    assert len(begun) > workers
    results.close()


@pytest.mark.parametrize("workers", WORKERS)
@pytest.mark.parametrize("error", [ValueError("bad"), KeyboardInterrupt()])
def test_an_error_is_raised_in_its_turn_and_nothing_goes_on(workers, error):
    done = []

    def work(item):
        if item == 4:
            raise error
        time.sleep(0.01)
        done.append(item)
        return item

    results, got = ordered_map(work, range(100), workers), []
    with pytest.raises(type(error)):
        got.extend(results)
    before = len(done)
    assert got == [0, 1, 2, 3]
    assert before < 5 + 2 * workers
    time.sleep(0.05)
    assert len(done) == before
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("grounding")]


@pytest.mark.parametrize("workers", [2, 3])
def test_who_takes_no_more_leaves_no_thread_behind(workers):
    def interrupted():
        with closing(ordered_map(lambda item: time.sleep(0.01) or item, range(100), workers)) as results:
            for result in results:
                if result == 2:
                    raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("grounding")]


@pytest.mark.parametrize("workers", [2, 3])
def test_work_is_done_side_by_side_on_prepared_threads(workers):
    prepared, together = set(), threading.Barrier(workers, timeout=5)

    def work(item):
        together.wait()  # breaks, where fewer than all work at the same time
        return threading.get_ident() in prepared

    assert all(ordered_map(work, range(2 * workers), workers, lambda: prepared.add(threading.get_ident())))


def test_one_worker_is_this_thread_and_waits_to_be_asked():
    begun = []
    results = ordered_map(lambda item: begun.append(item) or threading.current_thread(), range(5), 1)
    assert next(results) is threading.current_thread()
    assert begun == [0]
