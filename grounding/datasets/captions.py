"""The captions of Flickr30k and COCO in their own formats, and the JSON Lines table that `webimages` reads."""

import json
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from grounding.errors import GroundingError
from grounding.folders import whole_file

_FLICKR30K_LINE: Final = re.compile(r"(?P<image>[^\t#]+)#\d+\t(?P<caption>.*)")


def flickr30k_captions(path: Path) -> Iterator[tuple[str, str]]:
    """(file name, caption) of every line `1000092795.jpg#0<TAB>Two young guys ...` of `results_20130124.token`."""
    for number, line in enumerate(_text(path).splitlines(), start=1):
        if not (fields := _FLICKR30K_LINE.fullmatch(line)):
            raise GroundingError(f"{path}, line {number}: expected 'name.jpg#0', a tab and a caption")
        yield fields["image"], fields["caption"]


def coco_captions(path: Path) -> Iterator[tuple[str, str]]:
    """(file name, caption) of every annotation of a `captions_*.json`."""
    try:
        content = json.loads(_text(path))
        names = {image["id"]: image["file_name"] for image in content["images"]}
        yield from ((names[each["image_id"]], each["caption"]) for each in content["annotations"])
    except (ValueError, KeyError, TypeError) as error:
        raise GroundingError(f"{path} is no COCO captions file ({type(error).__name__}: {error})") from error


CAPTION_FORMATS: Final = {"flickr30k": flickr30k_captions, "coco": coco_captions}


def write_table(
    captions: Iterable[tuple[str, str]], photographs: Path, output: Path, without: Iterable[Path] = ()
) -> int:
    """Write a line `{"image": path relative to the table, "caption": [its captions]}` a photograph; returns how many.

    Args:
        captions: (file name, caption).
        photographs: the folder of the files, which are not read.
        without: text files with one name a line, with or without `.jpg`, of photographs to leave out.
    """
    left_out = {name.removesuffix(".jpg") for path in without for name in _text(path).split()}
    groups: dict[str, list[str]] = {}
    for image, caption in captions:
        if Path(image).stem not in left_out:
            groups.setdefault(image, []).append(caption.strip())
    folder = os.path.relpath(photographs.resolve(), output.resolve().parent)
    with whole_file(output) as file:
        for image, group in groups.items():
            file.write(json.dumps({"image": f"{folder}/{image}", "caption": group}, ensure_ascii=False) + "\n")
    return len(groups)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise GroundingError(f"{path} is no UTF-8 text ({error.reason} at byte {error.start})") from error
