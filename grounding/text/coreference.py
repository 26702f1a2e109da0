"""Which earlier thing of a caption a thing is: 'a man ... the man', 'a dog ... the animal', 'a woman ... she'."""

import functools
from collections.abc import Sequence

from grounding.text.kinds import Kinds
from grounding.text.things import RELATIVE, Thing, pronoun_gender
from grounding.text.tokens import is_content_word, stem

_DEFINITE = frozenset({"the", "this", "that", "these", "those", "same", "both"})
_OTHERS = frozenset({"another", "other", "second", "third", "different", "one", "next", "opposing"})
_CALLS = [call.split() for call in ("is", "are", "was", "dressed as", "dressed up as", "dressed like", "who is")]
_TELLS_APART = [[word] for word in "in with wearing next behind near beside on at who that of holding".split()]  # noqa: SIM905
_YOUNG = frozenset({"baby", "infant", "toddler", "child"})  # may be 'it'
_USUAL = 2  # meanings of a word


def antecedent(words: Sequence[str], things: Sequence[Thing], roots: Sequence[int], subject: int | None) -> int | None:
    """The first mention of what the last of these things is, or None where it is new.

    Args:
        words: of the caption, in lower case.
        things: of the caption up to the one that is asked for.
        roots: for each thing before it, the first mention of it, itself where it is new.
        subject: the thing that the clause is about.
    """
    thing, before = things[-1], range(len(things) - 1)
    if thing.word in RELATIVE:
        named = [i for i in before if (things[i].is_living if thing.word == "who" else things[i].whole)]
        return roots[named[-1]] if named else None
    if thing.is_pronoun:
        return _pointed_at(things, roots, subject, thing.gender, thing.several)
    if thing.word in ("both", "all") and words[thing.head + 1 : thing.head + 2] != ["of"]:
        groups = [roots[i] for i in before if things[i].several and things[i].whole]
        return groups[-1] if groups else None
    if thing.whole == "person" and before and _is_called(words, things[-2], thing):
        return roots[before[-1]]
    core = words[thing.first : thing.head]
    if not _DEFINITE.intersection(core) or _OTHERS.intersection(core):
        return None
    fitting = [i for i in before if roots[i] == i and may_be_same(things[i], thing)]
    if _is_told_apart(words, thing):
        fitting = [i for i in fitting if _same_tail(words, things[i], thing)]
    modifiers = _modifiers(words, thing)
    matched = [i for i in fitting if modifiers <= _modifiers(words, things[i])]
    if not modifiers and len(fitting) == 1:
        return fitting[0]
    return matched[-1] if matched else None


def owner_of_pronoun(pronoun: str, things: Sequence[Thing], roots: Sequence[int], subject: int | None) -> int | None:
    """The first mention of what 'his', 'her', 'its' or 'their' before the last of these things points at, or None."""
    return _pointed_at(things, roots, subject, pronoun_gender(pronoun), pronoun == "their")


def fits_pronoun(thing: Thing, pronoun: str) -> bool:
    """Say whether 'his', 'her', 'its' or 'their' can point at a thing."""
    return fits(thing, pronoun_gender(pronoun), pronoun == "their")


def fits(thing: Thing, gender: str | None, several: bool | None) -> bool:
    """Say whether a pronoun of this gender and number can point at a thing."""
    if gender == "neuter":
        return bool(thing.whole) and not thing.several and (thing.whole != "person" or thing.word in _YOUNG)
    if gender is not None and thing.whole not in ("person", "animal"):
        return False
    if gender is not None and thing.gender not in (None, gender):
        return False
    return several is None or thing.several is None or thing.several == several


def may_be_same(earlier: Thing, later: Thing) -> bool:
    """Say whether a noun can name again what an earlier one names: the same noun, a synonym or a kind of it."""
    if None not in (earlier.several, later.several) and earlier.several != later.several:
        return False
    if None not in (earlier.gender, later.gender) and earlier.gender != later.gender:
        return False
    return _names_again(earlier.word, later.word)


@functools.lru_cache(maxsize=65536)
def _names_again(earlier: str, later: str) -> bool:
    if stem(earlier) == stem(later):
        return True
    table = Kinds.embedded()
    above = {kind for sense in table.senses(earlier)[:_USUAL] for kind, _ in table.kinds(sense)}
    return not above.isdisjoint(table.senses(later)[:_USUAL])


def _pointed_at(
    things: Sequence[Thing],
    roots: Sequence[int],
    subject: int | None,
    gender: str | None,
    several: bool | None,
) -> int | None:
    """The thing that a pronoun points at: the subject of the clause, or the nearest whole before that fits."""
    before = [i for i in range(len(things) - 1) if things[i].whole or things[i].is_living]
    candidates = [i for i in before if fits(things[roots[i]], gender, several)]
    if subject is not None and subject in candidates:
        return roots[subject]
    if not candidates and several:
        candidates = [i for i in before if things[roots[i]].is_living]
    return roots[candidates[-1]] if candidates else None


def _is_called(words: Sequence[str], before: Thing, thing: Thing) -> bool:
    """'A woman is a cashier', 'a boy dressed as a pirate': a second noun for the same person."""
    gap = list(words[before.end : thing.first])
    return before.whole == "person" and gap in _CALLS


def _is_told_apart(words: Sequence[str], thing: Thing) -> bool:
    """Say whether words after a noun say which one is meant: 'the man in blue', where there was a man before."""
    return words[thing.end : thing.end + 1] in _TELLS_APART


def _same_tail(words: Sequence[str], earlier: Thing, later: Thing) -> bool:
    """Say whether the two words that say something after two things are the same, or the only one of either."""
    tails = [_tail(words, thing) for thing in (earlier, later)]
    shorter = min(map(len, tails))
    return shorter > 0 and tails[0][:shorter] == tails[1][:shorter]


def _tail(words: Sequence[str], thing: Thing) -> list[str]:
    following = words[thing.end : thing.end + 5]
    stop = next((i for i, word in enumerate(following) if not word[:1].isalnum()), len(following))
    return [stem(word) for word in following[:stop] if is_content_word(word)][:2]


def _modifiers(words: Sequence[str], thing: Thing) -> set[str]:
    return {stem(word) for word in words[thing.first : thing.head] if is_content_word(word)}
