"""Inputs that are broken in every way we know of, each for the reader that would meet it, and a judge of what it does.

`all_cases` makes them in a folder; `python scripts/malformed.py` judges them one by one, and so does `test_malformed.py`.
"""

import random
from collections.abc import Iterator
from pathlib import Path

from helpers.malformed.judge import Case


def all_cases(folder: Path, seed: int) -> Iterator[Case]:
    """Every case, the same for a seed; its files are written just before it is given, below a folder that exists."""
    from helpers.malformed import annotations, archives, maps, pictures, predictions, settings, tables, weights

    for module in (pictures, annotations, tables, settings, weights, archives, maps, predictions):
        kind = module.__name__.rpartition(".")[2]
        (folder / kind).mkdir()
        yield from module.cases(folder / kind, random.Random(f"{seed} {kind}"))
