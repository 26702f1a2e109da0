"""The options of `python -m grounding.localize`."""

import argparse
import os
from pathlib import Path
from typing import NoReturn

from grounding.addresses import is_address
from grounding.commands import Parser, add_localizer_options, path_option
from grounding.config import TOP_K

EPILOG = """\
examples:
  python -m grounding.localize --caption "a man in a red hat"
  python -m grounding.localize --caption "Two dogs run across a field ." --image p.jpg --output out/ --json
  python -m grounding.localize --phrases "a man" "a red hat" --image p.jpg
  python -m grounding.localize --manifest photos.csv --output out/ --pictures
  python -m grounding.localize --manifest captions_val2017.json --image-folder val2017 --output out/
  python -m grounding.localize --manifest big.parquet --output s3://bucket/out --engine ray

exit status: 0 done; 1 some rows of a manifest failed (each has an `error` in its line); 2 bad input, said in one
line; 130 interrupted, 143 terminated (a manifest with --output continues where it stopped when the same command is run
again)."""


class _Parser(Parser):
    def error(self, message: str) -> NoReturn:
        if message.startswith("unrecognized arguments:") and any(map(os.path.isfile, message.split()[2:])):
            message = f"{message}: --image takes one picture; name several in a table, --manifest"
        super().error(message)


def build_parser() -> argparse.ArgumentParser:
    """Build the options, without importing anything heavy."""
    parser = _Parser(
        prog="python -m grounding.localize",
        description="Find where in a picture each phrase of a caption is, without ever having been shown a box.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    what = parser.add_argument_group("what to look at")
    what.add_argument("--caption", help="a sentence about the picture")
    what.add_argument("--image", metavar="FILE", help="a picture, or - for standard input (default: a sample scene)")
    what.add_argument("--phrases", nargs="+", metavar="PHRASE", help="ground exactly these, in this order")
    many = "many pictures: a table (CSV, TSV, JSON Lines, Parquet, COCO captions) with image, caption [, phrases]"
    what.add_argument("--manifest", type=_path_or_address, metavar="FILE", help=many)
    _add_table_options(parser.add_argument_group("the table of --manifest"))
    how = parser.add_argument_group("how")
    add_localizer_options(how)
    most = f"at most K regions a phrase, all shown (default: {TOP_K}, and the best one is shown)"
    how.add_argument("--top-k", type=int, metavar="K", help=most)
    batch = "pictures of a manifest in one forward pass, or auto: 1 on the CPU, else as many as the memory holds (auto)"
    how.add_argument("--batch-size", type=_batch_size, metavar="N", help=batch)
    least = "call a phrase absent whose presence is below P, from 0 to 1 (default: as the classifier recommends)"
    how.add_argument("--min-presence", type=float, metavar="P", help=least)
    _add_scale_options(parser.add_argument_group("many processes or machines (docs/guides/scale.md)"))
    out = parser.add_argument_group("where to")
    folder = "folder for pictures and result.json, or results.jsonl (without: localized/, or only --json)"
    pictures = "with --manifest and --output: an overlay of each row, and index.html, which shows them all"
    out.add_argument("--output", type=_path_or_address, metavar="DIR", help=folder)
    out.add_argument("--pictures", action="store_true", help=pictures)
    out.add_argument("--overwrite", action="store_true", help="replace what --output holds")
    out.add_argument("--json", action="store_true", help="print one JSON object and nothing else on standard output")
    return parser


def _path_or_address(text: str) -> Path | str:
    return text if is_address(text) else path_option(text)


def _add_scale_options(scale: argparse._ArgumentGroup) -> None:
    engine = (
        "who does a manifest, to Parquet files: processes of this machine, or Ray (default with --workers: processes)"
    )
    scale.add_argument("--engine", choices=("processes", "ray"), help=engine)
    scale.add_argument(
        "--workers", type=int, metavar="N", help="how many, each with a model (default: one a processor)"
    )
    gpus = "share of a GPU that each worker of Ray has, for example 0.25 (default: 1 with --device cuda, else 0)"
    scale.add_argument("--gpus-per-worker", type=float, metavar="F", help=gpus)


def _batch_size(text: str) -> int | None:
    """A whole number, at least 1; None for auto."""
    if text == "auto":
        return None
    if not (text.isdecimal() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"is '{text}': expected a whole number from 1, or auto")
    return int(text)


def _add_table_options(table: argparse._ArgumentGroup) -> None:
    """Add an option for each field of `TableOptions`; what is not given stays None."""
    for option, name, text in (
        ("--image-column", "NAME", "column of picture files (default: image)"),
        ("--caption-column", "NAME", "column of captions: a text, or a list of texts (default: caption, or captions)"),
        ("--phrases-column", "NAME", "column of phrases: a list of texts, or texts divided by | (default: phrases)"),
        (
            "--delimiter",
            "CHARACTER",
            "of CSV: one character, or tab (default: ',', ';' or tab, told from its first line)",
        ),
        ("--image-folder", "DIR", "where relative picture paths start (default: the folder of the table)"),
    ):
        table.add_argument(option, metavar=name, help=text)
