"""Who wears, holds or has what in a caption, by words and order."""

from collections.abc import Sequence

from grounding.text.coreference import antecedent, fits_pronoun, owner_of_pronoun
from grounding.text.links import COPULAS, ENDS_CLAUSE, FINITE, LISTS, Link, how, is_wearable, linking, without_modifiers
from grounding.text.things import OBJECTS, OWN, PRO_FORMS, RELATIVE, Thing, gaps

_ENDS_SENTENCE = frozenset({".", ";", "!", "?"})
_PASSIVES = frozenset({"held", "worn", "carried", "pushed", "pulled", "ridden"})
_AT = (["in"], ["on"], ["by"])  # 'kicks a man in the face'
_DETERMINERS = frozenset("a an the his her its their some this that these those no".split())  # noqa: SIM905
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
        self._in_list: list[bool] = []  # for each thing, whether it goes on a list
        self._ridden: set[int] = set()
        self._waiting: list[int] = []  # things whose owner follows: 'in a red hat, a man'
        self._begins: list[int] = []  # for each thing, the first of its sentence
        for i, gap in enumerate(gaps(words, things)):
            begins = not i or not _ENDS_SENTENCE.isdisjoint(gap)
            self._begins.append(i if begins else self._begins[-1])
            self._read(i, gap)
        for i in range(len(things)):
            self._guess(i)

    def _read(self, i: int, gap: Sequence[str]) -> None:
        """Read on to a thing: what it is, whose it is, and whether a clause is about it."""
        thing = self.things[i]
        if not _ENDS_SENTENCE.isdisjoint(gap):
            self._subject, self._waiting = None, []
        begins = self._subject is None or not ENDS_CLAUSE.isdisjoint(gap)
        first = antecedent(self.words, self.things[: i + 1], self.roots, self._subject)
        self.roots.append(i if first is None else first)
        if thing.attribute == "clothing" and self.words[thing.first] not in _DETERMINERS:
            gap = without_modifiers(gap)
        self._in_list.append(bool(gap) and LISTS.issuperset(gap))
        self._link(i, gap)
        if thing.word in RELATIVE or (begins and thing.is_living and self.roots[i] not in self.owners):
            self._subject = self.roots[i]
        if self._waiting and thing.is_living and not thing.is_pronoun:
            for waiting in self._waiting:
                self._own(waiting, i, how(self.things[waiting]))
            self._waiting = []

    def _link(self, i: int, gap: Sequence[str]) -> None:
        """Find the owner of a thing by the words before it, and whether it owns the thing before."""
        thing, before = self.things[i], i - 1
        core = self.words[thing.first : thing.head]
        own = next((word for word in [*gap[-1:], *core] if word in OWN), None)
        if own:
            self._own_by_pronoun(i, gap, own)
        elif "'s" in core and (self._own_by_name(i, core[: core.index("'s")]) or thing.attribute != "clothing"):
            return
        elif not i:
            if linking(gap)[0] in ("wears", "in") and is_wearable(thing, "in"):
                self._waiting.append(i)
        elif list(gap) in (["'s"], ["'"]):
            self._own(i, before, how(thing))
        elif self._in_list[i]:
            self._go_on(i)
        elif list(gap) == ["of"]:
            if self.things[before].word not in _NO_WHOLES_OF:
                self._own(before, i, "wears" if self.things[before].attribute == "clothing" else "has")
        else:
            self._own_by_words(i, gap)

    def _guess(self, i: int) -> None:
        """Clothes and parts of bodies of which nothing else is said are the nearest one's before: 'puts on a hat'."""
        thing = self.things[i]
        told = self.roots[i] in self.owners or "'s" in self.words[thing.first : thing.head]
        if thing.attribute in ("clothing", "body") and not told:
            living = [j for j in range(self._begins[i], i) if self._can_do(j, adjacent=False)]
            if living:
                self._own(i, living[-1], how(thing))

    def _own_by_pronoun(self, i: int, gap: Sequence[str], pronoun: str) -> None:
        thing, before = self.things[i], i - 1
        if i and not self.things[before].is_living and linking(gap)[0] in ("on", "in"):
            owner = self.owners.get(self.roots[before], (None,))[0]  # 'with a smile on her face'
            if owner is not None and fits_pronoun(self.things[owner], pronoun):
                self._own(i, owner, how(thing))
        if self.roots[i] not in self.owners:
            owner = owner_of_pronoun(pronoun, self.things[: i + 1], self.roots, self._subject)
            if owner is None:
                self._waiting.append(i)
            else:
                holds = i and not thing.attribute and linking(gap)[0] == "holds"
                self._own(i, owner, "holds" if holds else how(thing))
        if i:
            self._lies_on(before, i, gap)

    def _own_by_words(self, i: int, gap: Sequence[str]) -> None:
        """Own by the last word that links in the words before a thing."""
        thing, before = self.things[i], i - 1
        link, place = linking(gap)
        if link == "by" and not _PASSIVES.isdisjoint(gap):
            self._own(before, i, "wears" if "worn" in gap else "holds")
        elif self._lies_on(before, i, gap):
            return
        elif link in ("in", "wears") and is_wearable(thing, link):
            self._give(i, self._doer(i, gap, place), "wears")
        elif link == "holds":
            self._give(i, self._doer(i, gap, place), "holds")
        elif link in ("with", "has") and not self._is_behind(thing):
            self._give(i, self._haver(i, gap, place), how(thing))
        elif link in ("in", "on", "rides", "walks") and thing.whole in ("vehicle", "animal", "furniture"):
            self._give(i, self._doer(i, gap, place), "with")
            if link != "walks":
                self._ridden.add(self.roots[i])
        elif thing.attribute == "body" and (list(gap) in _AT or "the" not in self.words[thing.first : thing.head]):
            held = self.owners.get(self.roots[before], (None, ""))  # 'holds a flower in one hand'
            self._give(i, held[0] if held[1] == "holds" else self._doer(i, gap, place), "has")

    def _go_on(self, i: int) -> None:
        """A list goes on: what the thing before it belongs to has this one too."""
        thing = self.things[i]
        begin = next((j for j in range(i - 1, -1, -1) if self.roots[j] in self.owners or not self._in_list[j]), None)
        if begin is None or self.roots[begin] not in self.owners or thing.whole == "person" or thing.word in PRO_FORMS:
            return
        owner, link = self.owners[self.roots[begin]]
        if link == "holds" or (link == "with" and not thing.attribute):
            self._own(i, owner, link)
        elif thing.attribute or thing.stuff or not thing.whole:
            self._own(i, owner, how(thing))

    def _lies_on(self, below: int, i: int, gap: Sequence[str]) -> bool:
        """'A hat on a man', 'hair on his head': what is on somebody is worn or had."""
        upper, lower, owner = self.things[below], self.things[i], self.roots[i]
        if not upper.attribute or linking(gap)[0] != "on":
            return False
        if self.roots[below] in self.owners:
            if upper.attribute == lower.attribute == "clothing":  # 'a sweater over a shirt'
                self._own(i, self.owners[self.roots[below]][0], "wears")
            return lower.attribute == "clothing"
        if lower.attribute == "body" and owner in self.owners:
            owner = self.owners[owner][0]
        elif not lower.is_living:
            return False
        self._own(below, owner, how(upper))
        return True

    def _own_by_name(self, i: int, named: Sequence[str]) -> bool:
        """'The man's hat' is one phrase: its owner is the phrase 'the man', or an earlier man; False without one."""
        found = [other for other in range(i) if named and self.things[other].word == named[-1]]
        if found:
            self._own(i, found[-1], how(self.things[i]))
        return bool(found)

    def _doer(self, i: int, gap: Sequence[str], place: int) -> int | None:
        """Who wears or holds a thing: the subject of a finite verb, else the nearest before."""
        verb = next((word for word in gap[: place + 1] if word in COPULAS | FINITE), None)
        if verb and self._subject is not None and "that" not in gap and self._agrees(verb):
            return self._subject
        adjacent = place == 0 and self.roots[i - 1] not in self._ridden
        living = [j for j in range(i) if self._can_do(j, adjacent=adjacent and j == i - 1)]
        living = living or [j for j in range(i) if self.things[self.roots[j]].is_living]
        return self.roots[living[-1]] if living else None

    def _can_do(self, j: int, *, adjacent: bool) -> bool:
        """Say whether a thing may wear and hold things; an animal only right before the verb."""
        root = self.things[self.roots[j]]
        able = root.is_living and self.things[j].word not in OBJECTS
        return able and (adjacent or root.whole != "animal")

    def _agrees(self, verb: str) -> bool:
        """Say whether a verb can be said of the subject of the clause, by their number."""
        assert self._subject is not None
        several = self.things[self._subject].several
        plural = verb in ("are", "were") or (verb in FINITE and not verb.endswith("s"))
        return several is None or several == plural

    def _haver(self, i: int, gap: Sequence[str], place: int) -> int | None:
        """Who has a thing, or what is with it."""
        thing, before = self.things[i], self.things[i - 1]
        whole = before.whole and not (thing.attribute in ("clothing", "body") and not before.is_living)
        whole = whole and (
            self.roots[i - 1] not in self._ridden or thing.attribute == "part" or before.whole == "animal"
        )
        if place == 0 and (whole or (thing.attribute == "part" and before.attribute == "clothing")):
            return self.roots[i - 1]
        return self._doer(i, gap, place)

    def _is_behind(self, thing: Thing) -> bool:
        """'With mountains in the background' is with nobody."""
        return bool(_BEHIND.intersection(self.words[thing.end : thing.end + 3]))

    def _give(self, i: int, owner: int | None, link: Link) -> None:
        if owner is not None:
            self._own(i, owner, link)
        elif link == "wears":
            self._waiting.append(i)

    def _own(self, i: int, owner: int, link: Link) -> None:
        """Note an owner, but for a thing that has one, or that would own itself in the end."""
        thing, owner = self.roots[i], self.roots[owner]
        above: int | None = owner
        while above is not None and above != thing:
            above = self.owners[above][0] if above in self.owners else None
        if link == "wears" and not (self.things[owner].is_living or self.things[owner].attribute == "body"):
            link = "has"  # 'a car with its hood open'
        if above is None:
            self.owners.setdefault(thing, (owner, link))
