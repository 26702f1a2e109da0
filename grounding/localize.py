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
from grounding.wording import counted

if TYPE_CHECKING:
    from grounding.images import RgbImage
    from grounding.pipeline import Localizer

EPILOG = """\
examples:
  python -m grounding.localize --caption "a man in a red hat"
  python -m grounding.localize --caption "Two dogs run across a field ." --image p.jpg --output out/ --json
  python -m grounding.localize --phrases "a man" "a red hat" --image p.jpg
  python -m grounding.localize --manifest photos.csv --output out/

exit status: 0 done; 1 some pictures of a manifest failed (each has an `error` in its line); 2 bad input, said in one
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
    many = "many pictures: .csv or .jsonl with image, caption [, phrases]"
    what.add_argument("--manifest", type=path_option, metavar="FILE", help=many)
    how = parser.add_argument_group("how")
    add_localizer_options(how)
    most = "at most K regions a phrase (default: %(default)s)"
    how.add_argument("--top-k", type=int, default=TOP_K, metavar="K", help=most)
    least = "call a phrase absent whose presence is below P, from 0 to 1 (default: as the classifier recommends)"
    how.add_argument("--min-presence", type=float, metavar="P", help=least)
    out = parser.add_argument_group("where to")
    folder = "folder for pictures and result.json, or results.jsonl (without: localized/, or only --json)"
    out.add_argument("--output", type=path_option, metavar="DIR", help=folder)
    out.add_argument("--overwrite", action="store_true", help="replace what --output holds")
    out.add_argument("--json", action="store_true", help="print one JSON object and nothing else on standard output")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    options = build_parser().parse_args(arguments)
    return exit_status(lambda: _localize_manifest(options) if options.manifest else _localize_one(options))


def _load(options: argparse.Namespace) -> "Localizer":
    check_at_least_one("--top-k", options.top_k)
    from grounding.pipeline import Localizer

    presence = [] if options.min_presence is None else [f"min_presence={options.min_presence}"]
    config = load(LocalizerConfig, options.config, [*options.set, *presence])
    return Localizer.from_pretrained(options.classifier, config, options.device, options.method)


def _localize_one(options: argparse.Namespace) -> int:
    """Print a table or JSON, and save pictures and result.json."""
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
    start = time.perf_counter()
    result = localizer.encode(image).ground(options.caption, options.phrases, options.top_k)
    total_s = time.perf_counter() - start
    print(to_json(result.to_dict(options.image)) if options.json else result_table(result, options.image, total_s))
    folder = options.output or (None if options.json else new_folder(options.image))
    if folder is not None:
        write_result(result, options.image, folder, options.overwrite)
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
    from grounding.manifest import ground_manifest, read_manifest

    rows = read_manifest(options.manifest)
    where = (rows, options.manifest.parent, options.top_k)
    names = {"device": options.device, **method_setting(options.method)}
    show = partial(print, flush=True)
    failed = ground_manifest(_load(options), *where, names, options.output, options.overwrite, show)
    if failed:
        print(f"{failed:,} of {counted(len(rows), 'row')} failed: the reason is in 'error'", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
