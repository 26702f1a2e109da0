"""Human maps from people's gaze, as `datasets.gaze` reads it."""

from pathlib import Path

import numpy as np

from grounding.boxes import Values
from grounding.datasets.gaze import annotated_sizes, read_gaze
from grounding.datasets.labelled import LabelledImage
from grounding.datasets.map_sources import MapSource, check_ratio
from grounding.errors import GroundingError


def open_gaze(path: Path) -> MapSource:
    """Read the fixations of a file; a map has those of all viewers of a picture, by their duration.

    Each viewer has the same weight, however long or often they looked.

    Raises:
        GroundingError: as `read_gaze`, or no row can be read.
    """
    sizes = annotated_sizes(path)
    if not sizes:
        raise GroundingError(f"{path} has no row of gaze: expected run,image_id,width,height and x,y,duration_ms ...")
    gaze = read_gaze(path, [LabelledImage(name, 1, 1, ()) for name in sizes])  # fixations as shares of the sides

    def read(name: str, width: int, height: int) -> Values:
        for size in sizes[name]:
            check_ratio(f"{path}: picture {name}", *size, width, height)
        return _map(gaze.fixations[name], width, height)

    return MapSource(list(gaze.fixations), read, left_out=gaze.left_out)


def _map(viewers: tuple[Values, ...], width: int, height: int) -> Values:
    """(height, width): the sum over viewers of the share of their time that they looked at each pixel."""
    map_ = np.zeros((height, width))
    for viewer in viewers:
        x, y, duration = viewer.T
        total = duration.sum()
        if total > 0:
            np.add.at(map_, ((y * height).astype(np.int64), (x * width).astype(np.int64)), duration / total)
    return map_
