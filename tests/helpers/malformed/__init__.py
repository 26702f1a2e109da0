"""Inputs that are broken in every way we know of, each for the reader that would meet it, and a judge of what it does.

`all_cases` makes them in a folder; `python scripts/malformed.py` and `test_malformed.py` judge them one by one.
"""

import importlib
import random
from collections.abc import Iterator
from pathlib import Path

from helpers.malformed.judge import Case

KINDS = ("pictures", "annotations", "tables", "settings", "weights", "archives", "maps", "predictions")


def cases_of(kind: str, folder: Path, chance: random.Random) -> Iterator[Case]:
    """The cases of one kind, the same for equal random numbers; files are written below a folder that exists."""
    module = importlib.import_module(f"helpers.malformed.{kind}")
    yield from module.cases(folder, chance)


def all_cases(folder: Path, seed: int) -> Iterator[Case]:
    """Every case, the same for a seed."""
    for kind in KINDS:
        (folder / kind).mkdir()
        yield from cases_of(kind, folder / kind, random.Random(f"{seed} {kind}"))
