"""What kind of thing a head noun names, as far as it says what belongs to what: wholes, and what they wear and have."""

import functools
from collections.abc import Iterable
from typing import Literal

from grounding.text.attributes import attributes
from grounding.text.kinds import Kinds, noun_forms
from grounding.text.people import names_people

Whole = Literal["person", "animal", "vehicle", "building", "furniture"]
Attribute = Literal["clothing", "body", "part"]

# The kinds of WordNet that each is, a word being of the first that its usual meaning is a kind of.
_WHOLES: tuple[tuple[Whole, tuple[str, ...]], ...] = (
    ("person", ("person", "assemblage", "personnel", "musical group", "squad")),
    ("animal", ("animal",)),
    ("vehicle", ("vehicle", "transport")),
    ("building", ("building", "establishment", "housing", "shelter", "tower", "castle")),
    ("furniture", ("furniture",)),
)
_BANDS = frozenset({"band", "bands"})  # of musicians, in most captions; WordNet's usual one is of rubber
_CLOTHING = ("clothing", "footgear", "eyeglasses", "jewelry", "handwear")
_BODY = ("body part", "body covering", "facial expression")
_STUFF = ("color", "cloth")


@functools.lru_cache(maxsize=65536)
def whole_kind(head: str) -> Whole | None:
    """Say what whole a head noun names, in the singular or plural, in its usual meaning; None for anything else."""
    if names_people(head) or head.lower() in _BANDS:
        return "person"
    return next((whole for whole, kinds in _WHOLES if _is_any(head, kinds)), None)


@functools.lru_cache(maxsize=65536)
def attribute_kind(head: str) -> Attribute | None:
    """Say whether a head noun names what is worn, a part of a body, or a part of another thing; None for neither.

    Captions decide about what they often say is worn, or never; else WordNet does.
    """
    if "-" in head:
        return attribute_kind(head.rpartition("-")[2])
    if head.lower() == "top":  # what captions mean, where it is the head of a phrase
        return "clothing"
    known = attributes().get(head.lower())
    if known == "clothing" or (known is None and is_clothing(head)):
        return "clothing"
    return "body" if is_of_body(head) else "part" if known == "part" else None


def is_clothing(head: str) -> bool:
    """Say whether WordNet has the usual meaning of a noun as something that is worn."""
    return _is_any(head, _CLOTHING)


def is_of_body(head: str) -> bool:
    """Say whether WordNet has the usual meaning of a noun as a part of a body, or an expression of a face."""
    return _is_any(head, _BODY)


@functools.lru_cache(maxsize=65536)
def is_colour_or_cloth(head: str) -> bool:
    """Say whether a word names a colour or a cloth, which stands for clothes in 'a man in black'."""
    return _is_any(head, _STUFF)


def _is_any(word: str, kinds: Iterable[str]) -> bool:
    table = Kinds.embedded()
    return any(table.names(form, kind) for form in noun_forms(word.lower()) for kind in kinds)
