"""Small corrections of where base phrases begin and end, which the tagger's brackets leave open."""

from collections.abc import Sequence

from grounding.text.tokens import Token

_POSSESSIVE = frozenset({"'s", "\u2019s"})
_CLOSING = {'"': '"', "\u201c": "\u201d", "\u00ab": "\u00bb", "``": "''", "(": ")", "[": "]"}


def base_runs(run: Sequence[Token], tokens: Sequence[Token]) -> list[list[Token]]:
    """The base phrases of a bracket, a run of the caption's tokens.

    It does not begin with the 's of an owner, names one owner ("the car's driver's seat" is "the car" and "driver's
    seat"), and closes the quotation mark or parenthesis that it opens.
    """
    while len(run) > 1 and run[0].text in _POSSESSIVE:
        run = run[1:]
    owners = [i for i, token in enumerate(run) if token.text in _POSSESSIVE and not run[i - 1].text[0].isdigit()]
    parts = [run]
    if len(owners) > 1 and owners[-1] < len(run) - 1:
        parts = [run[: owners[-2]], run[owners[-2] + 1 :]]
    return [_closed(part, tokens) for part in parts if part]


def _closed(run: Sequence[Token], tokens: Sequence[Token]) -> list[Token]:
    """The run, with the token after it where that closes what is open."""
    following = next((token for token in tokens if token.start >= run[-1].end), None)
    opened = [token.text for token in run if token.text in _CLOSING]
    if following is None or not opened:
        return list(run)
    closing = _CLOSING[opened[-1]]
    unmatched = len(opened) % 2 == 1 if closing == opened[-1] else closing not in {token.text for token in run}
    return [*run, following] if unmatched and following.text == closing else list(run)
