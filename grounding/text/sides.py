"""The side of the picture that a caption says a thing is on: 'the man on the left', 'the middle one'."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from grounding.text.things import SIDE_NOUNS, Thing
from grounding.text.tokens import is_content_word

Side = Literal["left", "right", "middle"]

_SIDES: dict[str, Side] = {
    **dict.fromkeys(("left", "leftmost", "left-most", "left-hand"), "left"),
    **dict.fromkeys(("right", "rightmost", "right-most", "right-hand"), "right"),
    **dict.fromkeys(("middle", "center", "centre", "central"), "middle"),
}
_ADVERBIAL = frozenset({"far", "very", "extreme", "upper", "lower", "top", "bottom"})
_AROUND = frozenset({"on", "at", "in", "the"})
_PICTURE = frozenset("picture photo photograph image frame screen scene shot group three trio".split())  # noqa: SIM905
_CLAUSE_BEGINS = frozenset({"", ".", ";", ":", "while", "and", ",", "as", "but"})
_VERB = re.compile(r"\w+(?:ing|ed|s)")


def own_side(words: Sequence[str], head: int) -> Side | None:
    """The side that a phrase says itself, given its words in lower case and where its head stands."""
    return _agreed([*_before_head(words, 0, head), *(side for _, _, side in _places(words[head + 1 :]))])


def read_sides(
    words: Sequence[str], things: Sequence[Thing], owner_of: Mapping[int, int], is_attribute: Sequence[bool]
) -> list[Side | None]:
    """The side of each thing of a caption; None also where the caption says two.

    Args:
        owner_of: the owners of things that have one.
        is_attribute: for each thing, whether 'on the left' after it is said of its owner.
    """
    said: list[list[Side]] = [
        [] if attribute else _before_head(words, thing.first, thing.head)
        for thing, attribute in zip(things, is_attribute, strict=True)
    ]
    for start, end, side in _places(words):
        index = _said_of(words, things, owner_of, is_attribute, start, end)
        if index is not None:
            said[index].append(side)
    return [_agreed(sides) for sides in said]


def _before_head(words: Sequence[str], first: int, head: int) -> list[Side]:
    """'The left man', 'the leftmost one', and 'the left side' itself, but not of the street."""
    if words[head] in (*SIDE_NOUNS, *_SIDES) and not _ends(words[head + 1 : head + 5]):
        return []
    return [_SIDES[word] for word in words[first : head + 1] if word in _SIDES]


def _places(words: Sequence[str]) -> list[tuple[int, int, Side]]:
    """Where the words say a side of the picture, [start, end) and which: 'on the far left side of the photo'."""
    places = []
    for i, word in enumerate(words):
        if word not in _SIDES:
            continue
        start = i - 1
        while start >= 0 and words[start] in _ADVERBIAL:
            start -= 1
        if start < 1 or words[start] != "the" or words[start - 1] not in ("on", "at", "in", "to"):
            continue
        end = i + 1
        while end < len(words) and words[end] in (*SIDE_NOUNS, "hand"):
            end += 1
        if words[end - 1] != "hand" and (end == i + 1 or words[end - 1] in SIDE_NOUNS) and _ends(words[end : end + 4]):
            places.append((start - 1, end, _SIDES[word]))
    return places


def _ends(following: Sequence[str]) -> bool:
    """Say whether a side is one of the picture: not 'on the left foot', 'on the left of the street'."""
    if not following:
        return True
    if following[0] == "of":
        return not _PICTURE.isdisjoint(following)
    return not is_content_word(following[0]) or _VERB.fullmatch(following[0]) is not None


def _said_of(
    words: Sequence[str],
    things: Sequence[Thing],
    owner_of: Mapping[int, int],
    is_attribute: Sequence[bool],
    start: int,
    end: int,
) -> int | None:
    """The thing that a side is said of: the one after it that begins a clause with it, else the one before it."""
    places = {*SIDE_NOUNS, *_SIDES}
    before = [i for i, thing in enumerate(things) if thing.head < start and thing.word not in places]
    after = [i for i, thing in enumerate(things) if thing.first >= end]
    begins = (words[start - 1] if start else "") in _CLAUSE_BEGINS and (
        not before or words[start - 1] not in ("and", ",")
    )
    if begins or not before:
        return after[0] if after else None
    index = before[-1]
    adjacent = things[index].end == start or all(
        word in places or word in _AROUND for word in words[things[index].end : start]
    )
    if words[start] == "to" and not adjacent:
        return None
    while is_attribute[index] and index in owner_of:
        index = owner_of[index]
    if adjacent or things[index].whole or things[index].is_living:
        return index
    return next((i for i in reversed(before) if things[i].whole or things[i].is_living), index)


def _agreed(sides: Iterable[Side]) -> Side | None:
    different = set(sides)
    return different.pop() if len(different) == 1 else None
