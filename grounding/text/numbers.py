"""Numbers and ordinals, in digits and in words."""

import re

_ORDINALS = {1: "first", 2: "second", 3: "third", 5: "fifth", 8: "eighth", 9: "ninth", 12: "twelfth"}
_CARDINALS = tuple(
    """
    zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen
    eighteen nineteen twenty
    """.split()  # noqa: SIM905
)
_ENDINGS = {1: "st", 2: "nd", 3: "rd"}  # of ordinals in digits, but for 11th to 13th
_LARGE = frozenset("thirty forty fifty sixty seventy eighty ninety hundred thousand million".split())  # noqa: SIM905
_DIGITS = re.compile(r"[#\u2116]?\d[\d.,:/]*(?:st|nd|rd|th|'?s)?")


def _ordinal(number: int) -> str:
    return _ORDINALS.get(number, _CARDINALS[number].removesuffix("y") + ("ieth" if number == 20 else "th"))


_WAYS = [{str(number), word} for number, word in enumerate(_CARDINALS)]
_WAYS += [
    {f"{number}{'th' if number > 10 else _ENDINGS.get(number, 'th')}", _ordinal(number)} for number in range(1, 21)
]
_OTHER_WAY = {way: (ways - {way}).pop() for ways in _WAYS for way in ways}


def is_number(word: str) -> bool:
    """Say whether a word is a number or an ordinal: '23', '1st', 'three', 'twenty-third'."""
    parts = word.lower().split("-")
    return all(part in _OTHER_WAY or part in _LARGE or _DIGITS.fullmatch(part) is not None for part in parts)


def other_way(number: str) -> str | None:
    """Write a number up to 20 the other way: '3' is 'three', 'first' is '1st'; None for what is none."""
    return _OTHER_WAY.get(number.lower())
