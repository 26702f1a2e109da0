"""`python -m grounding.localize`: a caption and a picture in, a region for every phrase out."""

import argparse
import sys
import time
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from grounding.commands import Parser, add_localizer_options, exit_status, path_option
from grounding.config import TOP_K, LocalizerConfig, load, method_setting
from grounding.errors import GroundingError, check_at_least_one

if TYPE_CHECKING:
    from grounding.images import RgbImage
    from grounding.pipeline import Localizer

EPILOG = """\
examples:
  python -m grounding.localize --caption "a man in a red hat"
  python -m grounding.localize --caption "Two dogs run across a field ." --image p.jpg --output out/ --json
  python -m grounding.localize --phrases "a man" "a red hat" --image p.jpg
  python -m grounding.localize --manifest photos.csv --output out/ --pictures
  python -m grounding.localize --manifest captions_val2017.json --image-folder val2017 --output out/

exit status: 0 done; 1 some rows of a manifest failed (each has an `error` in its line); 2 bad input, said in one
line; 130 interrupted, 143 terminated (a manifest with --output continues where it stopped when the same command is run
again)."""


def build_parser() -> argparse.ArgumentParser:
    """Build the options, without importing anything heavy."""
    parser = Parser(
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
    what.add_argument("--manifest", type=path_option, metavar="FILE", help=many)
    _add_table_options(parser.add_argument_group("the table of --manifest"))
    how = parser.add_argument_group("how")
    add_localizer_options(how)
    most = f"at most K regions a phrase, all shown (default: {TOP_K}, and the best one is shown)"
    how.add_argument("--top-k", type=int, metavar="K", help=most)
    least = "call a phrase absent whose presence is below P, from 0 to 1 (default: as the classifier recommends)"
    how.add_argument("--min-presence", type=float, metavar="P", help=least)
    out = parser.add_argument_group("where to")
    folder = "folder for pictures and result.json, or results.jsonl (without: localized/, or only --json)"
    pictures = "with --manifest and --output: an overlay of each row, and index.html, which shows them all"
    out.add_argument("--output", type=path_option, metavar="DIR", help=folder)
    out.add_argument("--pictures", action="store_true", help=pictures)
    out.add_argument("--overwrite", action="store_true", help="replace what --output holds")
    out.add_argument("--json", action="store_true", help="print one JSON object and nothing else on standard output")
    return parser


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


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    options = build_parser().parse_args(arguments)
    return exit_status(lambda: _localize_manifest(options) if options.manifest else _localize_one(options))


def _top_k(options: argparse.Namespace) -> tuple[int, int]:
    """How many regions a phrase has at most, and how many of them are shown."""
    return (TOP_K, 1) if options.top_k is None else (options.top_k, options.top_k)


def _load(options: argparse.Namespace) -> "Localizer":
    check_at_least_one("--top-k", _top_k(options)[0])
    from grounding.pipeline import Localizer

    presence = [] if options.min_presence is None else [f"min_presence={options.min_presence}"]
    config = load(LocalizerConfig, options.config, [*options.set, *presence])
    return Localizer.from_pretrained(options.classifier, config, options.device, options.method)


def _localize_one(options: argparse.Namespace) -> int:
    """Print a table or JSON, and save pictures and result.json."""
    if given := [*_table_options(options), *(["pictures"] if options.pictures else [])]:
        raise GroundingError(f"--{given[0].replace('_', '-')} goes with --manifest FILE: add it, or leave this out")
    if options.caption is None and not options.phrases:
        raise GroundingError("no caption was given: expected --caption TEXT, --phrases or --manifest (see --help)")
    from grounding.folders import check_output
    from grounding.result_folder import FILES, new_folder, write_result
    from grounding.results import to_json
    from grounding.terminal import result_table

    if options.output:
        check_output(options.output, options.overwrite, FILES)
    image = _picture(options.image)
    localizer = _load(options)
    (top_k, shown), start = _top_k(options), time.perf_counter()
    result = localizer.encode(image).ground(options.caption, options.phrases, top_k)
    told = options.image, time.perf_counter() - start, shown
    print(to_json(result.to_dict(options.image)) if options.json else result_table(result, *told))
    folder = options.output or (None if options.json else new_folder(options.image))
    if folder is not None:
        write_result(result, options.image, folder, options.overwrite, shown)
        if not options.json:
            print(f"pictures and result.json: {folder}")
    return 0


def _picture(path: str | None) -> "RgbImage":
    from grounding.images import read_image, sample_scene

    if path == "-" and sys.stdin is None:
        raise GroundingError("standard input is closed: expected a picture on it")
    return sample_scene() if path is None else read_image(sys.stdin.buffer if path == "-" else path)


def _localize_manifest(options: argparse.Namespace) -> int:
    if options.image or options.caption or options.phrases:
        raise GroundingError("--manifest names the pictures, captions and phrases itself: leave out the other options")
    if options.pictures and not options.output:
        raise GroundingError("--pictures needs a folder to write to: add --output DIR")
    from grounding.datasets.columns import TableOptions
    from grounding.datasets.sources import with_home
    from grounding.manifest import Destination, ground_manifest, read_manifest

    manifest = read_manifest(options.manifest, TableOptions(**_table_options(options)))
    folder = with_home(options.image_folder or options.manifest.parent)
    names = {"device": options.device, **method_setting(options.method)}
    top_k, shown = _top_k(options)
    destination = Destination(options.output, options.overwrite, options.pictures, partial(print, flush=True), shown)
    summary = ground_manifest(_load(options), manifest, folder, top_k, names, destination)
    print(summary, file=sys.stderr)
    return 1 if summary.failed else 0


def _table_options(options: argparse.Namespace) -> dict[str, str]:
    names = ("image_column", "caption_column", "phrases_column", "delimiter", "image_folder")
    return {name: getattr(options, name) for name in names if getattr(options, name) is not None}


if __name__ == "__main__":
    sys.exit(main())
