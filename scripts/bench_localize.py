"""Time per photograph with six phrases, warm, and of the walk for their words: python scripts/bench_localize.py."""

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable

import torch

import grounding
from grounding.methods import contrastive_mwp

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

    localizer = grounding.Localizer.from_pretrained(options.classifier)
    image = grounding.sample_scene()
    caption = ", ".join(PHRASES)
    scene = localizer.encode(image)
    tags = {match.tag for grounded in scene.ground(caption, PHRASES) for match in grounded.words if match.tag}
    signals, maps = localizer.classifier.signals(sorted(tags)), localizer.config.maps
    record = {
        "total_s": median_s(lambda: localizer.encode(image).ground(caption, PHRASES), options.repeats),
        "encode_s": median_s(lambda: localizer.encode(image), options.repeats),
        "ground_again_s": median_s(lambda: scene.ground(caption, PHRASES), options.repeats),  # word maps are kept
        "attention_s": median_s(lambda: contrastive_mwp(scene.encoding, signals, maps), options.repeats),
        "phrases": len(PHRASES),
        "signals": len(signals),
        "image_px": list(image.shape[:2]),
        "network_px": localizer.classifier.preprocessing.image_size_px,
        "repeats": options.repeats,
        "threads": options.threads,
        "torch": torch.__version__,
        "processor": platform.processor() or platform.machine(),
    }
    print(json.dumps({key: round(v, 4) if isinstance(v, float) else v for key, v in record.items()}, indent=2))


if __name__ == "__main__":
    main()
