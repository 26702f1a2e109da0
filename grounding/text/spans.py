"""Small corrections of where base phrases begin and end, where the tagger's brackets are often wrong."""

import re
from collections.abc import Sequence

from grounding.text.numbers import is_number
from grounding.text.tokens import ABBREVIATIONS, Token

_INITIALS = re.compile(r"(?:[^\W\d_]\.)+[^\W\d_]")  # 'U.S' of 'the U.S.'
_POSSESSIVE = frozenset({"'s", "\u2019s"})
_CLOSING = {'"': '"', "\u201c": "\u201d", "\u00ab": "\u00bb", "``": "''", "(": ")", "[": "]"}
_SUBJECT_AFTER = frozenset({"", "while", "as", "when", ",", ".", ";"})
_VERB_BEFORE = frozenset(
    """
    . , ; and on in at around down up along across through over past by near with for to toward towards into under
    together against during while outside inside
    """.split()  # noqa: SIM905
)
_VERBS = frozenset(
    """
    race bike box surf skate ski swing fence paddle kayak canoe raft row sled march parade rally battle fight fish hike
    camp dive sprint jog trek travel wrestle swim climb dance jump walk run ride play rest wait work drive sail tour
    cycle skateboard snowboard exercise practice protest dress pose drum cook grill shop crowd gather wave cheer
    """.split()  # noqa: SIM905
)
_PLURALS = frozenset({"men", "women", "people", "children", "kids"})
_NO_SUBJECTS = frozenset({"sports", "clothes", "glasses", "arms"})  # first in compounds: 'sports bike'
_SINGULAR = frozenset({"a", "an", "this", "that", "each", "every", "one"})


def base_runs(run: Sequence[Token], tokens: Sequence[Token]) -> list[list[Token]]:
    """The base phrases of a bracket, a run of the caption's tokens.

    It does not begin with the 's of an owner, names one owner ("the car's driver's seat" is "the car" and "driver's
    seat"), does not end with the verb of the sentence ("trucks race around a track", "number five leads"), and closes
    the quotation mark or parenthesis that it opens, and keeps the full stop of initials and abbreviations at its end.
    """
    if _ends_with_verb(run, tokens):
        run = run[:-1]
    while len(run) > 1 and run[0].text in _POSSESSIVE:
        run = run[1:]
    owners = [i for i, token in enumerate(run) if token.text in _POSSESSIVE and not run[i - 1].text[0].isdigit()]
    parts = [run]
    if len(owners) > 1 and owners[-1] < len(run) - 1:
        parts = [run[: owners[-2]], run[owners[-2] + 1 :]]
    return [_closed(part, tokens) for part in parts if part]


def _ends_with_verb(run: Sequence[Token], tokens: Sequence[Token]) -> bool:
    """Say whether the last word is the verb of what is before it: a plural that begins a sentence, or a number."""
    words = [token.text.lower() for token in run]
    if len(words) < 2:
        return False
    last, subject = words[-1], words[-2]
    if "number" in words[:-2] and is_number(subject) and last.endswith("s"):
        return True
    is_plural = subject in _PLURALS or (subject.endswith("s") and not subject.endswith(("ss", "us", "'s")))
    before = next((token.text.lower() for token in reversed(tokens) if token.end <= run[0].start), "")
    after = next((token.text.lower() for token in tokens if token.start >= run[-1].end), ".")
    is_subject = before in _SUBJECT_AFTER and words[0] not in _SINGULAR and subject not in _NO_SUBJECTS
    return is_plural and is_subject and last in _VERBS and after in _VERB_BEFORE


def _closed(run: Sequence[Token], tokens: Sequence[Token]) -> list[Token]:
    """The run, with the tokens around it that close what is open in it, or that belong to its last word."""
    following = next((token for token in tokens if token.start >= run[-1].end), None)
    if following and following.text == "." and following.start == run[-1].end and _needs_full_stop(run[-1].text):
        return [*run[:-1], Token(run[-1].text + ".", run[-1].start, following.end)]
    before = next((token for token in reversed(tokens) if token.end <= run[0].start), None)
    if before and before.text in _CLOSING and _lacks_opening(before.text, [token.text for token in run]):
        return [before, *run]
    opened = [token.text for token in run if token.text in _CLOSING]
    if following is None or not opened:
        return list(run)
    closing = _CLOSING[opened[-1]]
    unmatched = len(opened) % 2 == 1 if closing == opened[-1] else closing not in {token.text for token in run}
    return [*run, following] if unmatched and following.text == closing else list(run)


def _lacks_opening(opening: str, words: Sequence[str]) -> bool:
    """Say whether the first mark of its kind among these words closes what was opened before: 'stop" sign'."""
    closing = _CLOSING[opening]
    if closing == opening:
        return words.count(closing) % 2 == 1
    return next((word for word in words if word in (opening, closing)), "") == closing


def _needs_full_stop(word: str) -> bool:
    return _INITIALS.fullmatch(word) is not None or f"{word.lower()}." in ABBREVIATIONS - {"no."}
