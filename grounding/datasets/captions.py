"""The captions of a data set as the JSON Lines table that a training reads."""

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from grounding.datasets.columns import TableOptions
from grounding.datasets.places import Spool
from grounding.datasets.tables import read_table
from grounding.errors import GroundingError
from grounding.folders import whole_file

CAPTION_FORMATS: Final = {"flickr30k": ".token", "coco": ".json"}


def write_table(captions: Path, kind: str, photographs: Path, output: Path, without: Iterable[Path] = ()) -> int:
    """Write a line `{"image": path relative to the table, "caption": [its captions]}` a photograph; returns how many.

    Args:
        captions: a file of a kind that is in `CAPTION_FORMATS`.
        photographs: the folder of the files, which are not read.
        without: text files with one name a line, with or without `.jpg`, of photographs to leave out.

    Raises:
        GroundingError: as `read_table`; for the first row that cannot be used; or nothing is left.
    """
    left_out = {name.removesuffix(".jpg") for path in without for name in _text(path).split()}
    groups: dict[str, list[str]] = {}
    for row in read_table(captions, TableOptions(phrases_column=""), Spool(), CAPTION_FORMATS[kind]):
        if row.fault:
            raise GroundingError(f"{captions}, line {row.number}: {row.error}")
        if Path(row.image).stem not in left_out:
            groups.setdefault(row.image, []).extend(map(str.strip, row.captions))
    if not groups:
        raise GroundingError(f"{captions} holds no captions of photographs to keep: expected a {kind} file")
    folder = os.path.relpath(photographs.resolve(), output.resolve().parent)
    with whole_file(output) as file:
        for image, group in groups.items():
            file.write(json.dumps({"image": f"{folder}/{image}", "caption": group}, ensure_ascii=False) + "\n")
    return len(groups)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise GroundingError(f"{path} is no UTF-8 text ({error.reason} at byte {error.start})") from error
