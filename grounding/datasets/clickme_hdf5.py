"""Human maps from the processed HDF5 files of ClickMe 2.0.

Its group `/clickmaps` has a group for each picture, named by its path with `_` for `/`, with an attribute
`original_path` and the data set `clickmap`: (h, w), or (P, h, w) for P maps of participants or their mean, already
blurred. (`bin_clickmaps` beside it are not binary: they are the maps of the first clicks only, in growing bins.)
`/click_counts/<name>` says how many clicks or maps there are.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np

from grounding.boxes import Values
from grounding.datasets.map_sources import MapSource, check_map
from grounding.errors import GroundingError

_MOST_VALUES: Final = 100_000_000  # of a data set, which may say that it is larger than its file
_NONE: Final = "maps without a click"


def open_hdf5(path: Path) -> MapSource:
    """Find the maps of a file. They are finished: the lab has blurred them.

    Raises:
        GroundingError: h5py is not installed, or the file is no HDF5 or of another layout.
    """
    groups: dict[str, str] = {}  # by the picture's path
    without = 0
    with _opened(path) as file:
        counts = file.get("click_counts", {})
        for name, group in file["clickmaps"].items():
            if name in counts and not np.any(counts[name][()]):
                without += 1
            else:
                given = group.attrs.get("original_path", name)
                groups[given.decode() if isinstance(given, bytes) else str(given)] = name

    def read(name: str, width: int, height: int) -> Values:
        where = f"{path}: /clickmaps/{groups[name]}/clickmap"
        with _opened(path) as file:
            found = file["clickmaps"][groups[name]]["clickmap"]
            if found.size is None or found.size > _MOST_VALUES or found.is_virtual or found.external:
                raise OSError("its clickmap is far too large, or lies in another file")
            values = np.asarray(found[()])
        if values.ndim == 3 and len(values) and values.dtype.kind in "buif":
            values = values.mean(0, dtype=np.float64)
        return check_map(where, values, width, height)

    return MapSource(list(groups), read, finished=True, left_out={_NONE: without} if without else {})


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        import h5py
    except ImportError as error:
        raise GroundingError(
            f"{path} needs h5py: install it with pip install 'grounding[human-maps]', or take the CSV of the clicks"
        ) from error
    try:
        with h5py.File(path, "r") as file:
            yield file
    except GroundingError:
        raise
    except (OSError, KeyError, AttributeError, TypeError, ValueError, RuntimeError) as error:
        raise GroundingError(
            f"{path} cannot be read ({' '.join(str(error).split())}): expected HDF5 with /clickmaps/<picture>/clickmap"
        ) from error
