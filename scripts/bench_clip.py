"""What CLIPs of the usual sizes cost: milliseconds a picture and a phrase, and how much signal gets to the map.

The networks have random weights, which do not change what they cost; that share is not that of trained ones. Nothing
is downloaded. `python scripts/bench_clip.py ViT-B-16 siglip-base` prints a row for each network.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

from grounding.attention import readings, record, text_signal
from grounding.attention.layers import layers_of_stride, mixed
from grounding.attention.mass import Reading
from grounding.config import CLIP_DEPTH

Tower = Callable[[Tensor], Tensor]
PHRASES = 6
ROUNDS = 3


def open_clip_tower(name: str) -> tuple[Tower, int, int]:
    """The tower for pictures, the side of a picture in px and the size of an embedding."""
    import open_clip

    model: Any = open_clip.create_model(name).eval()
    size = model.visual.image_size
    return model.encode_image, size if isinstance(size, int) else size[0], open_clip.get_model_config(name)["embed_dim"]


def siglip_base() -> tuple[Tower, int, int]:
    """`SiglipModel` of transformers in its default size, which is that of `google/siglip-base-patch16-224`."""
    import transformers

    model: Any = transformers.SiglipModel(transformers.SiglipConfig()).eval()
    side, size = model.config.vision_config.image_size, model.config.vision_config.hidden_size
    return lambda images: model.get_image_features(pixel_values=images).pooler_output, side, size


def measure(name: str) -> tuple[str, ...]:
    """A row of the table."""
    torch.manual_seed(0)
    tower, side, size = siglip_base() if name == "siglip-base" else open_clip_tower(name)
    images, text = torch.randn(1, 3, side, side), nn.functional.normalize(torch.randn(PHRASES, size), dim=1)
    rounds = [_round(tower, images, text) for _ in range(ROUNDS)]
    times, reading = [median(row) for row in zip(*(times for times, _ in rounds), strict=True)], rounds[0][1]
    forward, recorded, walked = (1000 * time_s for time_s in times)
    cells = f"{forward:.0f}", f"{recorded:.0f}", f"{walked / PHRASES:.0f}", f"{100 * float(reading.mass.mean()):.1f}%"
    return name, f"{side} px", " x ".join(map(str, reading.maps.shape[-2:])), *cells


def _round(tower: Tower, images: Tensor, text: Tensor) -> tuple[tuple[float, float, float], Reading]:
    """Seconds of a forward pass, of a recorded one and of the walk of all texts, and what the walk found."""
    start = time.perf_counter()
    with torch.no_grad():
        tower(images)
    forward = time.perf_counter()
    tape = record(tower, images)
    recorded = time.perf_counter()
    found = mixed(tape, layers_of_stride(tape, 16, closest=True))
    layer = found[round(CLIP_DEPTH * (len(found) - 1))]
    (reading,) = readings(tape, text_signal(tape, text, contrast=True), [layer], contrast=False, watch="mean")
    end = time.perf_counter()
    return (forward - start, recorded - forward, end - recorded), reading


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a row for each network."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="+", help="architectures of open_clip, or siglip-base")
    print(f"| network | picture | map | forward ms | recorded ms | ms a phrase of {PHRASES} | arrives at the places |")
    print("|---|---|---|---|---|---|---|")
    for name in parser.parse_args(arguments).names:
        print(f"| {' | '.join(measure(name))} |")


if __name__ == "__main__":
    main()
