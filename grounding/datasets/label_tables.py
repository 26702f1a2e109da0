"""The classes in the pictures of a data set as the JSON Lines table that a training on labels reads."""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from grounding.errors import GroundingError
from grounding.folders import whole_file

if TYPE_CHECKING:
    from grounding.datasets.labelled import LabelledImages

LABEL_FORMATS: Final = ("folders", "voc", "coco", "cub")


def read_labels(kind: str, root: Path, split: str | None) -> "LabelledImages":
    """Read a split of a data set that is in `LABEL_FORMATS`; `folders`, one for each class, have no splits.

    Raises:
        GroundingError: a split of folders, or none of another kind; and as the reader of that kind.
    """
    from grounding.datasets.class_folders import read_class_folders
    from grounding.datasets.coco import read_coco
    from grounding.datasets.cub import read_cub
    from grounding.datasets.voc import read_voc

    if kind == "folders":
        if split is not None:
            raise GroundingError(f"folders have no split '{split}': leave out --split")
        return read_class_folders(root)
    if split is None:
        raise GroundingError(f"{kind} needs --split, such as trainval (voc), train2014 (coco) or train (cub)")
    return {"voc": read_voc, "coco": read_coco, "cub": read_cub}[kind](root, split)


def write_labels(pictures: "LabelledImages", output: Path) -> int:
    """Write a line for each picture; returns how many.

    A line is `{"image": path relative to the table, "labels": [classes in it], "id": its id in the data set}`. Boxes
    and masks are not written, and the files are not read. Pictures without an object that counts are not in `pictures`,
    so they are no examples of what is in none of the classes.

    Raises:
        GroundingError: the pictures lie in an archive, there is none, or the table cannot be written.
    """
    if not pictures.images:
        raise GroundingError(
            f"{pictures.name} has no picture with an object that counts: nothing can be learnt from it"
        )
    folder = output.resolve().parent
    with whole_file(output) as file:
        for picture in pictures.images:
            path = pictures.file(picture.id)
            if path is None:
                raise GroundingError(
                    f"the pictures of {pictures.name} lie in an archive, where a table cannot name them: unpack it and "
                    "give its folder"
                )
            image = Path(os.path.relpath(path.resolve(), folder)).as_posix()
            row = {"image": image, "labels": [region.name for region in picture.regions], "id": picture.id}
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
    return len(pictures.images)
