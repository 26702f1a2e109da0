"""Exports that we write ourselves: COCO, Label Studio, CVAT and CSV.

supervision writes COCO as well, but names pictures without their folders, refuses two of one name, and says of all of
them that they are licensed under CC BY 4.0, which nobody said.
"""

import csv
import json
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any
from urllib.parse import quote

from grounding.annotation.exported import Exported, Exports
from grounding.annotation.records import EDGES, Box


def write_coco(exports: Exports, folder: Path) -> None:
    """Write `annotations/instances_default.json`: ids from 1, `bbox` x, y, width, height; open drafts with a score."""
    places = exports.places
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for image_id, each in enumerate(exports.pictures, start=1):
        picture = each.picture
        images.append({"id": image_id, "file_name": picture.name, "width": picture.width, "height": picture.height})
        for box in each.boxes:
            x0, y0, x1, y1 = box.edges
            width, height = round(x1 - x0, 2), round(y1 - y0, 2)
            annotation = {
                "id": len(annotations) + 1,
                "image_id": image_id,
                "category_id": places[box.label] + 1,
                "bbox": [x0, y0, width, height],
                "area": round(width * height, 2),
                "iscrowd": 0,
            }
            annotations.append(annotation | ({"score": box.score} if box.state == "open" else {}))
    categories = [{"id": place + 1, "name": label, "supercategory": ""} for label, place in places.items()]
    _write_json(
        folder / "annotations" / "instances_default.json",
        {"info": {}, "licenses": [], "images": images, "annotations": annotations, "categories": categories},
    )


def write_label_studio(exports: Exports, folder: Path) -> None:
    """Write `tasks.json` and the labeling configuration `config.xml`.

    Pictures that are done have an annotation, others a prediction; all edges are in percent. Pictures are named as
    Label Studio serves them from a local folder, `/data/local-files/?d=PATH`.
    """
    _write_json(folder / "tasks.json", [_task(each) for each in exports.pictures])
    view = ET.Element("View")
    ET.SubElement(view, "Image", name="image", value="$image")
    labels = ET.SubElement(view, "RectangleLabels", name="label", toName="image")
    for label in exports.labels:
        ET.SubElement(labels, "Label", value=label)
    _write_xml(folder / "config.xml", view)


def _task(each: Exported) -> dict[str, Any]:
    picture = each.picture
    result = [_region(each, box) for box in each.boxes]
    data = {"image": f"/data/local-files/?d={quote(picture.name)}", "caption": picture.caption}
    if each.done:
        return {"data": data, "annotations": [{"result": result}]}
    sure = round(1 - picture.uncertainty, 6)
    return {"data": data, "predictions": [{"model_version": "grounding", "score": sure, "result": result}]}


def _region(each: Exported, box: Box) -> dict[str, Any]:
    width, height = each.picture.width, each.picture.height
    x0, y0, x1, y1 = box.edges
    value = {
        "x": 100 * x0 / width,
        "y": 100 * y0 / height,
        "width": 100 * (x1 - x0) / width,
        "height": 100 * (y1 - y0) / height,
        "rotation": 0,
        "rectanglelabels": [box.label],
    }
    region = {
        "id": f"box{box.id}",
        "from_name": "label",
        "to_name": "image",
        "type": "rectanglelabels",
        "original_width": width,
        "original_height": height,
        "image_rotation": 0,
        "value": value,
    }
    return region if each.done or box.score is None else {**region, "score": box.score}


def write_cvat(exports: Exports, folder: Path) -> None:
    """Write `annotations.xml`, CVAT for images 1.1."""
    root = ET.Element("annotations")
    ET.SubElement(root, "version").text = "1.1"
    task = ET.SubElement(ET.SubElement(root, "meta"), "task")
    ET.SubElement(task, "size").text = str(len(exports.pictures))
    labels = ET.SubElement(task, "labels")
    for label in exports.labels:
        one = ET.SubElement(labels, "label")
        ET.SubElement(one, "name").text = label
        ET.SubElement(one, "attributes")
    for number, each in enumerate(exports.pictures):
        picture = each.picture
        size = {"width": str(picture.width), "height": str(picture.height)}
        image = ET.SubElement(root, "image", {"id": str(number), "name": picture.name, **size})
        for box in each.boxes:
            drafted = box.state == "open" or box.untouched
            edges = zip(("xtl", "ytl", "xbr", "ybr"), (f"{edge:.2f}" for edge in box.edges), strict=True)
            source = {"source": "auto" if drafted else "manual", "occluded": "0", "z_order": "0"}
            ET.SubElement(image, "box", {"label": box.label, **source, **dict(edges)})
    _write_xml(folder / "annotations.xml", root)


def write_csv(exports: Exports, folder: Path) -> None:
    """Write `labels.csv`, a line a box, which `grounding.datasets.labelled_folder` reads beside the pictures."""
    with (folder / "labels.csv").open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(("image", "class", *EDGES, "width", "height", "score", "origin", "state"))
        for each in exports.pictures:
            size = each.picture.width, each.picture.height
            for box in each.boxes:
                score = "" if box.score is None else box.score
                rows.writerow((each.picture.name, box.label, *box.edges, *size, score, box.origin, box.state))


def _write_json(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def _write_xml(path: Path, root: ET.Element) -> None:
    ET.indent(root)
    ET.ElementTree(root).write(path, encoding="utf-8", xml_declaration=True)
