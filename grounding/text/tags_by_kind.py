"""Which tags are kinds of what a word names, by WordNet: tabby and tiger cat are cats, and animals."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from grounding.text.kinds import Kinds


@dataclass(frozen=True, slots=True, eq=False)
class TagsByKind:
    """The tags of a classifier by the synsets that they are kinds of; only usual meanings count.

    Attributes:
        kinds: the table of synsets.
        same: for a synset the tags that name it.
        below: for each synset the tags that are kinds of it, in their order, those that name it among them.
    """

    kinds: Kinds
    same: dict[int, tuple[str, ...]]
    below: dict[int, tuple[str, ...]]

    @staticmethod
    def of(tags: Sequence[str], kinds: Kinds, names: Mapping[str, Sequence[str]] | None = None) -> "TagsByKind":
        """Sort tags by kind.

        A tag is what all of its names can mean that the table knows. One of several words of which it knows no name is
        of the kind of its last word, but no person: black widow and rock beauty are none.

        Args:
            names: other names of tags.
        """
        same: dict[int, dict[str, None]] = {}
        below: dict[int, dict[str, None]] = {}  # ordered sets
        for tag in tags:
            whole = _meaning(kinds, [plain(name) for name in (tag, *(names or {}).get(tag, ()))])
            for synset in whole:
                same.setdefault(synset, {})[tag] = None
            last = plain(tag).rpartition(" ")[2]
            for usual in whole or (() if kinds.names(last, "person") else kinds.senses(last)[:1]):
                for synset, _ in kinds.kinds(usual):
                    below.setdefault(synset, {})[tag] = None
        tables = [{synset: tuple(found) for synset, found in table.items()} for table in (same, below)]
        return TagsByKind(kinds, *tables)

    def synonyms(self, word: str) -> tuple[str, ...]:
        """The tags that mean what a word usually means."""
        return next((self.same.get(synset, ()) for synset in self.kinds.senses(word)[:1]), ())

    def tags(self, word: str) -> tuple[str, ...]:
        """All tags that are kinds of what a word usually means."""
        return next((self.below.get(synset, ()) for synset in self.kinds.senses(word)[:1]), ())


def _meaning(kinds: Kinds, names: Sequence[str]) -> tuple[int, ...]:
    """The synset that names have in common, usual meanings first; at most one, empty where the table knows no name."""
    written = [kinds.senses(name) or kinds.senses(name.replace(" ", "")) for name in names]  # a hot dog is a hotdog
    known = [senses for senses in written if senses]
    common = [synset for senses in known for synset in senses if all(synset in others for others in known)]
    return tuple((common or [senses[0] for senses in known])[:1])


def plain(name: str) -> str:
    """A name of a class or a tag without what is a matter of taste: capitals, hyphens, underscores."""
    return " ".join(re.sub(r"[-_]", " ", name.lower()).split())
