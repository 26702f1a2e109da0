"""Time per photograph with six phrases, warm, and where it goes: python scripts/bench_localize.py.

`total_s` is `encode_s`, `attention_s` and `ground_again_s` together. Parts of `encode_s` are `preprocessing_s`,
`proposals_s`, and `network_s`: the forward pass without the recording.
"""

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

import grounding
from grounding.config import MapConfig
from grounding.methods import Encoding, contrastive_mwp
from grounding.regions.proposals import propose

PHRASES = ("a man", "a red hat", "a black coat", "a camera", "green grass", "a tall building")


def median_s(action: Callable[[], object], repeats: int) -> float:
    """The median time of an action, after two rounds of warming up."""
    times = []
    for _ in range(repeats + 2):
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
    return statistics.median(times[2:])


def main() -> None:
    """Print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--classifier", default="embedded")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)

    walks: list[tuple[Encoding, Tensor, MapConfig]] = []

    def noted(encoding: Encoding, signals: Tensor, config: MapConfig) -> Tensor:
        walks[:] = [(encoding, signals, config)]
        return contrastive_mwp(encoding, signals, config)

    localizer = grounding.Localizer.from_pretrained(options.classifier, method=noted)
    image = grounding.sample_scene()
    caption = ", ".join(PHRASES)
    scene = localizer.encode(image)
    scene.ground(caption, PHRASES)
    walk = walks[0]  # for the words, and for what says where people end
    classifier, images = localizer.classifier, scene.encoding.images
    with torch.no_grad():
        network_s = median_s(lambda: classifier.evidence(images), options.repeats)
    record = {
        "total_s": median_s(lambda: localizer.encode(image).ground(caption, PHRASES), options.repeats),
        "encode_s": median_s(lambda: localizer.encode(image), options.repeats),
        "ground_again_s": median_s(lambda: scene.ground(caption, PHRASES), options.repeats),  # word maps are kept
        "attention_s": median_s(lambda: contrastive_mwp(*walk), options.repeats),
        "preprocessing_s": median_s(lambda: classifier.preprocessing(image), options.repeats),
        "proposals_s": median_s(lambda: propose(image, localizer.config.regions), options.repeats),
        "network_s": network_s,
        "phrases": len(PHRASES),
        "signals": len(walk[1]),
        "image_px": list(image.shape[:2]),
        "network_px": classifier.preprocessing.image_size_px,
        "repeats": options.repeats,
        "threads": options.threads,
        "torch": torch.__version__,
        "processor": platform.processor() or platform.machine(),
    }
    print(json.dumps({key: round(v, 4) if isinstance(v, float) else v for key, v in record.items()}, indent=2))


if __name__ == "__main__":
    main()
