"""Pictures sorted into a folder for each class: what is in a picture is the name of its folder."""

from pathlib import Path
from typing import Final

import numpy as np

from grounding.datasets.labelled import ClassRegion, LabelledImage, LabelledImages
from grounding.datasets.pictures import ENDINGS_WITH_GIF
from grounding.errors import GroundingError

_NOWHERE: Final = np.zeros((0, 4), np.float32)


def read_class_folders(root: Path) -> LabelledImages:
    """Read `root/class/picture.jpg`; below the folder of a class, pictures may lie in further ones.

    Returns:
        Each picture with its one class and without boxes; no file is opened, so widths and heights are 0. Hidden files
        and folders are passed over. An id is the path below `root`.

    Raises:
        GroundingError: `root` is no folder, or has no picture in a folder of its own.
    """
    if not root.is_dir():
        raise GroundingError(f"{root} is no folder: expected one with a folder of pictures for each class")
    found = [path.relative_to(root) for path in sorted(root.rglob("*")) if path.suffix.lower() in ENDINGS_WITH_GIF]
    found = [path for path in found if len(path.parts) > 1 and not any(part.startswith(".") for part in path.parts)]
    if not found:
        endings = " ".join(ENDINGS_WITH_GIF)
        raise GroundingError(
            f"{root} has no picture in a folder of its own: expected class/picture with one of {endings}"
        )
    images = [LabelledImage(path.as_posix(), 0, 0, (ClassRegion(path.parts[0], _NOWHERE),)) for path in found]
    return LabelledImages(
        f"folders in {root}",
        tuple(dict.fromkeys(path.parts[0] for path in found)),
        images,
        lambda name: (root / name).read_bytes(),
        sources=(root,),
        file=lambda name: root / name,
    )
