"""`grounding COMMAND ...`, also `python -m grounding COMMAND ...`: the command lines under one name."""

import argparse
import importlib
import importlib.metadata
import platform
import sys
from collections.abc import Sequence
from typing import NoReturn

from grounding import __version__
from grounding.commands import Parser

_COMMANDS = {
    "localize": "a caption and a picture in, a region for every phrase out",
    "demo": "the same in a page of the browser",
    "annotate": "draft boxes from captions or labels, and let people correct them in a page",
    "evaluate": "score a localizer, or anybody's predictions, on Flickr30k Entities",
    "train": "train a tag classifier from pictures with captions",
    "clickme": "a game in which people show a classifier what matters in a picture",
    "export": "the localizer or its classifier as an ONNX file for other runtimes",
    "serve": "answer another tool over HTTP: a backend for Label Studio",
}
_TOLD = ("torch", "torchvision", "numpy", "pillow")  # what results and errors depend on most


class _Versions(argparse.Action):
    """Prints what a report of a fault needs, as one line; imports none of it."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        sys.stdout.write(versions() + "\n")
        parser.exit()


def versions() -> str:
    """The version of this package, of Python and of what it stands on, and the platform, as one line."""
    said = [f"{package} {_version(package)}" for package in _TOLD]
    return f"grounding {__version__} (Python {platform.python_version()}, {', '.join(said)}, {platform.platform()})"


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "missing"


def build_parser() -> argparse.ArgumentParser:
    """The commands; the options that follow are the command's own."""
    parser = Parser(prog="grounding", description="Find the region each phrase of a caption talks about.")
    parser.add_argument("--version", action=_Versions, nargs=0, help="print the versions that a report needs")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, text in _COMMANDS.items():
        commands.add_parser(name, help=text, add_help=False)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one of the command lines and return its exit status."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    command = build_parser().parse_args(given[:1]).command
    status: int = importlib.import_module(f"grounding.{command}").main(given[1:])
    return status


if __name__ == "__main__":
    sys.exit(main())
