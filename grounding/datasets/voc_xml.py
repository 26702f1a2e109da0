"""One XML file of boxes as PASCAL VOC invented it and ImageNet took it over."""

import xml.etree.ElementTree as ET
from typing import NamedTuple

from grounding.datasets.files import Files
from grounding.datasets.marks import number, whole_size
from grounding.datasets.xml_files import parse_xml
from grounding.errors import GroundingError


class XmlObject(NamedTuple):
    """An object as it is written.

    Attributes:
        corners: xmin, ymin, xmax, ymax.
        difficult: whether it is flagged so.
    """

    name: str
    corners: tuple[float, float, float, float]
    difficult: bool


def read_xml(files: Files, name: str) -> tuple[int, int, list[XmlObject]]:
    """Width and height in px, and the objects in the order of the file.

    Raises:
        GroundingError: the file is missing, or broken, named with its line; or lacks a size, a name or a corner.
    """
    where, content = f"{files.path}: {name}", files.read(name)
    root = parse_xml(where, content)
    size = f"{where}: size"
    width, height = whole_size(size, _text(size, root, "size/width"), _text(size, root, "size/height"))
    return width, height, [_object(f"{where}: object {n}", thing) for n, thing in enumerate(root.iterfind("object"), 1)]


def _object(where: str, thing: ET.Element) -> XmlObject:
    x0, y0, x1, y1 = (number(where, _text(where, thing, f"bndbox/{edge}")) for edge in ("xmin", "ymin", "xmax", "ymax"))
    return XmlObject(_text(where, thing, "name"), (x0, y0, x1, y1), thing.findtext("difficult", "").strip() == "1")


def _text(where: str, element: ET.Element, path: str) -> str:
    found = element.findtext(path, "").strip()
    if not found:
        raise GroundingError(f"{where} has no {path}: expected an annotation as of PASCAL VOC")
    return found
