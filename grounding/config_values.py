"""The values of configuration keys: from YAML, which is read as text, to the types of the keys."""

import re
import types
import typing
from collections.abc import Callable, Sequence
from typing import Any, Final, Literal

import yaml
from yaml.composer import ComposerError

from grounding.errors import GroundingError


class Texts(yaml.SafeLoader):
    """YAML whose scalars stay as they are written: the type of a key decides what `5`, `no` or `2024-11-28` means.

    It has texts, lists and groups, and no other tags. A key that is there twice, nesting without end, and aliases that
    stand for more than a configuration holds (each counts as all that it stands for) are refused as broken YAML.
    """

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._size = self._depth = 0
        self._sizes: dict[str, int] = {}  # by the name that aliases use

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Make the next node of the tree, and count what it stands for."""
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        alias, start = isinstance(event, yaml.AliasEvent), self._size
        if alias and event.anchor in self.anchors and event.anchor not in self._sizes:
            raise ComposerError(None, None, f"'{event.anchor}' is inside itself", event.start_mark)
        self._size += self._sizes.get(event.anchor, 0) if alias else _NODE + len(getattr(event, "value", ""))
        self._depth += 1
        if self._size > _MOST or self._depth > _DEEPEST:
            raise ComposerError(None, None, "it holds more than a configuration does", event.start_mark)
        node: yaml.Node | None = super().compose_node(parent, index)
        self._depth -= 1
        if not alias and event.anchor is not None:
            self._sizes[event.anchor] = self._size - start
        return node

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """Make a group of keys, of which none is there twice."""
        node = super().compose_mapping_node(anchor)
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                raise ComposerError(None, None, f"the key '{key.value}' is there twice", key.start_mark)
            seen |= {key.value} if isinstance(key, yaml.ScalarNode) else set()
        return node


_TAG = "tag:yaml.org,2002:"
_MOST, _NODE, _DEEPEST = 200_000, 10, 32  # characters and more for each node; levels
Texts.yaml_implicit_resolvers = {"<": [(f"{_TAG}merge", re.compile("^<<$"))]}  # `<<: *name` alone
Texts.yaml_constructors = {
    tag: yaml.SafeLoader.yaml_constructors[tag] for tag in (f"{_TAG}str", f"{_TAG}seq", f"{_TAG}map", None)
}


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
