"""Exports that supervision writes: PASCAL VOC and YOLO.

It knows pictures by their name without a folder, and opens each to learn its size. So it gets the pictures of one
folder at a time, with sizes that we know, and writes into a folder of the same name.
"""

import xml.etree.ElementTree as ET
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from grounding.annotation.exported import Exported, Exports
from grounding.errors import GroundingError

if TYPE_CHECKING:
    from supervision import DetectionDataset


def write_voc(exports: Exports, folder: Path) -> None:
    """Write `Annotations/PATH.xml` for each picture, in whole px, and the list `ImageSets/Main/default.txt`.

    Raises:
        GroundingError: two pictures differ only in their endings.
    """
    stems = _stems(exports.pictures)
    for parent, group in _by_folder(exports.pictures):
        place = folder / "Annotations" / parent
        _dataset(exports, group).as_pascal_voc(annotations_directory_path=str(place))
        for path in place.glob("*.xml"):
            tree = ET.parse(path)
            tree.find("folder").text = parent.as_posix().removeprefix(".")  # type: ignore[union-attr]
            tree.find("source/database").text = "unknown"  # type: ignore[union-attr]  # it says roboflow.ai
            tree.write(path, encoding="utf-8")
    listed = folder / "ImageSets" / "Main" / "default.txt"
    listed.parent.mkdir(parents=True)
    (folder / "Annotations").mkdir(exist_ok=True)
    listed.write_text("".join(f"{stem}\n" for stem in stems), encoding="utf-8")


def write_yolo(exports: Exports, folder: Path) -> None:
    """Write `labels/PATH.txt` for each picture and `data.yaml`, for pictures in a folder `images` beside `labels`.

    Raises:
        GroundingError: as `write_voc`.
    """
    _stems(exports.pictures)
    (folder / "labels").mkdir()
    for parent, group in _by_folder(exports.pictures):
        _dataset(exports, group).as_yolo(annotations_directory_path=str(folder / "labels" / parent))
    names = dict(enumerate(exports.labels))
    text = yaml.safe_dump({"train": "images", "val": "images", "names": names}, allow_unicode=True, sort_keys=False)
    (folder / "data.yaml").write_text(text, encoding="utf-8")


def _stems(pictures: Iterable[Exported]) -> list[str]:
    """The paths of the pictures without their endings."""
    names: dict[str, str] = {}
    for each in pictures:
        name = each.picture.name
        stem = PurePosixPath(name).with_suffix("").as_posix()
        if stem in names:
            raise GroundingError(
                f"{names[stem]} and {name} would be one file in this format, which leaves the endings out: rename one"
            )
        names[stem] = name
    return list(names)


def _by_folder(pictures: Iterable[Exported]) -> Iterator[tuple[PurePosixPath, list[Exported]]]:
    groups: dict[PurePosixPath, list[Exported]] = {}
    for each in pictures:
        groups.setdefault(PurePosixPath(each.picture.name).parent, []).append(each)
    yield from groups.items()


def _dataset(exports: Exports, group: list[Exported]) -> "DetectionDataset":
    """Pictures of one folder, which are not opened."""
    from supervision import DetectionDataset, Detections

    class Sized(DetectionDataset):  # type: ignore[misc, unused-ignore]
        def __getitem__(self, place: int) -> tuple[str, Any, Any]:
            name, picture = self.image_paths[place], group[place].picture
            return name, np.broadcast_to(np.uint8(0), (picture.height, picture.width, 3)), self.annotations[name]

    places, found = exports.places, {}
    for each in group:
        edges = np.array([box.edges for box in each.boxes], np.float64).reshape(-1, 4)
        found[PurePosixPath(each.picture.name).name] = Detections(
            xyxy=edges, class_id=np.array([places[box.label] for box in each.boxes], int)
        )
    return Sized(list(exports.labels), list(found), found)
