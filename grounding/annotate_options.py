"""The options of `python -m grounding.annotate`."""

import argparse
from typing import Final

from grounding.commands import Parser, add_localizer_options, path_option
from grounding.web.options import add_page_options

FORMATS: Final = ("coco", "voc", "yolo", "label-studio", "cvat", "csv")
DEFAULT_PORT: Final = 7870

EPILOG = """\
examples:
  python -m grounding.annotate --images photos/ --captions captions.csv --output annotation/
  python -m grounding.annotate --images photos/ --labels person "traffic light" --output annotation/
  python -m grounding.annotate --images cells/ --captions labels.jsonl --label-column labels \\
      --classifier runs/cells/classifier --output annotation/
  python -m grounding.annotate --output annotation/                      (goes on with what is there)
  python -m grounding.annotate --output annotation/ --export coco voc    (exports what is decided so far)
  python -m grounding.annotate --images photos/ --labels dog --output annotation/ --headless --export coco

Ctrl-C ends the page; whatever was decided is in DIR already. exit status: 0 done; 2 bad input, said in one line; 130
interrupted while boxes were drafted (the same command goes on), 143 terminated."""


def build_parser() -> argparse.ArgumentParser:
    """Build the options, without importing anything heavy."""
    parser = Parser(
        prog="python -m grounding.annotate",
        description="Draft boxes from captions or labels, and let people accept, correct or draw them in a page.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    what = parser.add_argument_group("what to annotate")
    what.add_argument("--images", type=path_option, metavar="DIR", help="folder of pictures, at any depth")
    table = "table (CSV, TSV, JSON Lines, Parquet, COCO captions) with image, caption [, phrases]"
    what.add_argument("--captions", type=path_option, metavar="FILE", help=table)
    what.add_argument("--labels", nargs="+", metavar="NAME", help="look for these in every picture")
    column = "column of --captions that holds labels of each picture: a list, or texts divided by |"
    what.add_argument("--label-column", default="", metavar="NAME", help=column)
    what.add_argument("--image-column", metavar="NAME", help="column of picture files (default: image)")
    what.add_argument("--caption-column", metavar="NAME", help="column of captions (default: caption, or captions)")
    what.add_argument("--phrases-column", metavar="NAME", help="column of phrases (default: phrases)")
    what.add_argument("--delimiter", metavar="CHARACTER", help="of CSV (default: told from its first line)")
    _add_drafting_options(parser.add_argument_group("how boxes are drafted"))
    out = parser.add_argument_group("what comes out")
    output = "folder of the annotation: drafts, log of decisions, exports; one that exists is gone on with"
    out.add_argument("--output", type=path_option, required=True, metavar="DIR", help=output)
    export = f"write DIR/exports/FORMAT and open no page: {', '.join(FORMATS)}"
    out.add_argument("--export", nargs="+", default=[], choices=FORMATS, metavar="FORMAT", help=export)
    include = "what is exported: accepted boxes of done pictures, or all boxes that are not rejected (default: done; "
    out.add_argument("--include", choices=("done", "drafts"), help=f"{include}drafts with --headless)")
    out.add_argument("--headless", action="store_true", help="draft, and open no page")
    add_page_options(out, DEFAULT_PORT)
    return parser


def _add_drafting_options(how: argparse._ArgumentGroup) -> None:
    label = "of a caption's phrase: its head noun in the singular (default), or all of it"
    how.add_argument("--label", choices=("head", "phrase"), default="head", help=label)
    ask = "look for a label with other words, which the classifier knows: 'white blood cell=purple'"
    how.add_argument("--ask", nargs="+", type=_pair, default=[], metavar="LABEL=PHRASE", help=ask)
    most = "at most K boxes for each label or phrase, which hardly overlap (default: 1)"
    how.add_argument("--boxes-per-label", "--top-k", type=int, default=1, metavar="K", help=most)
    least = (
        "draft nothing for what is less probably in the picture, 0 to 1 (default: of --labels as calibrated, else 0)"
    )
    how.add_argument("--min-presence", type=float, metavar="P", help=least)
    add_localizer_options(how)


def _pair(text: str) -> tuple[str, str]:
    label, _, phrase = (part.strip() for part in text.partition("="))
    if not (label and phrase):
        raise argparse.ArgumentTypeError(f"is '{text}': expected LABEL=PHRASE")
    return label, phrase
