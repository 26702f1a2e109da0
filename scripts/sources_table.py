"""The table of docs/guides/sources.md: what each source gives, loaded from its real format, walked and measured.

    python scripts/sources_table.py [timm:mobilenetv1_100=FOLDER ...]

Weights of timm and transformers are random, made and saved here by the libraries themselves, where none are named:
nothing is downloaded. The mass is the share of the winning probability that gets to the layer that is read, of the
signal that loses most.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"

import timm
import torch
import torchvision
import transformers
from safetensors.torch import save_file

from grounding.attention import readings
from grounding.config import MapConfig
from grounding.errors import GroundingError
from grounding.images import sample_scene
from grounding.methods import METHODS, encode, map_place
from grounding.tagging.classifier import TagClassifier
from grounding.tagging.sources import load_classifier

PHRASES = 8
HEAD = "| source | weights | loaded | map | mass | forward pass, ms | ms a phrase |\n|---|---|---|---|---|---|---|"


def main() -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sources", nargs="*", help="others, with weights of their own")
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    versions = f"torch {torch.__version__}, torchvision {torchvision.__version__}, timm {timm.__version__}, "
    print(f"{versions}transformers {transformers.__version__}; {PHRASES} phrases, {torch.get_num_threads()} threads\n")
    print(HEAD)
    warnings.simplefilter("ignore")
    transformers.utils.logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as folder:
        made = [(source, "random") for source in saved(Path(folder))]
        for source, weights in [("embedded", "trained"), *((each, "trained") for each in options.sources), *made]:
            print(row(source, weights, options.runs, folder), flush=True)
    return 0


def saved(folder: Path) -> list[str]:
    """Networks of random weights, each in the format of its library."""
    torch.manual_seed(0)
    save_file(torchvision.models.resnet50().state_dict(), folder / "resnet50.safetensors")
    sources = [f"torchvision:resnet50={folder}/resnet50.safetensors"]
    for name in ("resnet50", "convnext_tiny", "vit_small_patch16_224"):
        (folder / name).mkdir()
        save_file(timm.create_model(name).state_dict(), folder / name / "model.safetensors")
        (folder / name / "config.json").write_text(json.dumps({"architecture": name, "num_classes": 1000}))
        sources.append(f"timm:{name}={folder / name}")
    names = {index: f"thing {index}, word {index}" for index in range(1000)}
    config = {"id2label": names, "label2id": {name: index for index, name in names.items()}}
    networks = {
        "ViT": transformers.ViTForImageClassification(transformers.ViTConfig(**config)),
        "ResNet": transformers.ResNetForImageClassification(transformers.ResNetConfig(**config)),
        "Swin": transformers.SwinForImageClassification(transformers.SwinConfig(**config)),
    }
    for name, network in networks.items():
        network.save_pretrained(folder / name)
        transformers.ViTImageProcessor(size={"height": 224, "width": 224}).save_pretrained(folder / name)
        sources.append(f"hf:{folder / name}")
    return sources


def row(source: str, weights: str, runs: int, folder: str) -> str:
    """A line of the table; what is refused says why."""
    shown = source.replace(f"{folder}/", "").replace(folder, "")
    try:
        classifier = load_classifier(source)
        assert isinstance(classifier, TagClassifier)
        images = classifier.preprocessing(sample_scene())
        signals = classifier.signals(classifier.tags[:PHRASES])
        encoding = encode(classifier, images)
        place = map_place(encoding, MapConfig())
        (found,) = readings(encoding.tape, signals, [place], contrast=False, watch="each")
        height, width = found.maps.shape[-2:]
        passes, walks = [], []
        for _ in range(runs):
            passes.append(timed(lambda: encode(classifier, images)))
            walks.append(timed(lambda: METHODS["contrastive_mwp"](encode(classifier, images), signals, MapConfig())))
        mass = float(found.mass.min())
    except GroundingError as error:
        return f"| {shown} | {weights} | {error} | | | | |"
    forward, walk = statistics.median(passes), statistics.median(walks)
    each = max(walk - forward, 0) / PHRASES
    return f"| {shown} | {weights} | yes | {height} x {width} | {mass:.2g} | {forward:.0f} | {each:.0f} |"


def timed(run: Callable[[], object]) -> float:
    """Milliseconds."""
    start = time.perf_counter()
    run()
    return 1000 * (time.perf_counter() - start)


if __name__ == "__main__":
    sys.exit(main())
