"""MS COCO in its official layout: boxes and masks of 80 classes.

T.-Y. Lin et al., "Microsoft COCO: Common Objects in Context", ECCV 2014.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

from grounding.datasets.coco_masks import decoded_mask
from grounding.datasets.files import Files
from grounding.datasets.labelled import LabelledImages
from grounding.datasets.layout import check_pictures, find_base, finder, listed, reader, text, without_ending
from grounding.datasets.marks import Box, Mark, Shape, known, labelled_image, number, whole_size
from grounding.errors import GroundingError

_CROWD: Final = "crowd regions"
_INSTANCES: Final = "instances_"
Record = Mapping[str, Any]


def read_coco(root: Path, split: str = "val2014") -> LabelledImages:
    """Read the pictures of a split.

    Crowd regions do not count: they are neither asked for nor a place to hit. The mask of a class is there only where
    each of its objects that count has a `segmentation`.

    Args:
        root: a folder, a zip or an uncompressed tar with `annotations/instances_<split>.json` and `<split>/`.
        split: such as `val2017`.

    Returns:
        Sizes are those of the JSON, and ids its numbers as text; classes are in the order of their ids.

    Raises:
        GroundingError: another layout; no such split, with those that are there; broken JSON, with its line; a record
            that is there twice or lacks something; a picture's file is missing; or no object counts. A mask that cannot
            be decoded raises when it is asked for.
    """
    files = Files(root)
    find_base(files, ("",), "annotations", "annotations/instances_<split>.json beside a folder <split>")
    name = f"annotations/{_INSTANCES}{split}.json"
    if name not in files:
        there = sorted(map(without_ending, files.below("annotations")))
        splits = [each.removeprefix(_INSTANCES) for each in there if each.startswith(_INSTANCES)]
        raise GroundingError(f"{root} has no {name}: expected a split of {listed(splits)}")
    where = f"{root}: {name}"
    try:
        data = json.loads(text(files, name))
    except json.JSONDecodeError as error:
        raise GroundingError(f"{where}, line {error.lineno}: broken JSON ({error.msg})") from error
    except RecursionError as error:
        raise GroundingError(f"{where}: broken JSON (nested too deep)") from error
    pictures, categories = _by_id(data, "images", where), _by_id(data, "categories", where)
    classes = {id_: str(_value(categories[id_], "name", f"{where}: category {id_}")) for id_ in sorted(categories)}
    places = {each: place for place, each in enumerate(classes.values())}
    if len(places) < len(classes):
        raise GroundingError(f"{where}: two categories have one name: expected each once")
    groups: defaultdict[int, list[Record]] = defaultdict(list)
    for id_, annotation in _by_id(data, "annotations", where).items():
        here = f"{where}: annotation {id_}"
        for key, table in (("image_id", pictures), ("category_id", categories)):
            if not isinstance(_value(annotation, key, here), int) or annotation[key] not in table:
                raise GroundingError(f"{here}: {key} {annotation[key]} is not known: is the file whole?")
        groups[annotation["image_id"]].append(annotation)
    images, left_out = [], Counter[str]()
    paths: dict[str, str] = {}
    for id_, picture in pictures.items():
        here = f"{where}: image {id_}"
        width, height = whole_size(here, _value(picture, "width", here), _value(picture, "height", here))
        left_out[_CROWD] += sum(bool(each.get("iscrowd")) for each in groups[id_])
        marks = [
            Mark(classes[each["category_id"]], _box(each, where), _shape(each, width, height, where))
            for each in groups[id_]
            if not each.get("iscrowd")
        ]
        if found := labelled_image(str(id_), width, height, marks, places, left_out):
            images.append(found)
            paths[str(id_)] = f"{split}/{_value(picture, 'file_name', here)}"
    check_pictures(files, paths, images)
    sources = tuple(dict.fromkeys((files.at(name), files.at(split))))
    return LabelledImages(
        f"COCO {split}", tuple(places), images, reader(files, paths), known(left_out), sources, finder(files, paths)
    )


def _by_id(data: object, key: str, where: str) -> dict[int, Record]:
    """The records of a list by their ids."""
    records = data.get(key) if isinstance(data, dict) else None
    if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
        raise GroundingError(f"{where} has no list '{key}': expected the instances of COCO")
    found: dict[int, Record] = {}
    for place, record in enumerate(records):
        id_ = _value(record, "id", f"{where}: {key}[{place}]")
        if not isinstance(id_, int):
            raise GroundingError(f"{where}: {key}[{place}] has the id {id_!r}: expected a whole number")
        if id_ in found:
            raise GroundingError(f"{where}: {key}[{place}] has the id {id_}, as another has: expected it once")
        found[id_] = record
    return found


def _value(record: Record, key: str, where: str) -> Any:
    if key not in record:
        raise GroundingError(f"{where} has no '{key}': expected the instances of COCO")
    return record[key]


def _box(annotation: Record, where: str) -> Box:
    here = f"{where}: annotation {annotation['id']}"
    edges = _value(annotation, "bbox", here)
    if not isinstance(edges, list) or len(edges) != 4:
        raise GroundingError(f"{here}: bbox is {edges!r}: expected [x, y, width, height]")
    x, y, width, height = (number(here, edge) for edge in edges)
    return x, y, x + width, y + height


def _shape(annotation: Record, width: int, height: int, where: str) -> Shape | None:
    if not (segmentation := annotation.get("segmentation")):
        return None
    return partial(decoded_mask, segmentation, width, height, f"{where}: annotation {annotation['id']}")
