"""What kind of thing a word names: synonyms and kinds of nouns, and ways to spell a word, derived from WordNet 3.1.

The table is made by `tools/derive_kinds.py`; WordNet's licence is beside it.
"""

import functools
import lzma
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources

KINDS_FILE = "kinds.txt.xz"
FEW = 20  # synsets of a kind

_PLURALS = (("s", ""), ("es", ""), ("ies", "y"), ("men", "man"), ("ves", "f"), ("ves", "fe"), ("people", "person"))
_IRREGULAR = {"mice": "mouse", "geese": "goose", "feet": "foot", "teeth": "tooth", "children": "child", "oxen": "ox"}


@dataclass(frozen=True, slots=True, eq=False)
class Kinds:
    """A forest of synsets, each a set of nouns that mean the same; what says too little ('object') is not in it.

    Attributes:
        parents: for each synset, the synsets one kind up.
        synsets: the synsets of a noun in the singular and in lower case, its usual meaning first.
        spellings: the other stems of a word that can be spelt in several ways.
    """

    parents: tuple[tuple[int, ...], ...]
    synsets: dict[str, tuple[int, ...]]
    spellings: dict[str, frozenset[str]]

    @staticmethod
    @functools.cache
    def embedded() -> "Kinds":
        """Load the table of the package."""
        packed = resources.files("grounding.text").joinpath(KINDS_FILE).read_bytes()
        return Kinds.from_text(lzma.decompress(packed).decode())

    @staticmethod
    def from_text(text: str) -> "Kinds":
        """Read a table: a line a synset, indented by kind, then an empty line and a line for each set of spellings.

        `  dog,hound+@7` is a synset of which `dog` has its first, `hound` its second meaning, and that stands also
        below the synset of line 7 (from 0).
        """
        lines, _, spelt = text.partition("\n\n")
        parents: list[tuple[int, ...]] = []
        senses: dict[str, list[tuple[int, int]]] = {}
        above: list[int] = []
        for number, line in enumerate(lines.splitlines()):
            names, _, others = line.lstrip(" ").partition("@")
            del above[len(line) - len(line.lstrip(" ")) :]
            parents.append((*above[-1:], *map(int, filter(None, others.split(",")))))
            above.append(number)
            for name in filter(None, names.split(",")):
                noun = name.rstrip("+")
                senses.setdefault(noun, []).append((len(name) - len(noun), number))
        synsets = {noun: tuple(number for _, number in sorted(found)) for noun, found in senses.items()}
        sets = [frozenset(line.split()) for line in spelt.splitlines()]
        return Kinds(tuple(parents), synsets, {word: words - {word} for words in sets for word in words})

    def senses(self, word: str) -> tuple[int, ...]:
        """The synsets of a noun, singular or plural, in any case; empty for a word that the table does not know."""
        found = [synset for form in noun_forms(word.lower()) for synset in self.synsets.get(form, ())]
        return tuple(dict.fromkeys(found))

    def kinds(self, synset: int) -> Iterator[tuple[int, int]]:
        """A synset and all its kinds, nearest first, each with the steps up to it."""
        steps = {synset: 0}
        level = [synset]
        while level:
            yield from ((kind, steps[kind]) for kind in level)
            above = dict.fromkeys(parent for kind in level for parent in self.parents[kind] if parent not in steps)
            steps |= dict.fromkeys(above, steps[level[0]] + 1)
            level = list(above)

    def kinds_of(self, word: str) -> set[int]:
        """All that a noun can mean, and all kinds of that."""
        return {kind for synset in self.senses(word) for kind, _ in self.kinds(synset)}

    def share_a_kind(self, first: str, second: str) -> bool | None:
        """Say whether two nouns name things of one kind; None where the table does not know one of them."""
        one, other = self.kinds_of(first), self.kinds_of(second)
        return None if not one or not other else not one.isdisjoint(other)

    def has_kind(self, word: str) -> bool:
        """Say whether a noun is of a kind of which the table has more than a few."""
        kinds = self.kinds_of(word)
        tops = [kind for kind in kinds if not self.parents[kind]]  # the lines that follow are below them
        below = [self.parents[top + 1 : top + FEW] for top in tops]
        return any(len(lines) == FEW - 1 and all(lines) for lines in below)

    def names(self, word: str, kind: str) -> bool:
        """Say whether the usual meaning of a word is of a kind, itself in its usual meaning: 'color', 'animal'."""
        wanted = set(self.synsets.get(kind, ())[:1])
        return any(above in wanted for sense in self.senses(word)[:1] for above, _ in self.kinds(sense))


def noun_forms(word: str) -> list[str]:
    """A noun as it is and what it can be the plural of: 'glasses' is 'glasses', 'glasse' and 'glass'."""
    forms = [word, *([_IRREGULAR[word]] if word in _IRREGULAR else [])]
    forms += [word[: -len(end)] + single for end, single in _PLURALS if word.endswith(end) and len(word) > len(end) + 1]
    return forms
