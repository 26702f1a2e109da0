"""Which tags are kinds of what a word names, by WordNet: tabby and tiger cat are cats, and animals."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from grounding.text.kinds import Kinds


@dataclass(frozen=True, slots=True, eq=False)
class TagsByKind:
    """The tags of a classifier by the synsets that they are kinds of; only usual meanings count.

    Attributes:
        kinds: the table of synsets.
        same: for a synset the first tag that names it.
        below: for each synset the tags that are kinds of it, in their order, those that name it among them.
    """

    kinds: Kinds
    same: dict[int, str]
    below: dict[int, tuple[str, ...]]

    @staticmethod
    def of(tags: Sequence[str], kinds: Kinds) -> "TagsByKind":
        """Sort tags by kind. A tag of several words that the table does not know is of the kind of its last word."""
        same: dict[int, str] = {}
        below: dict[int, dict[str, None]] = {}  # ordered sets
        for tag in tags:
            name = plain(tag)
            whole = kinds.senses(name)
            for synset in whole[:1]:
                same.setdefault(synset, tag)
            for usual in (whole or kinds.senses(name.rpartition(" ")[2]))[:1]:
                for synset, _ in kinds.kinds(usual):
                    below.setdefault(synset, {})[tag] = None
        return TagsByKind(kinds, same, {synset: tuple(found) for synset, found in below.items()})

    def synonym(self, word: str) -> str | None:
        """The tag that means what a word usually means."""
        return next((self.same[synset] for synset in self.kinds.senses(word)[:1] if synset in self.same), None)

    def tags(self, word: str) -> tuple[str, ...]:
        """All tags that are kinds of what a word usually means."""
        return next((self.below.get(synset, ()) for synset in self.kinds.senses(word)[:1]), ())


def plain(name: str) -> str:
    """A name of a class or a tag without what is a matter of taste: capitals, hyphens, underscores."""
    return " ".join(re.sub(r"[-_]", " ", name.lower()).split())
