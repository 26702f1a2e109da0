"""`python -m grounding.export --output FILE`: the localizer or its classifier as an ONNX file for other runtimes."""

import argparse
import sys
from collections.abc import Sequence

from grounding.commands import Parser, exit_status, path_option
from grounding.wording import counted

EPILOG = """\
examples:
  python -m grounding.export --output localizer.onnx
  python -m grounding.export --what classifier --classifier torchvision:resnet50 --output resnet50.onnx

The localizer takes pictures and the tags of words and gives tag probabilities and word maps, in one file that runs
without Python: onnxruntime, also on phones and in browsers. It is there for plain networks, such as embedded. A
description, with the tags, is in the file's metadata and in FILE.json beside it. docs/guides/export.md explains both.

exit status: 0 done; 2 bad input, said in one line; 130 interrupted; 143 terminated (SIGTERM)."""


def build_parser() -> argparse.ArgumentParser:
    """The options."""
    parser = Parser(
        prog="python -m grounding.export",
        description="Write the localizer, or its classifier, as an ONNX file.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--classifier", default="embedded", metavar="SOURCE", help="as of localize (default: embedded)")
    parser.add_argument(
        "--what",
        default="localizer",
        choices=["localizer", "classifier"],
        help="tag probabilities and word maps (default), or tag probabilities alone",
    )
    parser.add_argument("--output", required=True, type=path_option, metavar="FILE", help="such as localizer.onnx")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    options = build_parser().parse_args(arguments)
    return exit_status(lambda: _export(options))


def _export(options: argparse.Namespace) -> int:
    from grounding.exporting.onnx_file import check_packages, check_writable, write_onnx
    from grounding.tagging.sources import load_tag_classifier

    check_packages()
    check_writable(options.output)  # before the weights are fetched
    classifier = load_tag_classifier(options.classifier)
    written = write_onnx(classifier, options.what, options.output)
    print(
        f"{options.output}: {options.what} of {classifier.name}, {counted(len(classifier.tags), 'tag')}, "
        f"{written.size_bytes / 1e6:.1f} MB; its description: {options.output}.json"
    )
    for name, sizes in written.inputs.items():
        print(f"  {name} ({', '.join(map(str, sizes))})")
    if written.runtime is None:
        print("not run: onnxruntime is not installed (pip install onnxruntime)")
    else:
        print(f"onnxruntime {written.runtime} differs from PyTorch by {written.difference:.0e} of the largest value")
    return 0


if __name__ == "__main__":
    sys.exit(main())
