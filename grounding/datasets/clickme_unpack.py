"""Pictures of ClickMe with their maps, out of TFRecord shards and `.pth` files, as files that a training reads."""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from grounding.datasets.clickme_records import ClickMeRecord, from_example, from_pth
from grounding.datasets.map_sources import RAW_CLICKME
from grounding.datasets.marks import known
from grounding.datasets.sources import expand
from grounding.datasets.tfrecords import read_records
from grounding.errors import GroundingError
from grounding.folders import whole_folder

MAPS: Final = "maps"
TABLE: Final = "table.jsonl"
_PICTURES: Final = "pictures"
_NO_CLICK: Final = "pictures without a click"
_DAMAGED: Final = "maps with NaN, infinite values or values below 0"


def unpack(
    shards: Sequence[str | Path], output: Path, advance: Callable[[int], object] = lambda size: None
) -> tuple[int, dict[str, int]]:
    """Write a folder with `pictures/<name>.jpg` or `.png`, `maps/<name>.npy` and `table.jsonl`, whole or not at all.

    The name is that of the shard without its ending, `-` and the number of the record, from 1; of a `.pth` file its
    own. A map is (h, w), uint8 or float32 as it was given. A line of the table is `{"image": "pictures/<name>.jpg",
    "labels": ["<number of the class>"], "id": "<name>"}`. Bytes of JPEG files are written as they are.

    Args:
        shards: files, with `~`, braces and globs; `.pth` files, and TFRecord of any other ending.
        output: a new or empty folder.
        advance: is told how many bytes more were read.

    Returns:
        How many pictures, and which of them have no map, and why -> how many.

    Raises:
        GroundingError: the folder has content, or a shard is missing, damaged (its record is named) or of another kind;
            two shards have the same name.
    """
    paths = [path for shard in shards for path in expand(shard)]
    _check(paths)
    count, without = 0, Counter[str]()
    with whole_folder(output, overwrite=False, ours=()) as folder:
        for name in (_PICTURES, MAPS):
            (folder / name).mkdir()
        with (folder / TABLE).open("w", encoding="utf-8") as table:
            for path in paths:
                for name, size, record in _records(path):
                    image = f"{_PICTURES}/{name}{record.ending}"
                    (folder / image).write_bytes(record.picture)
                    row = {"image": image, "labels": [str(record.label)], "id": name}
                    table.write(json.dumps(row, ensure_ascii=False) + "\n")
                    reason = _reason(record.map)
                    if reason or record.map is None:
                        without[reason] += 1
                    else:
                        np.save(folder / MAPS / f"{name}.npy", record.map, allow_pickle=False)
                    count += 1
                    advance(size)
    return count, known(without)


def total_bytes(shards: Sequence[str | Path]) -> int:
    """How many bytes `unpack` will read; those of files that are missing are none."""
    return sum(path.stat().st_size for shard in shards for path in expand(shard) if path.is_file())


def _check(paths: Sequence[Path]) -> None:
    stems: dict[str, Path] = {}
    for path in paths:
        if not path.is_file():
            raise GroundingError(f"{path} is no file: expected TFRecord shards or .pth files of ClickMe")
        if path.suffix.lower() == ".npz":
            raise GroundingError(f"{path}: {RAW_CLICKME}")
        other = stems.setdefault(_stem(path), path)
        if other is not path:
            raise GroundingError(
                f"{other} and {path} would give pictures of one name: expected shards of different names; unpack them "
                "into a folder each"
            )


def _stem(path: Path) -> str:
    return path.name.removesuffix(path.suffix)


def _records(path: Path) -> Iterator[tuple[str, int, ClickMeRecord]]:
    """Name, size in bytes and content of each picture of a file."""
    if path.suffix.lower() == ".pth":
        yield _stem(path), path.stat().st_size, from_pth(path)
        return
    for record in read_records(path):
        yield f"{_stem(path)}-{record.number:06d}", len(record.content) + 16, from_example(record)


def _reason(map_: npt.NDArray[Any] | None) -> str:
    """Why there is no map to write; empty where there is one."""
    if map_ is None:
        return _NO_CLICK
    if not np.isfinite(map_).all() or map_.min() < 0:
        return _DAMAGED
    return "" if map_.any() else _NO_CLICK
