"""One job shared among processes: results come in order, and a lost worker is one line."""

import os
from functools import partial
from operator import methodcaller

import pytest

from grounding.distributed import from_rank_0, in_order, world
from grounding.errors import GroundingError


def test_one_process_prepares_once_and_works_in_order():
    prepared = []

    def prepare():
        prepared.append(1)
        return str.upper

    assert list(in_order(prepare, ["b", "a", "c"])) == ["B", "A", "C"]
    assert prepared == [1]
    assert list(in_order(prepare, [])) == []


@pytest.mark.slow
def test_workers_give_results_in_order():
    letters = [chr(97 + number % 26) for number in range(40)]
    assert list(in_order(partial(methodcaller, "upper"), letters, workers=2)) == [each.upper() for each in letters]


@pytest.mark.slow
def test_a_lost_worker_is_one_line():
    with pytest.raises(GroundingError, match=r"^a worker process ended .* fewer --workers$"):
        list(in_order(partial(partial, os._exit), [3, 3], workers=2))


def test_without_torchrun_there_is_one_process():
    assert world() == (0, 1)
    assert from_rank_0("mine") == "mine"
