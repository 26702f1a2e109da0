"""`python -m grounding.train CONFIG [key=value ...]`: train a tag classifier from pictures with captions."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from grounding.commands import Parser, exit_status

EPILOG = """\
examples:
  python -m grounding.train configs/embedded.yaml
  python -m grounding.train configs/web-alt-text.yaml output=runs/mine data.sources=[my-pictures] tags=300
  torchrun --nproc-per-node 2 -m grounding.train configs/resnet50-flickr30k.yaml device=cuda

The classifier is written to OUTPUT/classifier; --classifier of localize and evaluate takes that folder. Run the same
command again to go on after an interruption. docs/training.md explains every key.

exit status: 0 done; 2 bad input, said in one line; 130 interrupted."""


def build_parser() -> argparse.ArgumentParser:
    """The options, without importing anything heavy."""
    parser = Parser(
        prog="python -m grounding.train",
        description="Train a tag classifier from pictures with captions, with or without a teacher.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("config", type=Path, help="a YAML file, for example configs/embedded.yaml")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="changes one key, for example epochs=3")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    options = build_parser().parse_args(arguments)
    interrupted = "interrupted: run the same command again to go on after the last finished epoch"
    return exit_status(lambda: _train(options), interrupted)


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
