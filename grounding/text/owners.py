"""Who wears, holds or has what in a caption, by words and order."""

from collections.abc import Sequence
from typing import Literal

from grounding.text.coreference import antecedent, owner_of_pronoun
from grounding.text.things import OWN, RELATIVE, Thing, gaps

Link = Literal["wears", "holds", "has", "with"]

_ENDS_CLAUSE = frozenset({".", ";", "!", "?", ":", "while", "as", "when", "where", "because", "and", "but", "whilst"})
_COPULAS = frozenset({"is", "are", "was", "were", "appears", "seems"})
_WEARING = frozenset(
    "wearing wears wear wore worn dressed clad donning dons sporting sports attired adorned outfitted".split()  # noqa: SIM905
)
_HOLDING = frozenset(
    """
    holding holds hold held carrying carries carry carried playing plays play using uses use pushing pushes push pulling
    pulls pull gripping grips grasping grasps clutching clutches swinging swings raising raises strumming lifting lifts
    eating eats drinking drinks reading reads waving waves
    """.split()  # noqa: SIM905
)
_RIDING = frozenset("riding rides ride driving drives drive steering mounted walking walks".split())  # noqa: SIM905
_HAVING = frozenset({"has", "have", "having", "had"})
_FINITE = frozenset(
    "wears wear wore has have had holds hold held carries carry plays play uses use pushes push pulls pull".split()  # noqa: SIM905
)
_PREPOSITIONS_OF_PLACE = frozenset({"on", "onto", "upon", "over", "around", "atop"})
_PASSES = frozenset(  # words that may stand between one that links and the thing
    """
    a an the only what looks like appears to be up out down off on onto his her its their in both all very just some
    matching back
    """.split()  # noqa: SIM905
)
_LISTS = frozenset({",", "and", "&", "or", "plus"})
_BEHIND = frozenset({"background", "foreground", "distance", "behind", "nearby"})
_NO_WHOLES_OF = frozenset(  # 'a group of men', 'a picture of a dog', 'a cup of coffee'
    """
    group groups pair pairs couple bunch crowd herd flock kind type piece pieces picture photo photograph image painting
    drawing statue sculpture cup glass bottle bowl plate bag box pile lot row line set front middle center one some
    both each all another
    """.split()  # noqa: SIM905
)


class Owners:
    """What belongs to what in one caption; filled thing by thing, in order.

    Attributes:
        roots: for each thing, the first one that names the same thing.
        owners: of the things that have an owner, by their roots: the root of the owner, and how.
    """

    def __init__(self, words: Sequence[str], things: Sequence[Thing]) -> None:
        self.words, self.things = words, things
        self.roots: list[int] = []
        self.owners: dict[int, tuple[int, Link]] = {}
        self._subject: int | None = None  # of the clause
        self._waiting: list[int] = []  # things whose owner follows: 'in a red hat, a man'
        for i, gap in enumerate(gaps(words, things)):
            self._read(i, gap)

    def _read(self, i: int, gap: Sequence[str]) -> None:
        thing = self.things[i]
        if not i or _ENDS_CLAUSE.intersection(gap):
            if any(word in (".", ";", "!", "?") for word in gap):
                self._subject, self._waiting = None, []
            clause_begins = True
        else:
            clause_begins = self._subject is None
        first = antecedent(self.words, self.things[: i + 1], self.roots, self._subject)
        self.roots.append(i if first is None else first)
        self._link(i, gap)
        if clause_begins and thing.is_living and self.roots[i] not in self.owners:
            self._subject = self.roots[i]
        if thing.is_living and not thing.is_pronoun and self._waiting:
            for waiting in self._waiting:
                self._own(waiting, i, self._how(self.things[waiting]))
            self._waiting = []

    def _link(self, i: int, gap: Sequence[str]) -> None:
        thing = self.things[i]
        core = self.words[thing.first : thing.head]
        before = i - 1 if i else None
        own = next((word for word in [*gap[-1:], *core] if word in OWN), None)
        if own:
            owner = owner_of_pronoun(own, self.things[: i + 1], self.roots, self._subject)
            if owner is None:
                self._waiting.append(i)
            else:
                self._own(i, owner, self._how(thing))
            return
        if "'s" in core:
            self._own_by_name(i, core[: core.index("'s")])
            return
        if before is None:
            if gap and _linking(gap, thing)[0] in ("wears", "in") and self._wearable(thing, "in"):
                self._waiting.append(i)
            return
        if list(gap) in (["'s"], ["'"]):
            self._own(i, before, self._how(thing))
        elif set(gap) <= _LISTS and gap:
            self._go_on(i, before)
        elif gap and gap[0] == "of" and len(gap) == 1:
            if self.things[before].word not in _NO_WHOLES_OF:
                self._own(before, i, "has")
        else:
            self._by_word(i, gap)

    def _by_word(self, i: int, gap: Sequence[str]) -> None:
        """Own by the last word that links in the words before a thing."""
        thing, before = self.things[i], i - 1
        link, place = _linking(gap, thing)
        if link == "by" and {"held", "worn", "carried", "pushed", "pulled", "ridden"}.intersection(gap):
            self._own(before, i, "wears" if "worn" in gap else "holds")
        elif link == "on" and len(gap) == 1 and self._lies_on(before, i):
            return
        elif link in ("in", "wears") and self._wearable(thing, link):
            self._give(i, self._wearer(i, gap, place), "wears")
        elif link == "holds" and not thing.attribute == "clothing":
            self._give(i, self._wearer(i, gap, place), "holds")
        elif link == "holds":
            self._give(i, self._wearer(i, gap, place), "holds")
        elif link in ("with", "has") and not self._is_behind(thing):
            self._give(i, self._haver(i, gap, place), self._how(thing))
        elif link in ("in", "on", "rides") and thing.whole in ("vehicle", "animal", "furniture"):
            self._give(i, self._wearer(i, gap, place), "with")

    def _go_on(self, i: int, before: int) -> None:
        """A list goes on: what the thing before it belongs to has this one too."""
        thing, other = self.things[i], self.things[before]
        if self.roots[before] not in self.owners or thing.whole == "person":
            return
        owner, link = self.owners[self.roots[before]]
        alike = (thing.attribute or thing.stuff) if link == "wears" else thing.attribute == other.attribute
        if link == "has" and thing.attribute == "clothing":
            alike, link = True, "wears"
        if link in ("holds", "with") and not thing.attribute:
            alike = True
        if alike:
            self._own(i, owner, self._how(thing) if link != "holds" else link)

    def _lies_on(self, lower: int, i: int) -> bool:
        """'A hat on a man', 'hair on his head': what is on somebody is worn or had."""
        upper = self.things[lower]
        if not upper.attribute or not (self.things[i].is_living or self.things[i].attribute == "part"):
            return False
        owner = self.roots[i]
        if self.things[i].attribute == "part":
            if owner not in self.owners:
                return False
            owner = self.owners[owner][0]
        if self.roots[lower] not in self.owners:
            self._own(lower, owner, self._how(upper))
        return True

    def _own_by_name(self, i: int, named: Sequence[str]) -> None:
        """'The man's hat' is one phrase: its owner is an earlier man, or the phrase 'the man'."""
        for other in range(i - 1, -1, -1):
            if named and self.things[other].word == named[-1]:
                self._own(i, other, self._how(self.things[i]))
                return

    def _wearer(self, i: int, gap: Sequence[str], place: int) -> int | None:
        """Who wears or holds a thing: the subject of a finite verb, else the nearest before."""
        relative = any(word in RELATIVE or word == "that" for word in gap)
        finite = any(word in _COPULAS | _FINITE for word in gap[: place + 1])
        if finite and not relative and self._subject is not None and self._agrees(gap):
            return self._subject
        return self._nearest(i)

    def _agrees(self, gap: Sequence[str]) -> bool:
        several = self.things[self._subject].several if self._subject is not None else None
        verb = next(word for word in gap if word in _COPULAS | _FINITE)
        plural = verb in ("are", "were") or (verb in _FINITE and not verb.endswith("s"))
        return several is None or several == plural

    def _nearest(self, i: int) -> int | None:
        return next((self.roots[j] for j in range(i - 1, -1, -1) if self._can_own(j)), None)

    def _can_own(self, j: int) -> bool:
        return self.things[j].is_living and (not self.things[j].is_pronoun or self.roots[j] != j)

    def _haver(self, i: int, gap: Sequence[str], place: int) -> int | None:
        """Who has a thing, or what is with it."""
        thing, before = self.things[i], i - 1
        if thing.attribute:
            return self._wearer(i, gap, place)
        if self.things[before].whole or self.things[before].is_living:
            return self.roots[before]
        return self._wearer(i, gap, place)

    def _wearable(self, thing: Thing, link: str) -> bool:
        return thing.attribute == "clothing" or thing.stuff or (link == "wears" and not thing.whole)

    def _is_behind(self, thing: Thing) -> bool:
        """'With mountains in the background' is with nobody."""
        return bool(_BEHIND.intersection(self.words[thing.head + 1 : thing.head + 4]))

    def _how(self, thing: Thing) -> Link:
        if thing.attribute == "clothing" or thing.stuff:
            return "wears"
        return "with" if thing.whole or not thing.attribute else "has"

    def _give(self, i: int, owner: int | None, link: Link) -> None:
        if owner is None and link == "wears":
            self._waiting.append(i)
        elif owner is not None:
            self._own(i, owner, link)

    def _own(self, i: int, owner: int, link: Link) -> None:
        """Note an owner, but for a thing that has one, or that would own itself in the end."""
        thing, owner = self.roots[i], self.roots[owner]
        above: int | None = owner
        while above is not None:
            if above == thing:
                return
            above = self.owners[above][0] if above in self.owners else None
        self.owners.setdefault(thing, (owner, link))


def _linking(gap: Sequence[str], thing: Thing) -> tuple[str, int]:
    """The last word of a gap that links, as a kind of link, and where it stands; `('', -1)` without one."""
    for place in range(len(gap) - 1, -1, -1):
        word = gap[place]
        kind = _kind_of_link(word)
        if kind == "with" and place and gap[place - 1] in _HOLDING:
            return "holds", place
        if kind == "on" and place and _kind_of_link(gap[place - 1]) in ("holds", "wears", "with"):
            continue
        if kind == "in" and any(before in _WEARING for before in gap[:place]):
            return "wears", place
        if kind:
            return kind, place
        if word not in _PASSES and not word.endswith("ly"):
            break
    return "", -1


def _kind_of_link(word: str) -> str:
    groups = (
        (_WEARING, "wears"), (_HOLDING, "holds"), (_RIDING, "rides"), (_HAVING, "has"),
        (_PREPOSITIONS_OF_PLACE, "on"), ({"with"}, "with"), ({"in"}, "in"), ({"by"}, "by"),
    )  # fmt: skip
    return next((kind for group, kind in groups if word in group), "")
