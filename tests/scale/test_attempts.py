"""Tries at a partition: when rows are announced, when one is set aside, and when the run gives up."""

import json

import pytest

from grounding.scale.attempts import FOLDER, MOST, begin
from grounding.scale.storage import Storage
from helpers.captioned import refused


@pytest.fixture
def storage(tmp_path):
    return Storage(str(tmp_path))


def die_at(storage, row):
    """A try that is killed while it does a row."""
    attempt = begin(storage, 4)
    for each in range(row + 1):
        if attempt.careful:
            attempt.announce(each)
    return attempt


def test_a_row_is_set_aside_after_two_careful_tries_died_at_it(storage):
    careful = [die_at(storage, 2).careful for _ in range(4)]
    assert careful == [False, False, True, True]
    attempt = begin(storage, 4)
    assert [bool(attempt.announce(row)) for row in range(5)] == [False, False, True, False, False]
    assert "2 workers died at this row" in attempt.announce(2)


def test_deaths_at_other_rows_set_nothing_aside(storage):
    for row in (0, 0, 1, 2, 3):  # the first two are not careful
        die_at(storage, row)
    attempt = begin(storage, 4)
    assert not any(attempt.announce(row) for row in range(5))


def test_a_try_that_ends_in_order_leaves_nothing(storage):
    begin(storage, 4).end()
    assert storage.names(FOLDER) == []
    assert begin(storage, 4).number == 1


def test_two_rows_that_kill_are_both_set_aside(storage):
    for row in (1, 1, 1, 1, 3, 3):
        die_at(storage, row)
    attempt = begin(storage, 4)
    assert [row for row in range(5) if attempt.announce(row)] == [1, 3]


def test_after_many_deaths_the_run_gives_up_and_the_next_one_begins_anew(storage):
    for _ in range(MOST):
        begin(storage, 4)
    assert f"{MOST} workers died at partition 4" in refused(begin, storage, 4)
    assert begin(storage, 4).number == 1


@pytest.mark.parametrize("content", [b"", b"no json", b"[]"])
def test_a_note_that_cannot_be_read_is_none(storage, content):
    storage.write(f"{FOLDER}/part-000004.json", content)
    assert begin(storage, 4).number == 1
    assert json.loads(storage.read(f"{FOLDER}/part-000004.json")) == {"attempt": 1, "row": None, "deaths": []}
