"""Flickr30k Entities as a data set of classes: the most frequent head nouns of its phrases."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np

from grounding.datasets.files import Photographs
from grounding.datasets.flickr30k import EntityImage, Flickr30kEntities
from grounding.datasets.labelled import ClassRegion, LabelledImage, LabelledImages
from grounding.errors import GroundingError
from grounding.text.kinds import noun_forms
from grounding.text.phrases import find_phrases

CLASSES: Final = 40


def read_entity_words(root: Path, places: Sequence[Path], split: str = "val", count: int = CLASSES) -> LabelledImages:
    """Read the pictures of a split, with the boxes of every chain that a phrase with this head noun names.

    A plural is the class of its singular where that is a head noun, too: `men` are of class `man`. The classes are the
    most frequent ones of the phrases with a box in the whole split, whatever photographs are there; one is as likely
    to be the other's synonym (`man`, `person`) as it is to be another thing.

    Args:
        root: the annotations, as `Flickr30kEntities` takes them.
        places: folders, zips or tars of photographs.
        count: how many classes.

    Raises:
        GroundingError: no photograph is of this split, or what the annotations refuse.
    """
    photographs = Photographs(places)
    images = list(Flickr30kEntities(root).read(split))
    heads = {
        text: find_phrases("", [text])[0].head.lower() for text in {p.text for i in images for p in i.boxed_phrases}
    }
    frequency = Counter(heads[phrase.text] for image in images for phrase in image.boxed_phrases)
    singular = {head: next((f for f in _singulars(head) if f in frequency), head) for head in frequency}
    merged: Counter[str] = Counter()
    for head, number in frequency.items():
        merged[singular[head]] += number
    classes = tuple(sorted(merged, key=lambda name: (-merged[name], name))[:count])
    class_of = {text: singular[head] for text, head in heads.items()}
    present = [image for image in images if image.id in photographs]
    if not present:
        raise GroundingError(f"none of the photographs belongs to the {len(images):,} images of split '{split}'")
    labelled = [_labelled(image, classes, class_of) for image in present]
    kept = [image for image in labelled if image.regions]
    left_out = {
        "images of the split without a photograph": len(images) - len(present),
        "photographs without a phrase of these classes": len(present) - len(kept),
    }
    left_out = {reason: number for reason, number in left_out.items() if number}
    name = f"Flickr30k Entities {split}, {len(classes)} head nouns"
    return LabelledImages(name, classes, kept, photographs.read, left_out, (root, *places))


def _singulars(noun: str) -> list[str]:
    """What a noun can be the plural of, and itself."""
    return ["man"] if noun == "men" else noun_forms(noun)[::-1]


def _labelled(image: EntityImage, classes: Sequence[str], class_of: dict[str, str]) -> LabelledImage:
    chains: dict[str, dict[str, None]] = {name: {} for name in classes}
    for phrase in image.boxed_phrases:
        if class_of[phrase.text] in chains:
            chains[class_of[phrase.text]][phrase.chain] = None
    regions = [
        ClassRegion(name, np.concatenate([image.boxes[chain] for chain in named]))
        for name, named in chains.items()
        if named
    ]
    return LabelledImage(image.id, image.width, image.height, tuple(regions))
