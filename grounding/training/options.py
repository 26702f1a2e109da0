"""The options of the train command line."""

import argparse

from grounding.commands import Parser, path_option
from grounding.datasets.captions import CAPTION_FORMATS
from grounding.datasets.label_tables import LABEL_FORMATS

EPILOG = """\
examples:
  python -m grounding.train configs/embedded.yaml
  python -m grounding.train configs/web-alt-text.yaml output=runs/mine data.sources=[my-pictures] tags=300
  torchrun --nproc-per-node 2 -m grounding.train configs/resnet50-flickr30k.yaml device=cuda

The classifier is written to OUTPUT/classifier; --classifier of localize and evaluate takes that folder. Run the same
command again to go on after an interruption. docs/guides/training.md explains every key.

`python -m grounding.train captions --help`: how to make a table of the captions of Flickr30k or COCO for data.sources.
`python -m grounding.train labels --help`: the same of the classes in folders, VOC, COCO or CUB.
`python -m grounding.train human-maps --help`: how to unpack pictures of ClickMe with their maps for human_maps.source.
`python -m grounding.train presence --help`: how to calibrate the presence of phrases for a trained classifier.

exit status: 0 done; 2 bad input, said in one line; 130 interrupted; 143 terminated (SIGTERM)."""

CAPTIONS_EPILOG = """\
examples:
  python -m grounding.train captions flickr30k results_20130124.token flickr30k-images \\
      --output flickr30k-train.jsonl --without val.txt test.txt
  python -m grounding.train captions coco annotations/captions_train2017.json train2017 --output coco-train.jsonl

Each line of the table is {"image": path relative to the table, "caption": [its captions]}. The photographs themselves
are not read."""

LABELS_EPILOG = """\
examples:
  python -m grounding.train labels folders --root my-pictures --output labels.jsonl
  python -m grounding.train labels voc --root VOCdevkit/VOC2007 --split trainval --output voc07-trainval.jsonl
  python -m grounding.train labels coco --root coco --split train2014 --output coco-train2014.jsonl
  python -m grounding.train labels cub --root CUB_200_2011 --split train --output cub-train.jsonl

`folders` are one for each class, whose name is the label: my-pictures/kitten/001.jpg.

Each line of the table is {"image": path relative to the table, "labels": [classes in it], "id": its id in the data
set}: no box is written there. Objects that are difficult or a crowd do not count, and pictures without any other are
left out. data.label_column=labels makes a training learn them.

--boxes TABLE writes a second table, {"id": its id, "boxes": [[x0, y0, x1, y1], ...], "width": , "height": } a line, in
which boxes stand in for maps of people: human_maps.source=[TABLE]. This is the one place where a box is written for a
training."""

HUMAN_MAPS_EPILOG = """\
examples:
  python -m grounding.train human-maps clickme_train.tfrecords --output clickme
  python -m grounding.train human-maps "click-me/train-*.tfrecords" --output harmonization
  python -m grounding.train human-maps PseudoClickMe/train/*.pth --output pseudo

OUTPUT/pictures has the pictures, OUTPUT/maps a .npy (h, w) for each that was clicked in, and each line of
OUTPUT/table.jsonl is {"image": "pictures/...", "labels": ["number of its class"], "id": name of its map}. A training
takes them as data.sources=[OUTPUT/table.jsonl] data.label_column=labels human_maps.source=[OUTPUT/maps].

TFRecord is read without TensorFlow, .pth as weights only. The CSV and HDF5 files of ClickMe 2.0 hold no pictures: give
them to human_maps.source as they are."""

PRESENCE_EPILOG = """\
examples:
  python -m grounding.train presence runs/mine/classifier my-pictures
  python -m grounding.train presence runs/mine/classifier labels.jsonl --caption-column labels

Phrases of each picture's captions are told from phrases of another picture's captions that its own do not mention.
Pictures that the classifier was not trained on are better."""


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


def build_labels_parser() -> argparse.ArgumentParser:
    """The options of `labels`."""
    parser = Parser(
        prog="python -m grounding.train labels",
        description="Write the classes in the pictures of a data set as a table for data.sources of a training.",
        epilog=LABELS_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("format", choices=LABEL_FORMATS)
    parser.add_argument("--root", type=path_option, required=True, metavar="DIR", help="the data set's folder")
    parser.add_argument("--split", help="such as trainval (voc), train2014 (coco), train (cub); folders have none")
    parser.add_argument("--output", type=path_option, required=True, metavar="TABLE", help="the .jsonl to write")
    parser.add_argument(
        "--boxes", type=path_option, metavar="TABLE", help="the .jsonl to write boxes to that stand in for human maps"
    )
    return parser


def build_human_maps_parser() -> argparse.ArgumentParser:
    """The options of `human-maps`."""
    parser = Parser(
        prog="python -m grounding.train human-maps",
        description="Unpack pictures of ClickMe and where people clicked in them, for a training.",
        epilog=HUMAN_MAPS_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("shards", nargs="+", metavar="SHARD", help="TFRecord files, or .pth files of Pseudo-ClickMe")
    parser.add_argument("--output", type=path_option, required=True, metavar="FOLDER", help="a new folder to write")
    return parser


def build_presence_parser() -> argparse.ArgumentParser:
    """The options of `presence`."""
    parser = Parser(
        prog="python -m grounding.train presence",
        description="Calibrate, without boxes, how probable it is that a picture shows a phrase, for a classifier.",
        epilog=PRESENCE_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("classifier", type=path_option, help="its folder, which presence.json is written into")
    parser.add_argument("sources", nargs="+", help="pictures with captions, as data.sources of a training")
    parser.add_argument("--limit", type=int, default=4000, metavar="N", help="pictures at most (default: %(default)s)")
    parser.add_argument("--caption-column", metavar="NAME", help="of a table, with the captions, or with labels")
    return parser
