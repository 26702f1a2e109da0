"""Human maps as a folder of files, one a picture: `<id>.png` or `<id>.npy`."""

from pathlib import Path
from tokenize import TokenError
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from grounding.boxes import Values
from grounding.datasets.map_sources import MapSource, check_map
from grounding.errors import GroundingError
from grounding.images import open_picture

_ENDINGS: Final = (".png", ".npy")
_GREY: Final = ("1", "L", "I")  # and I;16


def open_folder(folder: Path) -> MapSource:
    """Find the maps of a folder, at any depth.

    A PNG is grey, of 1, 8 or 16 bits; a `.npy` is an array (h, w) of numbers, and nothing is unpickled.

    Raises:
        GroundingError: there is no such file.
    """
    names = [
        path.relative_to(folder).as_posix()
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() in _ENDINGS and not path.name.startswith(".")
    ]
    if not names:
        raise GroundingError(f"{folder} holds no map: expected <id>.png or <id>.npy, of clicks or weights")

    def read(name: str, width: int, height: int) -> Values:
        path = folder / name
        values = _array(path) if path.suffix.lower() == ".npy" else _grey(path)
        return check_map(str(path), values, width, height)

    return MapSource(names, read)


def _array(path: Path) -> npt.NDArray[Any]:
    try:
        values = np.load(path, mmap_mode="r", allow_pickle=False)  # of a file that is as large as its header says
        if not isinstance(values, np.ndarray):
            raise ValueError("it holds several arrays")
    except (OSError, ValueError, EOFError, SyntaxError, TokenError, OverflowError) as error:
        raise GroundingError(
            f"{path} cannot be read ({' '.join(str(error).split())}): expected an array as np.save writes it, of "
            "numbers and not of objects, which would have to be unpickled"
        ) from error
    return np.asarray(values)


def _grey(path: Path) -> npt.NDArray[Any]:
    try:
        with open_picture(path) as image:
            mode, values = image.mode, np.asarray(image)
    except Exception as error:  # over damaged files Pillow raises nearly anything
        raise GroundingError(f"{path} cannot be read ({' '.join(str(error).split())}): expected a grey PNG") from error
    if mode.partition(";")[0] not in _GREY:
        raise GroundingError(f"{path} is a picture of mode {mode}: expected a grey PNG, whose values are clicks")
    return values
