"""The errors a caller can mend. Each message is one line: what was given, what was expected, what to do."""

import difflib
from collections.abc import Iterable
from numbers import Integral
from typing import Final

_LONGEST: Final = 1000  # characters of a message
_START: Final = 500  # of them before the gap


class GroundingError(ValueError):
    """Bad input: a file, an option, a caption or a configuration. Command lines print it and exit with status 2.

    The message is one line, whatever is quoted in it: line breaks become spaces, and of over 1,000 characters, as a
    damaged table may have in place of a name, the middle is left out.
    """

    def __init__(self, message: str) -> None:
        line = " ".join(message.splitlines())
        left_out = len(line) - _LONGEST
        super().__init__(line if left_out <= 0 else f"{line[:_START]} ... {line[_START + left_out + 5 :]}")


class UnsupportedOperationError(GroundingError):
    """The forward pass ran an operation that has no Excitation Backprop rule."""


def did_you_mean(name: str, known: Iterable[str], otherwise: str, prefix: str = "", most: int = 1) -> str:
    """Give advice for a name that is not known: the nearest known ones.

    Args:
        otherwise: the advice where none is near.
        prefix: stands before each name in the advice.
        most: how many names at most.
    """
    near = difflib.get_close_matches(name, list(known), n=most, cutoff=0.5)
    return f"did you mean {' or '.join(repr(prefix + each) for each in near)}?" if near else otherwise


def check_at_least_one(name: str, value: object) -> None:
    """Raise a `GroundingError` unless a number is whole, and 1 or more."""
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise GroundingError(f"{name} is {value!r}: expected a whole number, at least 1")
    if value < 1:
        raise GroundingError(f"{name} is {value}: expected at least 1")
