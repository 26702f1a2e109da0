"""`python -m grounding.clickme --images DIR --output DIR`: the ClickMe game, which collects where people look."""

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from grounding.commands import Parser, exit_status, path_option
from grounding.errors import GroundingError, check_at_least_one
from grounding.web.options import add_page_options, check_extra
from grounding.wording import counted

if TYPE_CHECKING:
    from grounding.game.guesser import Guesser
    from grounding.game.pictures import Picture

PORT = 7880
_QUICK = 20  # pictures of the agreement that is said when a game ends; --report looks at all
EPILOG = """\
examples:
  python -m grounding.clickme --images pictures --output game
  python -m grounding.clickme --images pictures --labels labels.csv --output game --classifier torchvision:resnet50
  python -m grounding.clickme --output game --aggregate

A person paints over what matters in a picture, a classifier guesses from what is revealed. DIR/clicks.csv and DIR/maps
are what python -m grounding.train reads as human_maps.source. docs/guides/clickme.md says what is stored, and
how maps are made.

exit status: 0 done; 2 bad input, said in one line; 130 ended with Ctrl-C (every finished round is on the disk); 143
terminated (SIGTERM)."""


def build_parser() -> argparse.ArgumentParser:
    """The options."""
    parser = Parser(
        prog="python -m grounding.clickme",
        description="A game in which people show a classifier what matters in a picture.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    what = parser.add_argument_group("what is played")
    what.add_argument("--images", type=path_option, metavar="DIR", help="pictures, in a sub-folder a category")
    labels = "a table with the columns image and label, in place of sub-folders"
    what.add_argument("--labels", type=path_option, metavar="FILE", help=labels)
    folder = "where rounds and maps are kept; a game goes on where it was left"
    what.add_argument("--output", type=path_option, metavar="DIR", required=True, help=folder)
    how = parser.add_argument_group("how")
    how.add_argument(
        "--seconds", type=float, default=30.0, metavar="S", help="that a round lasts at most (default: 30)"
    )
    top = "the category is recognised among the first K guesses (default: a fifth of the categories, from 1 to 5)"
    how.add_argument("--top", type=int, metavar="K", help=top)
    boxes = "CSV of image,x0,y0,x1,y1: pictures that test players (default: some pictures are shown twice)"
    how.add_argument("--catch", type=path_option, metavar="FILE", help=boxes)
    share = "of the rounds that test the player (default: 0.1)"
    how.add_argument("--catch-share", type=float, default=0.1, metavar="F", help=share)
    source = "who guesses: a source of docs/guides/sources.md with tags (default: embedded)"
    how.add_argument("--classifier", default="embedded", metavar="SOURCE", help=source)
    how.add_argument("--offline", action="store_true", help="download nothing, whatever the classifier")
    how.add_argument("--device", default="cpu", help="cpu, cuda, mps, ... (default: cpu)")
    how.add_argument("--seed", type=int, default=0, metavar="N", help="of the order of pictures (default: 0)")
    add_page_options(how, PORT)
    instead = parser.add_argument_group("instead of a game")
    aggregate = "write the maps of the rounds in --output again, and report"
    instead.add_argument("--aggregate", action="store_true", help=aggregate)
    instead.add_argument("--report", action="store_true", help="only say what --output holds")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    options = build_parser().parse_args(arguments)
    if options.aggregate or options.report:
        return exit_status(lambda: _report(options))
    return exit_status(lambda: _play(options))


def _report(options: argparse.Namespace) -> int:
    from grounding.game.log import read_rounds
    from grounding.game.report import report

    rounds = read_rounds(options.output)
    if options.aggregate:
        from grounding.game.maps import CLICKS, MAPS, write_clicks, write_maps

        rows, maps = write_clicks(rounds, options.output), write_maps(rounds, options.output)
        print(f"{options.output / CLICKS}: {counted(rows, 'row')}; {options.output / MAPS}: {counted(maps, 'map')}")
    print(*report(rounds, options.seed), sep="\n")
    return 0


def _play(options: argparse.Namespace) -> int:
    _check(options)
    check_extra("grounding.clickme", "clickme", "starlette", "uvicorn")
    from grounding.folders import check_output
    from grounding.game.collecting import FILES, Collecting
    from grounding.game.log import round_log
    from grounding.game.page import application
    from grounding.game.pictures import read_pictures, with_catch
    from grounding.game.play import Game, check_same_pictures
    from grounding.game.report import report
    from grounding.web.server import serve

    found = read_pictures(options.images, options.labels)
    if options.catch:
        found = with_catch(found, options.catch)
    pictures = found.pictures
    check_output(options.output, True, FILES, [options.images])
    with round_log(options.output) as log:
        check_same_pictures(pictures, log.rounds, options.output)
        guesser = _guesser(options, pictures)
        game = Game(pictures, guesser, log, options.seconds, options.catch_share, options.seed)
        categories = counted(len(guesser.categories) + len(guesser.unknown), "category", "categories")
        left_out = "".join(f"; left out: {reason}: {count}" for reason, count in found.left_out.items())
        print(f"{counted(len(pictures), 'picture')} of {categories}{left_out}")
        if guesser.unknown:
            print(f"not known to {options.classifier}, so played until time is up: {', '.join(guesser.unknown)}")
        print(f"recognised among the first {guesser.top} of {counted(len(guesser.categories), 'guess', 'guesses')}")
        collecting = Collecting(game, options.output)
        try:
            serve(application(game, collecting.clicks), "ClickMe", options.port, PORT, not options.no_browser)
        finally:
            collecting.everything()
            print(*report(game.rounds(), options.seed, _QUICK), sep="\n", flush=True)
    return 0


def _check(options: argparse.Namespace) -> None:
    if options.images is None:
        raise GroundingError("no pictures were given: expected --images DIR (or --aggregate, --report)")
    if not 1 <= options.seconds <= 600:
        raise GroundingError(f"--seconds is {options.seconds:g}: expected 1 to 600")
    if options.top is not None:
        check_at_least_one("--top", options.top)
    if not 0 <= options.catch_share <= 0.5:
        raise GroundingError(f"--catch-share is {options.catch_share:g}: expected 0 to 0.5")
    if options.output.resolve().is_relative_to(options.images.resolve()):
        raise GroundingError(f"--output {options.output} lies in --images, where its maps would be pictures: move it")


def _guesser(options: argparse.Namespace, pictures: "Sequence[Picture]") -> "Guesser":
    from grounding.devices import usable_device
    from grounding.game.guesser import Guesser
    from grounding.tagging.sources import load_tag_classifier

    device = usable_device(options.device)
    classifier = load_tag_classifier(options.classifier, options.offline)
    guesser = Guesser(classifier, [picture.category for picture in pictures], device, options.top)
    guesser.look_at(pictures)
    return guesser


if __name__ == "__main__":
    sys.exit(main())
