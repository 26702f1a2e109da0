"""Derive the table of attributes of `grounding.text`: which nouns name what is worn, and which a part of a whole.

What is worn is told by captions, where a noun follows 'wearing' or 'dressed in' often, or never; what is part of
vehicles, buildings, furniture, animals and clothes by WordNet's part-of. The same inputs give the same file.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from derive_kinds import Nouns, data_lines, read_nouns, read_wordnet

from grounding.datasets.webimages import CaptionedImages
from grounding.errors import GroundingError
from grounding.text.attributes import ATTRIBUTES_FILE
from grounding.text.captions import read_caption
from grounding.text.kinds import noun_forms
from grounding.text.links import WEARING
from grounding.text.numbers import is_number
from grounding.text.phrases import Chunker
from grounding.text.tokens import is_content_word, tokenize
from grounding.text.wholes import is_clothing, is_colour_or_cloth, is_of_body, whole_kind

MIN_WORN = 3  # uses after a verb of wearing
WORN = 0.15  # share of the uses of a noun from which on it names what is worn
MIN_USES = 20  # none of them after a verb of wearing, of a noun that names nothing that is worn
MIN_PART_USES = 3  # captions with a noun that names a part
WHOLES = ("vehicle", "building", "furniture", "animal", "clothing")
LISTED = frozenset({",", "and", "a", "an"})


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line and derive; 2 for bad input."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--captions", nargs="+", required=True, metavar="SOURCE", help="shards of captioned pictures")
    parser.add_argument("--wordnet", type=Path, required=True, metavar="TAR", help="as for tools/derive_kinds.py")
    parser.add_argument(
        "--output",
        type=Path,
        default=Path(__file__).parents[1] / "grounding" / "text",
        metavar="DIR",
        help=f"folder for {ATTRIBUTES_FILE} (default: grounding/text of this checkout)",
    )
    options = parser.parse_args(arguments)
    try:
        images = CaptionedImages(options.captions)
        uses, worn = count([caption for captions in images.captions for caption in captions])
        parts = parts_of_wholes(read_wordnet(options.wordnet))
    except GroundingError as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 2
    lines = table(uses, worn, parts)
    (options.output / ATTRIBUTES_FILE).write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(f"{line.partition(':')[0]}: {line.count(',') + 1} nouns" for line in lines))
    return 0


def count(captions: Iterable[str]) -> tuple[Counter[str], Counter[str]]:
    """How often each word is the head of a phrase, and how often of one after a verb of wearing, or in a list there."""
    chunker = Chunker.load()
    uses: Counter[str] = Counter()
    worn: Counter[str] = Counter()
    for caption in captions:
        text = read_caption(caption).text
        end, wearing = 0, False
        for phrase in chunker.phrases(text):
            assert phrase.start is not None
            assert phrase.end is not None
            gap = [token.text.lower() for token in tokenize(text[end : phrase.start])]
            wearing = not WEARING.isdisjoint(gap) or (wearing and bool(gap) and LISTED.issuperset(gap))
            wearing = wearing and whole_kind(phrase.head) is None
            names = [phrase.head.lower()]
            words = phrase.text.lower().split()[-2:]
            if (
                len(words) == 2
                and words[1] == names[0]
                and is_content_word(words[0])
                and not is_colour_or_cloth(words[0])
            ):
                names.append(" ".join(words))  # 'tank top'
            uses.update(names)
            worn.update(names * wearing)
            end = phrase.end
    return uses, worn


def parts_of_wholes(files: dict[str, list[str]]) -> set[str]:
    """The words for what WordNet's nouns have as a part of a whole."""
    nouns = read_nouns(files)
    wholes = {nouns.index[word][0] for word in WHOLES}
    found = set()
    for fields, words in data_lines(files["data.noun"]):
        if wholes.isdisjoint(nouns.with_kinds(fields[0])):
            continue
        pointers = fields[5 + 2 * len(words) :]
        for i in range(0, 4 * int(fields[4 + 2 * len(words)]), 4):
            if pointers[i] == "%p":
                found |= usual_names(nouns, pointers[i + 1])
    return found


def usual_names(nouns: Nouns, offset: str) -> set[str]:
    """The words whose usual meaning is a synset; for 'car door', which is a door, also 'door'."""
    words = [word.lower() for word in nouns.synsets[offset].words]
    last = {word.split("_")[-1] for word in words if "_" in word} & nouns.index.keys()
    return {
        *(word for word in words if "_" not in word and nouns.index[word][0] == offset),
        *(word for word in last if nouns.index[word][0] in nouns.with_kinds(offset)),
    }


def table(uses: Counter[str], worn: Counter[str], parts: set[str]) -> list[str]:
    """The lines of the file: words for what is worn, and for what is not, where WordNet's kinds are mistaken; parts."""
    known = {word for word in uses if is_content_word(word) and not is_number(word) and whole_kind(word) is None}
    named = {word for word in known if not is_colour_or_cloth(word) and not is_of_body(word)}
    often = {word for word in named if worn[word] >= max(MIN_WORN, WORN * uses[word]) and not is_clothing(word)}
    clothing = {word for word in often if not is_clothing(word.split()[-1]) and word.split()[-1] not in often - {word}}
    bare = {word for word in named if uses[word] >= MIN_USES and not worn[word] and is_clothing(word)}
    forms = {word for word in named if uses[word] >= MIN_PART_USES and not parts.isdisjoint(noun_forms(word))}
    part = {word for word in forms - clothing if not is_clothing(word)}
    kinds = (("clothing", clothing), ("part", part), ("bare", bare))
    return [f"{name}: {', '.join(sorted(words))}" for name, words in kinds]


if __name__ == "__main__":
    sys.exit(main())
