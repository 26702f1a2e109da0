"""What the two columns of a comparison are called: by the settings that differ, such as `context=caption`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from grounding.config import METHOD

_TOLD: Final = 2  # settings that a column tells; the number of the others is said
_LONGEST: Final = 24  # characters of a value
_CONFIG: Final = "config."
_CHOSEN: Final = ("method", "classifier.source", _CONFIG, "maps.")  # told before the others
_FOLLOWS: Final = ("versions.", "min_presence")  # told where nothing else differs
_DIGESTS: Final = ("annotations", "predictions", "classifier.fingerprint")  # say nothing to people
_ABSENT: Final = object()


@dataclass(frozen=True, slots=True)
class Side:
    """One run of a comparison.

    Attributes:
        name: of the run, as its tables call it.
        settings: what it was run with.
        path: its folder.
    """

    name: str
    settings: Mapping[str, Any]
    path: str


def columns(a: Side, b: Side) -> tuple[str, str]:
    """What the columns of two runs are called, so that they differ.

    Their names; of the same name the settings in which they differ; with the same settings their folders.
    """
    if a.name != b.name:
        return a.name, b.name
    settings = [{"method": METHOD, **_leaves(side.settings)} for side in (a, b)]
    differing = [
        key
        for key in settings[0] | settings[1]
        if not key.startswith(_DIGESTS) and settings[0].get(key, _ABSENT) != settings[1].get(key, _ABSENT)
    ]
    told = [key for key in differing if not key.startswith(_FOLLOWS)] or differing
    told.sort(key=lambda key: not key.startswith(_CHOSEN))
    if not told:
        return _folders(Path(a.path), Path(b.path))
    more = f" and {len(told) - _TOLD} more" if len(told) > _TOLD else ""
    pairs = [
        (key.removeprefix(_CONFIG), *_values(*(_text(side[key]) if key in side else "unset" for side in settings)))
        for key in told[:_TOLD]
    ]
    before, after = (", ".join(f"{pair[0]}={pair[place]}" for pair in pairs) + more for place in (1, 2))
    return before, after


def whole_names(a: Side, b: Side) -> tuple[str, str]:
    """The names of two runs with what tells them apart, such as `embedded (context=caption)`."""
    if a.name != b.name:
        return a.name, b.name
    before, after = columns(a, b)
    return f"{a.name} ({before})", f"{b.name} ({after})"


def _leaves(values: Mapping[str, Any], where: str = "") -> dict[str, Any]:
    """Every single setting under its dotted name."""
    leaves: dict[str, Any] = {}
    for key, value in values.items():
        leaves |= _leaves(value, f"{where}{key}.") if isinstance(value, Mapping) else {f"{where}{key}": value}
    return leaves


def _text(value: object) -> str:
    """As one writes it in a configuration file."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ",".join(map(_text, value))
    known = {None: "null", True: "true", False: "false"}
    return known[value] if value is None or isinstance(value, bool) else " ".join(str(value).split())


def _values(a: str, b: str) -> tuple[str, str]:
    """Two values that differ, cut where they are long to the part in which they do."""
    if max(len(a), len(b)) <= _LONGEST:
        return a, b
    begins = [value if len(value) <= _LONGEST else f"{value[: _LONGEST - 1]}…" for value in (a, b)]
    if begins[0] != begins[1]:
        return begins[0], begins[1]
    ends = [value if len(value) <= _LONGEST else f"…{value[1 - _LONGEST :]}" for value in (a, b)]
    return (ends[0], ends[1]) if ends[0] != ends[1] else (a, b)


def _folders(a: Path, b: Path) -> tuple[str, str]:
    """The last parts of two paths that differ; of the same path its name twice."""
    for parts in range(1, max(len(a.parts), len(b.parts)) + 1):
        ends = tuple(str(Path(*path.parts[-parts:])) for path in (a, b))
        if ends[0] != ends[1]:
            return ends[0], ends[1]
    return a.name, b.name
