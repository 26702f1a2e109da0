"""The maps that a game gives, in the formats that a training reads (`human_maps.source`)."""

import csv
import json
import os
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image

from grounding.datasets.clickme_tables import MAX_CLICKS, MIN_CLICKS
from grounding.folders import whole_file, whole_folder
from grounding.game.catch import trials_of
from grounding.game.pictures import Picture
from grounding.game.rounds import Round

CLICKS: Final = "clicks.csv"
MAPS: Final = "maps"
TABLE: Final = "table.jsonl"


def counted_rounds(rounds: Sequence[Round]) -> list[Round]:
    """The rounds whose bubbles are maps: no catch trials, none skipped or blank, none of a flagged player."""
    flagged = {player for player, trials in trials_of(rounds).items() if trials.flagged}
    kept = (each for each in rounds if each.catch is None and each.outcome != "skipped" and each.bubbles)
    return [each for each in kept if each.player not in flagged]


def write_clicks(rounds: Sequence[Round], folder: Path) -> int:
    """Write `clicks.csv`, whole or not at all: a row a round, in the format of ClickMe 2.0.

    Its columns are `image_path`, `clicks` as `[(x, y), ...]` in px of the picture, and `user_id`.

    Returns:
        How many rows.

    Raises:
        GroundingError: it cannot be written.
    """
    counted = counted_rounds(rounds)
    with whole_file(folder / CLICKS) as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["image_path", "clicks", "user_id"])
        for each in counted:
            clicks = ", ".join(f"({bubble.x:g}, {bubble.y:g})" for bubble in each.bubbles)
            table.writerow([each.picture, f"[{clicks}]", each.player])
    return len(counted)


def by_picture(rounds: Sequence[Round]) -> dict[str, list[Round]]:
    """The rounds that the published processing uses, by picture: of more than 10 clicks, a player's first."""
    found = defaultdict[str, dict[str, Round]](dict)
    for each in counted_rounds(rounds):
        found[each.picture].setdefault(each.player, each)
    several = {name: [each for each in its.values() if len(each.bubbles) > MIN_CLICKS] for name, its in found.items()}
    return {name: its for name, its in several.items() if its}


def write_maps(rounds: Sequence[Round], folder: Path) -> int:
    """Write `maps/<picture without its ending>.png`, all or none: how many players clicked each pixel.

    They are grey, of 8 or 16 bits, and as large as their pictures.

    Returns:
        How many maps; without any, the folder is left as it was.

    Raises:
        GroundingError: they cannot be written.
    """
    pictures = by_picture(rounds)
    if not pictures:
        return 0
    with whole_folder(folder / MAPS, overwrite=True, ours=("*",)) as partial:
        for name, players in pictures.items():
            path = (partial / name).with_suffix(".png")
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(click_counts(players)).save(path)
    return len(pictures)


def click_counts(players: Sequence[Round]) -> "np.ndarray[tuple[int, int], np.dtype[np.uint8 | np.uint16]]":
    """(height, width): how many players clicked each pixel of a picture; of each the first 75 clicks count."""
    first = players[0]
    counts = np.zeros((first.height, first.width), np.uint8 if len(players) < 256 else np.uint16)
    for each in players:
        points = np.array([bubble[:2] for bubble in each.bubbles[:MAX_CLICKS]])
        x, y = np.minimum(points, (first.width - 1, first.height - 1)).astype(np.int64).T
        clicked = np.zeros_like(counts)
        clicked[y, x] = 1
        counts += clicked
    return counts


def write_table(pictures: Iterable[Picture], folder: Path) -> None:
    """Write `table.jsonl` of the pictures and their categories, as a training on labels reads it.

    Raises:
        GroundingError: it cannot be written.
    """
    place = folder.resolve()
    with whole_file(folder / TABLE) as file:
        for each in pictures:
            image = Path(os.path.relpath(each.path.resolve(), place)).as_posix()
            row: Mapping[str, object] = {"image": image, "labels": [each.category], "id": each.name}
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
