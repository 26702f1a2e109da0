"""`python -m grounding.train CONFIG [key=value ...]`: train a tag classifier from pictures with captions or labels."""

import argparse
import sys
from collections.abc import Sequence

from grounding.commands import exit_status
from grounding.errors import GroundingError, check_at_least_one
from grounding.training.options import (
    build_captions_parser,
    build_human_maps_parser,
    build_labels_parser,
    build_parser,
    build_presence_parser,
)
from grounding.wording import counted


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments and arguments[0] == "captions":
        table = build_captions_parser().parse_args(arguments[1:])
        return exit_status(lambda: _write_table(table))
    if arguments and arguments[0] == "labels":
        labels = build_labels_parser().parse_args(arguments[1:])
        return exit_status(lambda: _write_labels(labels))
    if arguments and arguments[0] == "human-maps":
        packed = build_human_maps_parser().parse_args(arguments[1:])
        return exit_status(lambda: _unpack_human_maps(packed))
    if arguments and arguments[0] == "presence":
        asked = build_presence_parser().parse_args(arguments[1:])
        return exit_status(lambda: _fit_presence(asked))
    options = build_parser().parse_args(arguments)
    return exit_status(lambda: _train(options), "run the same command again to go on after the last finished epoch")


def _write_table(options: argparse.Namespace) -> int:
    from grounding.datasets.captions import write_table

    count = write_table(options.captions, options.format, options.photographs, options.output, options.without)
    print(f"{counted(count, 'photograph')}: {options.output}")
    return 0


def _write_labels(options: argparse.Namespace) -> int:
    from grounding.datasets.box_maps import write_boxes
    from grounding.datasets.label_tables import read_labels, write_labels
    from grounding.datasets.marks import NO_OBJECT

    if options.boxes and options.boxes.resolve() == options.output.resolve():
        raise GroundingError(f"--output and --boxes are both {options.output}: expected two tables")
    if options.boxes and options.format == "folders":
        raise GroundingError("--boxes needs boxes, which pictures in folders do not have: leave it out")
    pictures = read_labels(options.format, options.root, options.split)
    count = write_labels(pictures, options.output)
    if options.boxes:
        write_boxes(pictures, options.boxes)
    without = pictures.left_out.get(NO_OBJECT, 0)
    print(
        f"{counted(count, 'picture')}: {options.output}"
        + (f" (left out: {without:,} {NO_OBJECT})" if without else "")
        + (f"; boxes: {options.boxes}" if options.boxes else "")
    )
    return 0


def _unpack_human_maps(options: argparse.Namespace) -> int:
    from tqdm import tqdm

    from grounding.datasets.clickme_unpack import MAPS, TABLE, total_bytes, unpack

    with tqdm(total=total_bytes(options.shards), unit="B", unit_scale=True) as bar:
        count, without = unpack(options.shards, options.output, bar.update)
    lacking = "".join(f"; {number:,} {reason}" for reason, number in without.items())
    maps = counted(count - sum(without.values()), "map")
    print(f"{counted(count, 'picture')}: {options.output / TABLE}; {maps}: {options.output / MAPS}{lacking}")
    return 0


def _fit_presence(options: argparse.Namespace) -> int:
    check_at_least_one("--limit", options.limit)
    if not options.classifier.is_dir():
        raise GroundingError(
            f"{options.classifier} is no folder: expected that of a classifier, to write presence.json into"
        )
    from tqdm import tqdm

    from grounding.datasets.columns import TableOptions
    from grounding.datasets.webimages import CaptionedImages
    from grounding.tagging.classifier import PRESENCE
    from grounding.tagging.presence import write_presence
    from grounding.tagging.sources import load_tag_classifier
    from grounding.training.presence import FEW, fit_presence

    classifier = load_tag_classifier(options.classifier)
    images = CaptionedImages(options.sources, TableOptions(caption_column=options.caption_column, phrases_column=""))
    with tqdm(total=min(options.limit, len(images)), unit=" pictures") as bar:
        model = fit_presence(classifier, images, options.limit, bar.update)
    write_presence(model, options.classifier / PRESENCE)
    told = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in model.recipe.items() if key != "features")
    print(f"{options.classifier / PRESENCE}: {told}; a phrase below {model.threshold:.3f} is absent")
    if (count := model.recipe["phrases_of_others"]) < FEW:
        print(
            f"warning: only {counted(count, 'phrase')} of others, each of the next picture: a table that is sorted by "
            "label wants shuffling, and a small one more pictures",
            file=sys.stderr,
        )
    return 0


def _train(options: argparse.Namespace) -> int:
    from grounding.config import given, load
    from grounding.training.config import TrainConfig

    if given(options.config, options.overrides).get("model") == "clip":
        return _train_clip(options)
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


def _train_clip(options: argparse.Namespace) -> int:
    from grounding.config import load
    from grounding.training.clip.config import ClipConfig

    config = load(ClipConfig, options.config, options.overrides)

    from tqdm import tqdm

    from grounding.training.clip.run import train_clip

    print(f"clip: {train_clip(config, lambda text: tqdm.write(text, file=sys.stderr))}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
