"""The captions of Flickr30k or COCO as the JSON Lines table that `python -m grounding.train` reads.

    python scripts/captions_table.py flickr30k results_20130124.token flickr30k-images flickr30k-train.jsonl \\
        --without val.txt test.txt
    python scripts/captions_table.py coco annotations/captions_train2017.json train2017 coco-train.jsonl

Each line is {"image": path relative to the table, "caption": [its captions]}. Photographs are not looked at.
"""

import argparse
import json
import os
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from grounding.commands import Parser, exit_status
from grounding.errors import GroundingError
from grounding.folders import whole_file

_FLICKR_LINE = re.compile(r"(?P<image>[^\t#]+)#\d+\t(?P<caption>.*)")


def flickr30k(path: Path) -> Iterator[tuple[str, str]]:
    """(file name, caption) of every line `1000092795.jpg#0<TAB>Two young guys ...`."""
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not (found := _FLICKR_LINE.fullmatch(line)):
            raise GroundingError(f"{path}, line {number}: expected 'name.jpg#0', a tab and a caption")
        yield found["image"], found["caption"]


def coco(path: Path) -> Iterator[tuple[str, str]]:
    """(file name, caption) of every annotation of a `captions_*.json`."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        names = {image["id"]: image["file_name"] for image in content["images"]}
        yield from ((names[each["image_id"]], each["caption"]) for each in content["annotations"])
    except (ValueError, KeyError, TypeError) as error:
        raise GroundingError(f"{path} is no COCO captions file ({type(error).__name__}: {error})") from error


def table(captions: Iterable[tuple[str, str]], photographs: Path, output: Path, without: Iterable[Path]) -> int:
    """Write the table; returns how many photographs are in it.

    Args:
        without: files with one name a line, with or without `.jpg`, of photographs to leave out.
    """
    left_out = {name.removesuffix(".jpg") for path in without for name in path.read_text(encoding="utf-8").split()}
    groups: dict[str, list[str]] = {}
    for image, caption in captions:
        if Path(image).stem not in left_out:
            groups.setdefault(image, []).append(caption.strip())
    folder = os.path.relpath(photographs.resolve(), output.resolve().parent)
    with whole_file(output) as file:
        for image, group in groups.items():
            file.write(json.dumps({"image": f"{folder}/{image}", "caption": group}, ensure_ascii=False) + "\n")
    return len(groups)


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("style", choices=("flickr30k", "coco"))
    parser.add_argument("captions", type=Path, help="results_20130124.token, or captions_*.json")
    parser.add_argument("photographs", type=Path, help="the folder they are in")
    parser.add_argument("output", type=Path, help="the .jsonl to write")
    parser.add_argument("--without", type=Path, nargs="+", default=[], metavar="FILE", help="ids to leave out")
    options = parser.parse_args(arguments)

    def run() -> int:
        captions = {"flickr30k": flickr30k, "coco": coco}[options.style](options.captions)
        count = table(captions, options.photographs, options.output, options.without)
        print(f"{count:,} photographs: {options.output}")
        return 0

    return exit_status(run)


if __name__ == "__main__":
    sys.exit(main())
