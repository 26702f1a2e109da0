"""One job shared among processes: results come in order, and a lost worker is one line."""

import os
from functools import partial

import pytest
import torch

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


def test_this_process_works_on_one_thread_and_has_its_own_back():
    before = torch.get_num_threads()
    torch.set_num_threads(before + 1)
    assert list(in_order(partial(partial, eval), ["__import__('torch').get_num_threads()"])) == [1]
    assert torch.get_num_threads() == before + 1
    torch.set_num_threads(before)


@pytest.mark.slow
def test_workers_give_results_in_order_and_have_one_thread_each():
    items = [f"{number}, __import__('torch').get_num_threads()" for number in range(40)]
    assert list(in_order(partial(partial, eval), items, workers=2)) == [(number, 1) for number in range(40)]


@pytest.mark.slow
def test_a_lost_worker_is_one_line():
    with pytest.raises(GroundingError, match=r"^a worker process ended .* fewer --workers$"):
        list(in_order(partial(partial, os._exit), [3, 3], workers=2))


def test_without_torchrun_there_is_one_process():
    assert world() == (0, 1)
    assert from_rank_0("mine") == "mine"
