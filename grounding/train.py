"""`python -m grounding.train CONFIG [key=value ...]`: train a tag classifier from pictures with captions."""

import argparse
import sys
from collections.abc import Sequence

from grounding.commands import Parser, exit_status, path_option
from grounding.datasets.captions import CAPTION_FORMATS, write_table
from grounding.wording import counted

EPILOG = """\
examples:
  python -m grounding.train configs/embedded.yaml
  python -m grounding.train configs/web-alt-text.yaml output=runs/mine data.sources=[my-pictures] tags=300
  torchrun --nproc-per-node 2 -m grounding.train configs/resnet50-flickr30k.yaml device=cuda

The classifier is written to OUTPUT/classifier; --classifier of localize and evaluate takes that folder. Run the same
command again to go on after an interruption. docs/training.md explains every key.

`python -m grounding.train captions --help`: how to make a table of the captions of Flickr30k or COCO for data.sources.

exit status: 0 done; 2 bad input, said in one line; 130 interrupted; 143 terminated (SIGTERM)."""

CAPTIONS_EPILOG = """\
examples:
  python -m grounding.train captions flickr30k results_20130124.token flickr30k-images \\
      --output flickr30k-train.jsonl --without val.txt test.txt
  python -m grounding.train captions coco annotations/captions_train2017.json train2017 --output coco-train.jsonl

Each line of the table is {"image": path relative to the table, "caption": [its captions]}. The photographs themselves
are not read."""


def build_parser() -> argparse.ArgumentParser:
    """The options of a training, without importing anything heavy."""
    parser = Parser(
        prog="python -m grounding.train",
        description="Train a tag classifier from pictures with captions, with or without a teacher.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("config", type=path_option, help="a YAML file, for example configs/embedded.yaml")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="changes one key, for example epochs=3")
    return parser


def build_captions_parser() -> argparse.ArgumentParser:
    """The options of `captions`."""
    parser = Parser(
        prog="python -m grounding.train captions",
        description="Write the captions of Flickr30k or COCO as a table for data.sources of a training.",
        epilog=CAPTIONS_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("format", choices=CAPTION_FORMATS)
    parser.add_argument("captions", type=path_option, help="results_20130124.token, or captions_*.json")
    parser.add_argument("photographs", type=path_option, help="the folder they are in")
    parser.add_argument("--output", type=path_option, required=True, metavar="TABLE", help="the .jsonl to write")
    parser.add_argument(
        "--without", type=path_option, nargs="+", default=[], metavar="FILE", help="lists of photographs to leave out"
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments and arguments[0] == "captions":
        table = build_captions_parser().parse_args(arguments[1:])
        return exit_status(lambda: _write_table(table))
    options = build_parser().parse_args(arguments)
    return exit_status(lambda: _train(options), "run the same command again to go on after the last finished epoch")


def _write_table(options: argparse.Namespace) -> int:
    captions = CAPTION_FORMATS[options.format](options.captions)
    count = write_table(captions, options.photographs, options.output, options.without)
    print(f"{counted(count, 'photograph')}: {options.output}")
    return 0


def _train(options: argparse.Namespace) -> int:
    from grounding.config import load
    from grounding.training.config import TrainConfig

    config = load(TrainConfig, options.config, options.overrides)

    from tqdm import tqdm

    from grounding.distributed import processes
    from grounding.training.run import train

    with processes(config.device) as process:

        def say(text: str) -> None:
            if process.rank == 0:
                tqdm.write(text, file=sys.stderr)

        folder = train(config, process, say)
        if process.rank == 0:
            print(f"classifier: {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
