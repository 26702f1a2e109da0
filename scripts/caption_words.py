"""Who and what is named in captions, as docs/reference/data-card.md has it: the share of pictures and of captions.

python scripts/caption_words.py "photographs/*.tar"
"""

import re
import sys
from collections.abc import Sequence

from grounding.datasets.webimages import CaptionedImages

_ADULTS = "man|men|woman|women|boy|boys|girl|girls|person|people|child|children"
WORDS = {
    "people, by the commonest words": f"{_ADULTS}|kid|kids|guy|guys|lady|ladies|player|players|crowd|couple|baby|group",
    "men and boys": "man|men|boy|boys|guy|guys|male|males",
    "women and girls": "woman|women|girl|girls|lady|ladies|female|females",
    "children": "child|children|kid|kids|baby|babies|toddler|toddlers|infant|boy|boys|girl|girls",
    "old people": "old|older|elderly|senior",
    "wheelchairs and crutches": "wheelchair|wheelchairs|crutch|crutches",
    "people called Asian, African or black": f"asian|asians|african|africans|(?:black|dark-skinned) (?:{_ADULTS})",
    "people called white": f"caucasian|caucasians|white (?:{_ADULTS})",
    "dogs": "dog|dogs|puppy|puppies",
    "cats": "cat|cats|kitten|kittens",
}


def shares(captions: Sequence[Sequence[str]]) -> dict[str, tuple[float, float]]:
    """For each group of words the share of pictures with a caption that has one, and the share of captions."""
    total = sum(map(len, captions))
    found = {}
    for name, words in WORDS.items():
        pattern = re.compile(rf"\b(?:{words})\b", re.IGNORECASE)
        hits = [sum(pattern.search(caption) is not None for caption in of_picture) for of_picture in captions]
        found[name] = (sum(map(bool, hits)) / len(captions), sum(hits) / total)
    return found


def main() -> None:
    """Print the table of the pictures that are named."""
    captions = CaptionedImages(sys.argv[1:]).captions
    print(f"{len(captions):,} pictures, {sum(map(len, captions)):,} captions\n")
    print("| named | pictures | captions |\n|---|---|---|")
    for name, (pictures, sentences) in shares(captions).items():
        print(f"| {name} | {pictures:.1%} | {sentences:.1%} |")


if __name__ == "__main__":
    main()
