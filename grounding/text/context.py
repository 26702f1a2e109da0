"""How the phrases of a caption belong together, from its language alone: who wears what, and which of two is meant."""

from collections.abc import Sequence
from dataclasses import dataclass

from grounding.text.links import Link
from grounding.text.owners import Owners
from grounding.text.phrases import Phrase
from grounding.text.sides import Side, own_side, read_sides
from grounding.text.things import is_several, read_phrase, read_things


@dataclass(frozen=True, slots=True)
class PhraseContext:
    """What a caption says about a phrase beside the phrase's own words.

    Attributes:
        owner: the position, among the phrases given, of the one that wears, has or holds this one; where the caption
            names the owner several times, its first phrase. Following owners never leads in a circle.
        link: how: `wears` (clothing), `has` (parts: hair, a wheel), `holds`, or `with` (beside it, or ridden by it).
        same_as: the position of the first phrase of the caption that names the same thing; None for that one.
        side: the side of the picture that it is said to be on; None also for a caption that says two.
        several: it names a group, or is in the plural.
    """

    owner: int | None
    link: Link | None
    same_as: int | None
    side: Side | None
    several: bool

    @property
    def is_on_owner(self) -> bool:
        """Whether it lies on its owner: clothes and parts."""
        return self.link in ("wears", "has")


def read_context(caption: str, phrases: Sequence[Phrase]) -> tuple[PhraseContext, ...]:
    """Say of each phrase of a caption, in the order given, what belongs to what.

    Phrases that do not occur in the caption, and those that it says are not there, own nothing, belong to nothing and
    have only what their own words say.
    """
    words, things = read_things(caption, phrases)
    read = Owners(words, things)
    named: dict[int, int] = {}  # by the first mention of a thing, its first phrase
    for root, thing in zip(read.roots, things, strict=True):
        if thing.phrases:
            named.setdefault(root, thing.phrases[0])
    attributes = [
        thing.attribute is not None or (root in read.owners and read.owners[root][1] == "wears")
        for root, thing in zip(read.roots, things, strict=True)
    ]
    owner_of = {i: read.owners[root][0] for i, root in enumerate(read.roots) if root in read.owners}
    sides = read_sides(words, things, owner_of, attributes)
    found: dict[int, PhraseContext] = {}
    for root, thing, side in zip(read.roots, things, sides, strict=True):
        owner, link = read.owners.get(root, (None, None))
        of = None if owner is None else named.get(owner)
        for position in thing.phrases:
            same = named[root] if named[root] != position else None
            several = thing.several if thing.several is not None else bool(things[root].several)
            found[position] = PhraseContext(of, link if of is not None else None, same, side, several)
    return tuple(found.get(i) or _alone(phrase) for i, phrase in enumerate(phrases))


def _alone(phrase: Phrase) -> PhraseContext:
    """What the words of a phrase say by themselves."""
    words, head = read_phrase(phrase)
    return PhraseContext(
        None,
        None,
        None,
        own_side(words, head),
        bool(is_several(words[: head + 1])) or words[head + 1 : head + 2] == ["and"],
    )
