"""Readers given whatever hypothesis thinks of; `python scripts/malformed.py --examples N` thinks longer."""

import pytest

from helpers.malformed.harness import hunt, only_grounding_errors, readers

READERS = ("captions", "csv", "jsonl", "json", "yaml", "xml", "safetensors header", "picture")


@pytest.mark.parametrize("name", READERS)
def test_only_grounding_errors_come_out(name):
    hunt(name, 25)


def test_the_harness_knows_every_reader():
    assert tuple(readers()) == READERS


@pytest.mark.parametrize("error", [ValueError("no"), RecursionError(), KeyError("x")])
def test_the_harness_can_fail(error):
    def read(given: object) -> None:
        raise error

    with pytest.raises(type(error)):
        only_grounding_errors(read, b"")
