"""Where people click or look in the pictures of a training, from files of any kind that is known."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from grounding.datasets.box_maps import open_boxes
from grounding.datasets.clickme_hdf5 import open_hdf5
from grounding.datasets.clickme_tables import is_clickme, open_clickme
from grounding.datasets.gaze_maps import open_gaze
from grounding.datasets.map_cells import NO_SPREAD, Cells, Spread, to_cells
from grounding.datasets.map_folder import open_folder
from grounding.datasets.map_names import match
from grounding.datasets.map_sources import RAW_CLICKME, MapSource
from grounding.datasets.marks import known
from grounding.datasets.places import kind_of
from grounding.errors import GroundingError

_OTHERS: Final = "maps of other pictures"
_ZERO: Final = "maps that are 0 everywhere"
_EXPECTED: Final = (
    "expected a folder of <id>.png or <id>.npy, gaze or clicks of ClickMe 2.0 (.csv, .csv.gz), ClickMe 2.0 processed "
    "(.h5, .hdf5), or boxes (.jsonl)"
)
_RECORDS: Final = ("tfrecords", "tfrecord", "pth")


@dataclass(frozen=True, slots=True, eq=False)
class HumanMaps:
    """Maps of people.

    Attributes:
        maps: by the picture's id, (64, 64) float32 over the whole picture, at least 0, with sum 1. Pictures without a
            map have no entry.
        left_out: what is not in `maps`, and why -> how many.
    """

    maps: Mapping[str, Cells]
    left_out: Mapping[str, int] = field(default_factory=dict)


def read_human_maps(
    source: Path, ids: Sequence[str], size_of: Callable[[str], tuple[int, int]], spread: Spread
) -> HumanMaps:
    """Read the maps of some pictures.

    Args:
        source: told from its ending and content:

            - a folder of `<id>.png` or `<id>.npy` at any depth, (h, w) counts or weights over the whole picture
              (`map_folder`);
            - gaze, CSV or CSV.gz, as `gaze.read_gaze` reads it (`gaze_maps`);
            - the clicks of ClickMe 2.0, CSV or CSV.gz with a line of column names (`clickme_tables`);
            - ClickMe 2.0 as processed by its lab, HDF5 (`clickme_hdf5`; finished, so not spread);
            - boxes that stand in for maps, JSON Lines (`box_maps`; not spread).
        ids: of the pictures. A map belongs to the picture that `map_names.match` says.
        size_of: gives a picture's width and height in px; is asked for those that have a map.
        spread: of clicks and fixations, and of the maps of a folder: `none` where these are finished.

    Raises:
        GroundingError: the source is missing, damaged, of another kind or of other pictures; a map is damaged, or not
            of the shape of its picture; or all maps are 0 everywhere.
    """
    maps = _open(source)
    picture_of = match(source, maps.names, ids)
    left_out = Counter(maps.left_out)
    left_out[_OTHERS] += len(maps.names) - len(picture_of)
    used = NO_SPREAD if maps.finished else spread
    found: dict[str, Cells] = {}
    for name, id_ in picture_of.items():
        width, height = size_of(id_)
        cells = to_cells(maps.read(name, width, height), used, width, height)
        if cells is None:
            left_out[_ZERO] += 1
        else:
            found[id_] = cells
    if not found:
        raise GroundingError(
            f"{source}: all {len(picture_of)} maps are 0 everywhere: expected clicks, fixations or weights in one"
        )
    return HumanMaps(found, known(left_out))


def _open(source: Path) -> MapSource:
    if source.is_dir():
        return open_folder(source)
    if not source.is_file():
        raise GroundingError(f"{source} does not exist: {_EXPECTED}")
    ending = kind_of(source)
    if ending == ".csv":
        return open_clickme(source) if is_clickme(source) else open_gaze(source)
    if ending in (".h5", ".hdf5"):
        return open_hdf5(source)
    if ending == ".jsonl":
        return open_boxes(source)
    if ending == ".npz":
        raise GroundingError(f"{source}: {RAW_CLICKME}")
    if any(part in _RECORDS for part in source.name.lower().split(".")[1:]):
        raise GroundingError(
            f"{source} holds pictures as well as maps: unpack it with python -m grounding.train human-maps {source} "
            "--output FOLDER, and give FOLDER/maps"
        )
    raise GroundingError(f"{source} is of a kind that is not known: {_EXPECTED}")
