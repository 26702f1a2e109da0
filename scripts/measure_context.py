"""How often does the language of a caption alone say rightly what belongs to what?

    python scripts/measure_context.py --annotations flickr30k_entities.zip

Owners of clothing and body parts, which phrases name the same person, and which name several, of all captions of a
split of Flickr30k Entities, with its own phrases. The truth about owners is geometry, in clear cases only: the one
chain of people of the caption that has a box around at least 0.9 of every box of the attribute, in captions whose
people all have boxes.
"""

import argparse
import random
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from grounding.datasets.flickr30k import EntityImage, EntityPhrase, Flickr30kEntities
from grounding.text.context import PhraseContext, read_context
from grounding.text.phrases import Phrase, find_phrases

INSIDE = 0.9  # share of an attribute's box in a box of its owner
PRO_FORMS = frozenset({"one", "another", "the other", "both", "all", "some"})
ATTRIBUTES = frozenset({"clothing", "bodyparts"})


def main() -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--annotations", type=Path, required=True, help="Flickr30k Entities: a folder or zip")
    parser.add_argument("--split", default="val")
    parser.add_argument("--images", type=int, help="only so many, chosen at random (seed 0)")
    options = parser.parse_args()
    images = list(Flickr30kEntities(options.annotations).read(options.split))
    if options.images:
        images = random.Random(0).sample(images, options.images)
    counts: Counter[str] = Counter()
    times_ms = []
    for image in images:
        for sentence, caption in enumerate(image.captions):
            marked = [phrase for phrase in image.phrases if phrase.sentence == sentence]
            phrases = as_phrases(caption, marked)
            begin = time.perf_counter()
            context = read_context(caption, phrases)
            times_ms.append(1000 * (time.perf_counter() - begin))
            count_owners(counts, image, marked, context)
            count_mentions(counts, marked, context)
            count_several(counts, image, marked, context)
    report(options.split, len(images), counts, times_ms)
    return 0


def as_phrases(caption: str, marked: Sequence[EntityPhrase]) -> list[Phrase]:
    """The marked phrases as the package reads phrases that a user gives, at their own places in the caption."""
    found = find_phrases("", [phrase.text for phrase in marked])
    return [Phrase(f.text, m.start, m.end, f.head, f.negated) for f, m in zip(found, marked, strict=True)]


def true_owner(image: EntityImage, people: set[str], attribute: EntityPhrase) -> str | None:
    """The chain of people whose boxes hold an attribute's; None where it is none or more than one."""
    boxes = image.boxes.get(attribute.chain)
    if boxes is None:
        return None
    holders = [chain for chain in people if all(max(share_inside(box, image.boxes[chain])) >= INSIDE for box in boxes)]
    return holders[0] if len(holders) == 1 else None


def share_inside(box: np.ndarray, others: np.ndarray) -> list[float]:
    """The share of a box, `x0 y0 x1 y1`, that lies in each of the others."""
    width = np.minimum(box[2], others[:, 2]) - np.maximum(box[0], others[:, 0])
    height = np.minimum(box[3], others[:, 3]) - np.maximum(box[1], others[:, 1])
    area = (box[2] - box[0]) * (box[3] - box[1])
    return list(np.maximum(width, 0) * np.maximum(height, 0) / area)


def is_people(phrase: EntityPhrase) -> bool:
    """Say whether a phrase is annotated as people that can be seen, or stands for people ('one', 'another')."""
    return ("people" in phrase.types or phrase.text.lower() in PRO_FORMS) and phrase.chain != "0"


def count_owners(
    counts: Counter[str], image: EntityImage, marked: Sequence[EntityPhrase], context: Sequence[PhraseContext]
) -> None:
    """Owners of clothing and body parts, and the trivial answer: the nearest people phrase before."""
    people = {phrase.chain for phrase in marked if is_people(phrase) and phrase.chain in image.boxes}
    for i, (phrase, found) in enumerate(zip(marked, context, strict=True)):
        if not ATTRIBUTES.intersection(phrase.types):
            continue
        owner = marked[found.owner] if found.owner is not None else None
        has_owner = owner is not None and is_people(owner)
        before = [other for other in marked[:i] if is_people(other)]
        counts["attributes"] += 1
        counts["owned"] += has_owner
        counts["attributes with people"] += any(map(is_people, marked))
        counts["owned with people"] += has_owner
        counts["baseline owned"] += bool(before)
        truth = true_owner(image, people, phrase)
        if len(people) < 2 or truth is None:
            continue
        if not all(p.chain in image.boxes for p in marked if is_people(p)):
            counts["some without a box"] += 1
            continue
        counts["clear"] += 1
        counts["clear owned"] += has_owner
        counts["right"] += owner is not None and owner.chain == truth
        counts["baseline right"] += bool(before) and before[-1].chain == truth
        counts["baseline clear owned"] += bool(before)
        counts["baseline right where owned"] += has_owner and bool(before) and before[-1].chain == truth


def count_mentions(counts: Counter[str], marked: Sequence[EntityPhrase], context: Sequence[PhraseContext]) -> None:
    """Pairs of phrases of people, a later one and the first that names the same."""
    first: dict[str, int] = {}
    for i, (phrase, found) in enumerate(zip(marked, context, strict=True)):
        if not is_people(phrase):
            continue
        same = found.same_as is not None and marked[found.same_as].chain == phrase.chain
        counts["same said"] += found.same_as is not None
        counts["same right"] += same
        counts["same true"] += phrase.chain in first
        first.setdefault(phrase.chain, i)


def count_several(
    counts: Counter[str], image: EntityImage, marked: Sequence[EntityPhrase], context: Sequence[PhraseContext]
) -> None:
    """Phrases with several boxes, people and all."""
    for phrase, found in zip(marked, context, strict=True):
        if phrase.chain not in image.boxes:
            continue
        many = len(image.boxes[phrase.chain]) > 1
        for name in ("all", *(["people"] if is_people(phrase) else [])):
            counts[f"{name} several said"] += found.several
            counts[f"{name} several true"] += many
            counts[f"{name} several right"] += found.several and many
            counts[f"{name} several agree"] += found.several == many
            counts[f"{name} boxed"] += 1


def report(split: str, images: int, counts: Counter[str], times_ms: Sequence[float]) -> None:
    """Print the figures."""

    def share(part: str, whole: str) -> str:
        return f"{100 * counts[part] / max(counts[whole], 1):5.1f}% of {counts[whole]:,}"

    print(f"Flickr30k Entities {split}, {images:,} photographs, {len(times_ms):,} captions")
    print(f"clothing and body parts with an owner of people   {share('owned', 'attributes')}")
    print(f"  in captions that name people                    {share('owned with people', 'attributes with people')}")
    print("of two or more people, where the boxes are clear")
    print(f"  has an owner                                    {share('clear owned', 'clear')}")
    print(f"  the right one                                   {share('right', 'clear')}")
    print(f"  the right one, of those with an owner           {share('right', 'clear owned')}")
    print(f"  nearest people before: right                    {share('baseline right', 'clear')}")
    print(f"  the same, of those with an owner above          {share('baseline right where owned', 'clear owned')}")
    print(f"same_as of people: precision                      {share('same right', 'same said')}")
    print(f"  recall                                          {share('same right', 'same true')}")
    for name in ("people", "all"):
        part, said = f"{name} several right", f"{name} several said"
        print(f"several, {name:6}: precision                        {share(part, said)}")
        print(f"  recall                                          {share(part, f'{name} several true')}")
        print(f"  agrees                                          {share(f'{name} several agree', f'{name} boxed')}")
    median, late = np.percentile(times_ms, [50, 99])
    print(f"time a caption: median {median:.2f} ms, 99 of 100 below {late:.2f} ms")


if __name__ == "__main__":
    sys.exit(main())
