"""The classes in the pictures of a data set as the JSON Lines table that a training on labels reads."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from grounding.errors import GroundingError
from grounding.folders import whole_file

if TYPE_CHECKING:
    from grounding.datasets.labelled import LabelledImages


def write_labels(pictures: "LabelledImages", file_of: Callable[[str], Path], output: Path) -> int:
    """Write a line `{"image": path relative to the table, "labels": [classes in it]}` a picture; returns how many.

    Boxes and masks are not written, and the files are not read.

    Args:
        file_of: the file of a picture by its id.

    Raises:
        GroundingError: there is no picture, or the table cannot be written.
    """
    if not pictures.images:
        raise GroundingError(
            f"{pictures.name} has no picture with an object that counts: nothing can be learnt from it"
        )
    folder = output.resolve().parent
    with whole_file(output) as file:
        for picture in pictures.images:
            path = Path(os.path.relpath(file_of(picture.id).resolve(), folder)).as_posix()
            row = {"image": path, "labels": [region.name for region in picture.regions]}
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
    return len(pictures.images)
