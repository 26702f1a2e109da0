"""What the readers of labelled pictures take from picture files: the size, and masks."""

import io
from typing import Final

import numpy as np
from PIL import Image

from grounding.datasets.files import Files
from grounding.datasets.labelled import Mask
from grounding.errors import GroundingError
from grounding.images import open_picture

ENDINGS: Final = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
ENDINGS_WITH_GIF: Final = tuple(sorted((*ENDINGS, ".gif")))
_ORIENTATION = 0x0112  # the EXIF tag; from 5 on the picture lies on its side


def upright_size(files: Files, name: str) -> tuple[int, int]:
    """Width and height in px of a picture as it is shown; of its file only the header is read.

    Raises:
        GroundingError: it is missing, or no picture.
    """
    try:
        with files.open(name) as file, open_picture(file) as image:
            return upright_sides(image)
    except GroundingError:
        raise
    except Exception as error:  # over damaged files Pillow raises nearly anything
        raise _no_picture(files, name, error) from error


def upright_sides(image: Image.Image) -> tuple[int, int]:
    """Width and height in px of a picture as it is shown."""
    width, height = image.size
    return (height, width) if image.getexif().get(_ORIENTATION, 1) >= 5 else (width, height)


def read_mask(files: Files, name: str, width: int, height: int, at_least: int = 1) -> Mask:
    """The (height, width) mask that a picture file shows.

    Args:
        at_least: the value, of 255, from which on in any of its colours a pixel belongs to the object; of a palette,
            its entries count.

    Raises:
        GroundingError: it is missing, no picture, or of another size.
    """
    try:
        with open_picture(io.BytesIO(files.read(name))) as file:
            image = file.convert("L") if file.mode == "1" else file
            colours = len(image.getbands()) - image.getbands().count("A")
            values = np.atleast_3d(np.asarray(image))[:, :, :colours]
    except GroundingError:
        raise
    except Exception as error:
        raise _no_picture(files, name, error) from error
    if values.shape[:2] != (height, width):
        raise GroundingError(
            f"{files.path}: the mask {name} has {values.shape[1]} x {values.shape[0]} px: expected the {width} x "
            f"{height} px of its picture"
        )
    return np.asarray((values >= at_least).any(2), np.bool_)


def _no_picture(files: Files, name: str, error: Exception) -> GroundingError:
    reason = " ".join(str(error).split())
    return GroundingError(f"{files.path}: {name} cannot be read ({reason}): expected a whole picture file")
