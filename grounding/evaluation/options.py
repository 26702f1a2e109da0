"""The options of `python -m grounding.evaluate`; imports nothing heavy."""

import argparse
from collections.abc import Sequence

from grounding.benchmarks.names import DEFAULT
from grounding.commands import Parser, add_classifier_options, add_localizer_options, path_option

EPILOG = """\
examples:
  python -m grounding.evaluate flickr30k --images photos/ --annotations entities.zip --split val --output runs/a
  python -m grounding.evaluate flickr30k --predictions theirs.jsonl --annotations entities.zip --output runs/b
  python -m grounding.evaluate flickr30k --baselines-only --annotations entities.zip --split test
  python -m grounding.evaluate pointing --dataset voc07 --root VOCdevkit --classifier runs/voc --output runs/p
  python -m grounding.evaluate localization --dataset cub --root CUB_200_2011 --classifier runs/cub --output runs/l
  python -m grounding.evaluate compare runs/a runs/b
  python -m grounding.evaluate convert huggingface results.jsonl --annotations entities.zip --output theirs.jsonl
  python -m grounding.evaluate sweep --images photos/ --annotations entities.zip regions.gamma=0.1,0.2 --halves
  python -m grounding.evaluate misses --images photos/ --annotations entities.zip --output runs/misses
  python -m grounding.evaluate control runs/a

exit status: 0 done; 1 some photographs could not be read (listed, and not counted); 2 bad input, said in one line;
130 interrupted, 143 terminated (the same `flickr30k` command continues where it stopped)."""

BENCHMARKS = {
    "pointing": ("methods at the pointing game, by class, on VOC07, COCO or Entities", ("voc07", "coco", "entities")),
    "localization": ("methods by boxes of their maps, on ImageNet, CUB or a folder", ("imagenet", "cub", "folder")),
    "agreement": ("methods against where people look, on CUB", ("cub",)),
}


def build_parser() -> argparse.ArgumentParser:
    """The options of every command."""
    parser = Parser(
        prog="python -m grounding.evaluate",
        description="Score a localizer, or anybody's predictions, on Flickr30k Entities; methods on other data sets.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _flickr30k(commands.add_parser("flickr30k", help="score a localizer or predictions"))
    for task, (what, kinds) in BENCHMARKS.items():
        _benchmark(commands.add_parser(task, help=what, description=f"{what}."), task, kinds)
    _compare(commands.add_parser("compare", help="two finished runs: paired differences, and what changed sides"))
    _convert(commands.add_parser("convert", help="others' results to the predictions format"))
    _sweep(commands.add_parser("sweep", help="try settings of maps and regions: a line a combination"))
    _misses(commands.add_parser("misses", help="draw phrases that are missed, to be judged by eye"))
    _control(commands.add_parser("control", help="a finished run against itself with the phrases exchanged"))
    return parser


def at_least_1(text: str) -> int:
    """A whole number from 1, for argparse."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"it is {number}: expected at least 1")
    return number


def _flickr30k(score: argparse.ArgumentParser) -> None:
    _add_data(score)
    _add_images(score, required=False, what="only these are scored, the missing counted")
    what = score.add_mutually_exclusive_group()
    what.add_argument(
        "--predictions", type=path_option, metavar="FILE", help="score these (.jsonl or .parquet) instead"
    )
    what.add_argument("--baselines-only", action="store_true", help="only the trivial baselines; needs no photograph")
    text = "folder for metrics, predictions and report.html; needed with --images, where a run can go on"
    _add_output(score, text, required=False)
    score.add_argument("--limit", type=at_least_1, metavar="N", help="only the first N images of those present")
    score.add_argument("--strict", action="store_true", help="refuse when a photograph is missing or unreadable")
    score.add_argument("--allow-missing", action="store_true", help="count phrases without a prediction as misses")
    score.add_argument("--name", help="what to call this method in tables (default: the classifier or file name)")
    score.add_argument(
        "--workers",
        type=at_least_1,
        default=1,
        metavar="N",
        help="processes of one thread each (default: 1); or use torchrun",
    )
    add_localizer_options(score)


def _benchmark(parser: argparse.ArgumentParser, task: str, kinds: Sequence[str]) -> None:
    several = len(kinds) > 1
    parser.add_argument("--dataset", choices=kinds, required=several, default=kinds[0], help="the layout of --root")
    parser.add_argument(
        "--root", type=path_option, required=True, metavar="PATH", help="the data set: a folder, a zip or a tar"
    )
    if "entities" in kinds:
        parser.add_argument(
            "--images",
            type=path_option,
            nargs="+",
            default=(),
            metavar="PATH",
            help="entities: the photographs, --root being the annotations",
        )
    if task == "agreement":
        parser.add_argument(
            "--gaze", type=path_option, required=True, metavar="FILE", help="fixations: image_id,width,height,(x,y,ms)*"
        )
        parser.add_argument(
            "--viewers",
            type=int,
            nargs="+",
            default=(),
            metavar="N",
            help="only these people, by their numbers in --gaze, such as those whose gaze no map was taught by",
        )
    parser.add_argument("--split", metavar="NAME", help="default: test of voc07 and cub, val2014 of coco, else val")
    parser.add_argument(
        "--methods",
        default=DEFAULT,
        metavar="NAMES",
        help=f"with commas; the first is compared with the others (default: {DEFAULT}; also rise)",
    )
    parser.add_argument(
        "--classes", type=path_option, metavar="FILE", help='tags of classes, JSON: {"tv monitor": ["television"]}'
    )
    parser.add_argument(
        "--smoothing",
        type=share,
        metavar="S",
        help="width of a Gaussian on all maps, of the longer side (default: as in "
        "the papers, 0.02 for gradient, guided, deconv and lrp, else 0)",
    )
    parser.add_argument(
        "--rise-masks", type=at_least_1, default=4000, metavar="N", help="forward passes of rise (default: 4000)"
    )
    _add_output(parser, "folder for metrics.json, rows.jsonl, report.html and figure.png; a run goes on there")
    parser.add_argument("--limit", type=at_least_1, metavar="N", help="only N pictures, spread evenly over the split")
    parser.add_argument("--name", help="what to call the classifier in tables (default: its own name)")
    parser.add_argument(
        "--workers", type=at_least_1, default=1, metavar="N", help="processes of one thread each (default: 1)"
    )
    add_classifier_options(parser)


def share(text: str) -> float:
    """A number from 0 to 1, for argparse."""
    number = float(text)
    if not 0 <= number <= 1:
        raise argparse.ArgumentTypeError(f"it is {text}: expected a share from 0 to 1")
    return number


def _compare(compare: argparse.ArgumentParser) -> None:
    compare.add_argument("a", type=path_option, help="the --output of a run")
    compare.add_argument("b", type=path_option, help="the --output of another")
    _add_images(compare, required=False, what="for the pictures")
    _add_output(compare, "folder (default: A-vs-B beside B, or A-vs-B-2 where that exists)", required=False)


def _convert(convert: argparse.ArgumentParser) -> None:
    convert.add_argument("style", choices=("mdetr", "huggingface"))
    convert.add_argument("results", type=path_option, help="see docs/reference/predictions.md for what is accepted")
    _add_data(convert)
    _add_output(convert, "the .jsonl to write", "FILE")


def _sweep(sweep: argparse.ArgumentParser) -> None:
    _add_data(sweep)
    _add_images(sweep, what="use such as nothing is finally reported on")
    sweep.add_argument("--image-size", type=at_least_1, metavar="PX", help="show the network pictures of this side")
    sweep.add_argument(
        "--every", type=at_least_1, default=1, metavar="N", help="use every N-th photograph only (default: 1)"
    )
    sweep.add_argument("--halves", action="store_true", help="choose on every other photograph, report on the rest")
    sweep.add_argument("grid", nargs="*", metavar="KEY=VALUE,VALUE", help="for example regions.gamma=0.2,0.3")
    add_localizer_options(sweep)


def _misses(misses: argparse.ArgumentParser) -> None:
    _add_data(misses)
    _add_images(misses)
    misses.add_argument("--count", type=at_least_1, default=100, metavar="N", help="draw at most N (default: 100)")
    misses.add_argument("--seed", type=int, default=0, help="of the choice (default: 0)")
    _add_output(misses, "folder for sheets and misses.csv")
    add_localizer_options(misses)


def _control(control: argparse.ArgumentParser) -> None:
    control.add_argument("run", type=path_option, help="the --output of a run")
    control.add_argument("--seed", type=int, default=0, help="of the exchange (default: 0)")


def _add_output(parser: argparse.ArgumentParser, what: str, metavar: str = "DIR", required: bool = True) -> None:
    parser.add_argument("--output", type=path_option, required=required, metavar=metavar, help=what)
    parser.add_argument("--overwrite", action="store_true", help="replace what --output holds")


def _add_data(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--annotations", type=path_option, required=True, metavar="PATH", help="Flickr30k Entities: a folder or the zip"
    )
    parser.add_argument("--split", default="val", metavar="NAME", help="train, val or test (default: val)")


def _add_images(parser: argparse.ArgumentParser, required: bool = True, what: str = "") -> None:
    places = "photographs: a folder, a zip, or uncompressed tars"
    text = f"{places}; {what}" if what else places
    parser.add_argument("--images", type=path_option, nargs="+", required=required, metavar="PATH", help=text)
