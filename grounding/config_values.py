"""The values of configuration keys: from YAML, which is read as text, to the types of the keys."""

import re
import types
import typing
from collections.abc import Callable, Sequence
from typing import Any, Final, Literal

import yaml

from grounding.errors import GroundingError


class Texts(yaml.SafeLoader):
    """YAML whose scalars stay as they are written: the type of a key decides what `5`, `no` or `2024-11-28` means."""


Texts.yaml_implicit_resolvers = {"<": [("tag:yaml.org,2002:merge", re.compile("^<<$"))]}  # `<<: *name` alone


def is_nothing(value: Any) -> bool:
    """Whether a value, or the text of one, says that there is none."""
    return value is None or (isinstance(value, str) and value.strip().lower() in _NOTHING)


def convert(value: Any, kind: Any, name: str) -> Any:
    """Return a plain value, or the text of one, as the type of a field; a `GroundingError` names the key."""
    origin, choices = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        return convert(value, choices[0], name)
    if origin is Literal:
        if value not in choices:
            raise GroundingError(f"configuration key '{name}' is {value!r}: expected one of {', '.join(choices)}")
        return value
    if origin is tuple:
        if isinstance(value, str) and choices[0] is not str and "," in value:  # numbers without brackets
            value = value.split(",")
        items = [value] if isinstance(value, str) or not isinstance(value, Sequence) else value
        names = [name] if items is not value else [f"{name}[{i}]" for i in range(len(items))]
        return tuple(convert(item, choices[0], each) for item, each in zip(items, names, strict=True))
    expected, read = _SCALARS[kind]
    try:
        return read(value)
    except (ValueError, OverflowError):
        given = "empty" if value in (None, "") else repr(value)
        raise GroundingError(f"configuration key '{name}' is {given}: expected {expected}") from None


def _text(value: Any) -> str:
    if isinstance(value, str) and value.strip():
        return value
    raise ValueError


def _truth(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.strip().lower() in _TRUTHS:
        return _TRUTHS[value.strip().lower()]
    raise ValueError


def _number(value: Any) -> float:
    if isinstance(value, int | float | str) and not isinstance(value, bool):
        return float(value)
    raise ValueError


def _whole_number(value: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    try:
        return int(value) if isinstance(value, str) else int(str(value))
    except ValueError:
        number = _number(value)  # 3.0 and 1e3 are whole
        if number != int(number):
            raise
        return int(number)


_NOTHING: Final = ("", "none", "null", "~")
_TRUTHS: Final = {
    word: truth for truth, words in ((True, "true yes on"), (False, "false no off")) for word in words.split()
}
_SCALARS: Final[dict[Any, tuple[str, Callable[[Any], Any]]]] = {
    str: ("a text", _text),
    bool: ("true or false", _truth),
    float: ("a number", _number),
    int: ("a whole number", _whole_number),
}
