"""Derive grounding/regions/frames.npz: where on a person a piece of clothing or a part of the body is; without boxes.

    python tools/derive_frames.py "../shared/data/flickr-train-0000{0..4}.tar" --every 3

People of the captions are found as `Scene.ground` finds them. The word map of every tag that names clothing or a body
part is cut out in the frame of each person's best box, a quarter of the box beyond it on each side, and averaged with
the probability of the tag as weight; a picture counts once. A tag whose weights add up to less than `_LEAST` gets no
template.
"""

import argparse
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from grounding.datasets.webimages import CaptionedImages
from grounding.pipeline import Localizer, Scene
from grounding.regions import frames
from grounding.regions.maps import normalize
from grounding.text.tokens import stem
from grounding.text.wholes import attribute_kind, whole_kind

_LEAST = 3.0


def main() -> None:
    """Look at the pictures, average, and write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sources", nargs="+", help="pictures with captions, as data.sources of a training")
    parser.add_argument("--every", type=int, default=1, help="look at every N-th picture (default: 1, all)")
    parser.add_argument("--output", type=Path, default=Path(frames.__file__).with_name(frames.FRAMES_FILE))
    options = parser.parse_args()
    images = CaptionedImages(options.sources)
    localizer = Localizer.from_pretrained()
    sums: dict[str, Tensor] = defaultdict(lambda: torch.zeros(frames.CELLS, frames.CELLS))
    weights: dict[str, float] = defaultdict(float)
    chosen = range(0, len(images), options.every)
    for index in tqdm(chosen, unit=" pictures"):
        scene = localizer.encode(images.read(index))
        boxes = list(_people(scene, images.captions[index]))
        if not boxes:
            continue
        probabilities = scene.encoding.probabilities
        maps = normalize(torch.stack(list(scene.word_maps(localizer.part_tags).values())))
        cut = torch.stack([frames.cut_out(maps, box) for box in boxes]).mean(0)  # (K, CELLS, CELLS)
        for tag, map_ in zip(localizer.part_tags, cut, strict=True):
            weight = float(probabilities[localizer.classifier.indices[tag]])
            for word in (stem(tag), f"kind {attribute_kind(tag)}"):
                sums[word] += weight * map_
                weights[word] += weight
    words = sorted(word for word, weight in weights.items() if weight >= _LEAST)
    templates = torch.stack([sums[word] / sums[word].max() for word in words])
    np.savez_compressed(options.output, words=np.array(words), templates=templates.mul(255).round().byte().numpy())
    print(f"{len(words)} templates from {len(chosen):,} pictures: {options.output}")


def _people(scene: Scene, captions: Sequence[str]) -> Iterator[frames.Box]:
    """The best box of every differently named person or group of the captions, in shares of the sides."""
    height, width = scene.image.shape[:2]
    seen = set()
    for caption in captions:
        named = [phrase for phrase in scene.localizer.chunker.phrases(caption) if whole_kind(phrase.head) == "person"]
        people = [phrase.text for phrase in named if phrase.text not in seen and not phrase.negated]
        seen.update(people)
        if people:
            for found in scene.ground(caption, people, top_k=1):
                if found.best:
                    yield np.array(found.best.box) / [width, height, width, height]


if __name__ == "__main__":
    main()
