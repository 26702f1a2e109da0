"""`python -m grounding.localize`: a caption and a picture in, a region for every phrase out."""

import argparse
import dataclasses
import json
import sys
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from grounding.commands import Parser, add_localizer_options, exit_status
from grounding.errors import GroundingError

if TYPE_CHECKING:
    from grounding.pipeline import Localizer
    from grounding.results import Grounding

WRITTEN = ("overlay.png", "map-*.png", "result.json")  # * stands for the number and the words of a phrase
EPILOG = """\
examples:
  python -m grounding.localize --caption "a man in a red hat"
  python -m grounding.localize --caption "Two dogs run across a field ." --image p.jpg --output out/ --json
  python -m grounding.localize --phrases "a man" "a red hat" --image p.jpg
  python -m grounding.localize --manifest photos.csv --output out/

exit status: 0 done; 1 some pictures of a manifest failed (each has an `error` in its line); 2 bad input, said in one
line; 130 interrupted (a manifest with --output continues where it stopped when the same command is run again)."""


def build_parser() -> argparse.ArgumentParser:
    """The options, without importing anything heavy."""
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
    what.add_argument(
        "--manifest", type=Path, metavar="FILE", help="many pictures: .csv or .jsonl with image, caption [, phrases]"
    )
    how = parser.add_argument_group("how")
    add_localizer_options(how)
    how.add_argument("--top-k", type=int, default=5, metavar="K", help="at most K regions a phrase (default: 5)")
    out = parser.add_argument_group("where to")
    out.add_argument(
        "--output",
        type=Path,
        metavar="DIR",
        help="folder for pictures and result.json, or results.jsonl (without: localized/, or only --json)",
    )
    out.add_argument("--overwrite", action="store_true", help="replace what --output holds")
    out.add_argument("--json", action="store_true", help="print one JSON object and nothing else on standard output")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    options = build_parser().parse_args(arguments)
    return exit_status(lambda: _localize_manifest(options) if options.manifest else _localize_one(options))


def _load(options: argparse.Namespace) -> "Localizer":
    from grounding.config import LocalizerConfig, load
    from grounding.pipeline import Localizer

    if options.top_k < 1:
        raise GroundingError(f"--top-k is {options.top_k}: expected at least 1")
    return Localizer.from_pretrained(
        options.classifier, load(LocalizerConfig, options.config, options.set), options.device
    )


def _localize_one(options: argparse.Namespace) -> int:
    if options.phrases and options.caption is None:
        options.caption = ", ".join(options.phrases)
    if options.caption is None:
        raise GroundingError("no caption was given: expected --caption TEXT, --phrases or --manifest (see --help)")
    if not options.caption.strip() and not options.phrases:
        raise GroundingError("the caption is empty: expected a sentence such as 'a man in a red hat'")
    from grounding.folders import check_output, unused_folder
    from grounding.images import read_image, sample_scene
    from grounding.results import to_json
    from grounding.resumable import LINES_FILES

    if options.output:
        check_output(options.output, options.overwrite, (*WRITTEN, *LINES_FILES))
    if options.image is None:
        path, image = None, sample_scene()
    elif options.image == "-":
        if sys.stdin is None:
            raise GroundingError("standard input is closed: expected a picture on it")
        path, image = "-", read_image(sys.stdin.buffer)
    else:
        path, image = options.image, read_image(options.image)
    localizer = _load(options)
    start = time.perf_counter()
    result = localizer.encode(image).ground(options.caption, options.phrases, options.top_k)
    seconds = time.perf_counter() - start
    if options.json:
        print(to_json(result.to_dict(path)))
    else:
        _print_table(result, path, seconds)
    folder = options.output
    if folder is None and not options.json:
        name = {None: "sample-scene", "-": "standard-input"}.get(path) or Path(path or "").stem
        folder = unused_folder(Path("localized") / name)
    if folder is not None:
        _write(result, path, folder, options.overwrite)
        if not options.json:
            print(f"pictures and result.json: {folder}")
    return 0


def _write(result: "Grounding", path: str | None, folder: Path, overwrite: bool) -> None:
    """The overlay, one map picture a phrase, and result.json; whole or not at all."""
    from grounding.drawing import map_picture, overlay, phrase_colour
    from grounding.folders import whole_folder
    from grounding.results import to_json
    from grounding.resumable import LINES_FILES

    with whole_folder(folder, overwrite, (*WRITTEN, *LINES_FILES)) as partial:
        overlay(result).save(partial / "overlay.png")
        for index, found in enumerate(result):
            name = "".join(c if c.isalnum() else "-" for c in found.phrase.text.lower())[:40].strip("-")
            map_picture(result.image, found, phrase_colour(index)).save(partial / f"map-{index + 1}-{name}.png")
        (partial / "result.json").write_text(to_json(result.to_dict(path), indent=2) + "\n", encoding="utf-8")


def _print_table(result: "Grounding", path: str | None, seconds: float) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from grounding.drawing import phrase_colour

    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=140)
    height, width = result.image.shape[:2]
    shown = path or "sample scene: scikit-image's CC0 photograph of a cameraman, with a hat painted on by us"
    table = Table("phrase", "status", "tags", "box x0 y0 x1 y1 (px)", "score", "time (share)")
    for index, found in enumerate(result):
        tags = "\n".join(
            f"{match.word} -> {match.tag} ({match.reason})" if match.tag else f"{match.word} ({match.reason})"
            for match in found.words
        )
        box = " ".join(f"{edge:.0f}" for edge in found.best.box) if found.best else "-"
        guess = " (a guess)" if found.best and found.status == "out-of-vocabulary" else ""
        table.add_row(
            Text(_visible(found.phrase.text), style=phrase_colour(index)),
            found.status,
            Text(_visible(tags) or "-"),
            box + guess,
            f"{found.best.score:.3f}" if found.best else "-",
            f"{found.time_s * 1000:.0f} ms",
        )
    with console.capture() as capture:
        console.print(Text(f"{_visible(shown)} ({width} x {height} px)"), soft_wrap=True)
        if len(result):
            console.print(table)
        else:
            console.print("no noun phrase in this caption: nothing to look for (--phrases names them yourself)")
        console.print(
            Text(f"classifier {result.classifier}; {seconds:.2f} s for the picture and {len(result)} phrases")
        )
    print(capture.get(), end="")


def _visible(text: str) -> str:
    """Without characters that a terminal would obey."""
    return "".join(
        character if character.isprintable() or character == "\n" else "\N{REPLACEMENT CHARACTER}" for character in text
    )


def _localize_manifest(options: argparse.Namespace) -> int:
    if options.image or options.caption or options.phrases:
        raise GroundingError("--manifest names the pictures, captions and phrases itself: leave out the other options")
    from tqdm import tqdm

    from grounding.manifest import fingerprint, ground_rows, read_manifest
    from grounding.results import to_json
    from grounding.resumable import ResumableLines, resumable_lines

    rows = read_manifest(options.manifest)
    start = options.manifest.parent
    localizer = _load(options)
    lines: AbstractContextManager[ResumableLines | None] = nullcontext()
    if options.output is not None:
        settings = {
            "manifest": fingerprint(rows),
            "folder": str(start.resolve()),
            "classifier": localizer.classifier.fingerprint(),
            "top_k": options.top_k,
            "device": options.device,
            "config": dataclasses.asdict(localizer.config),
        }
        lines = resumable_lines(options.output, settings, options.overwrite, WRITTEN)
    with lines as file:
        write, done = (file.write, file.done) if file else (_print_line, [])
        failed = sum("error" in json.loads(line) for line in done)
        results = ground_rows(localizer, rows[len(done) :], start, options.top_k)
        for result in tqdm(results, total=len(rows), initial=len(done), unit=" rows"):
            failed += "error" in result
            write(to_json(result))
    if failed:
        print(f"{failed} of {len(rows)} rows failed: each says why in its 'error'", file=sys.stderr)
    return 1 if failed else 0


def _print_line(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
