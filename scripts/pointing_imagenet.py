"""The pointing game on COCO with an ImageNet classifier: MobileNet v1, whose tags exclude each other.

    python scripts/pointing_imagenet.py --root ../shared/data/coco-val2017-281.tar \\
        --weights ../shared/weights/mobilenetv1_100_imagenet.safetensors --output runs/coco-mobilenet

A category of COCO stands for every ImageNet class that is a kind of it by WordNet; see `benchmarks/signals.py`. The
few people of ImageNet are named below, because WordNet takes black widows for people.
"""

import argparse
import sys
from pathlib import Path

import timm
from safetensors.torch import load_file
from torchvision.models import get_model_weights

from grounding.benchmarks.data import Source
from grounding.benchmarks.measurer import Job
from grounding.benchmarks.methods import MapMaker, read_map_config
from grounding.benchmarks.names import parse_methods
from grounding.benchmarks.page import draw, metrics_table
from grounding.benchmarks.run import run_benchmark
from grounding.errors import GroundingError
from grounding.tagging.classifier import Preprocessing, TagClassifier

PEOPLE = ["ballplayer", "groom", "scuba diver"]
METHODS = "contrastive-mwp,mwp,grad-cam,cam,gradient,lrp,center"  # guided and deconv need ReLU, and this has ReLU6
HALF = (0.5, 0.5, 0.5)


def main() -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--split", default="val2017")
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--size", type=int, default=384, help="side of the network's input in px")
    parser.add_argument("--methods", default=METHODS)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="such as maps.bias=share")
    parser.add_argument("--limit", type=int)
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    try:
        classifier = mobilenet(options.weights, options.size)
        source = Source("coco", options.root, options.split, limit=options.limit)
        makers = tuple(MapMaker(name) for name in parse_methods(options.methods))
        config = read_map_config(None, options.set)
        job = Job("pointing", source, classifier.name, makers, config, given={"person": PEOPLE})
        metrics = run_benchmark(
            job, options.output, draw, lambda text: print(text, file=sys.stderr), None, 1, False, classifier
        )
    except GroundingError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(metrics_table(metrics or {}), end="")
    return 0


def mobilenet(weights: Path, size_px: int) -> TagClassifier:
    """MobileNet v1 with these weights, its batch normalisation folded, under torchvision's names of the classes."""
    network = timm.create_model("mobilenetv1_100", pad_type="same").eval()
    network.load_state_dict(load_file(weights))
    tags = [name.lower() for name in get_model_weights("resnet50").DEFAULT.meta["categories"]]
    name = f"MobileNet v1 (ImageNet), {size_px} px"
    return TagClassifier(network, tags, Preprocessing(size_px, HALF, HALF), name, multi_label=False)


if __name__ == "__main__":
    sys.exit(main())
