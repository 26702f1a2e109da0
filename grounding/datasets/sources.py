"""Names of files with `~`, braces and globs, as the files that they stand for."""

import glob
import itertools
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from grounding.errors import GroundingError

_BRACES: Final = re.compile(r"\{([^{}]*)\}")
_RANGE: Final = re.compile(r"(-?\d+)\.\.(-?\d+)(?:\.\.(\d+))?")
_GLOB: Final = re.compile(r"[*?\[]")
_ADDRESS: Final = re.compile(r"[a-z][a-z0-9+.-]+://|pipe:", re.IGNORECASE)
_MOST: Final = 1_000_000  # names from one pattern


def expand(source: str | Path) -> list[Path]:
    """The files and folders of a source: `shards/{0000..0004}.tar`, `{train,val}/*.tar`, `~/data/**/*.tar`.

    Braces give names whether or not these exist, as in a shell; globs give the names there are, sorted. What exists
    under exactly this name is not a pattern.

    Raises:
        GroundingError: an empty name, an address, a glob that nothing matches, or a range of over a million names.
    """
    text = str(source)
    if not text:
        raise GroundingError("a source is an empty name: expected files or folders")
    if _ADDRESS.match(text):
        raise GroundingError(f"{text} is an address: download it first; expected files or folders")
    path = with_home(text)
    if os.path.exists(path):  # noqa: PTH110 - that of Path raises where a name is too long
        return [path]
    paths = []
    for name in _expand_braces(str(path)):
        if not _GLOB.search(name) or os.path.exists(name):  # noqa: PTH110
            paths.append(Path(name))
        elif matches := sorted(glob.glob(name, recursive=True)):  # noqa: PTH207 (patterns may be absolute)
            paths += map(Path, matches)
        else:
            raise GroundingError(f"no file matches {name}: expected files or folders with names like that")
    return paths


def with_home(path: str | Path) -> Path:
    """A path whose first part may be `~`; what names no user stays as it is."""
    return Path(os.path.expanduser(path))  # noqa: PTH111 (that of Path raises)


def _expand_braces(text: str) -> list[str]:
    names = list(itertools.islice(_names(text), _MOST + 1))
    if len(names) > _MOST:
        raise GroundingError(f"{text} stands for over {_MOST:,} files: is a range too long?")
    return list(dict.fromkeys(names))


def _names(text: str) -> Iterator[str]:
    """The names of a text with braces, from the innermost outwards; braces without a comma or a range stay."""
    for found in _BRACES.finditer(text):
        if choices := _choices(found[1], text):
            for choice in choices:
                yield from _names(text[: found.start()] + choice + text[found.end() :])
            return
    yield text


def _choices(inside: str, text: str) -> Iterable[str]:
    """`a,b` or a range: `0..4`, `0000..0004`, `4..0` or `0..8..2`."""
    if not (found := _RANGE.fullmatch(inside)):
        return inside.split(",") if "," in inside else ()
    first, last, step = int(found[1]), int(found[2]), int(found[3] or 1) or 1
    padded = any(re.match("-?0.", end) for end in found.groups()[:2])
    width = max(len(found[1]), len(found[2])) if padded else 0
    numbers = range(first, last + 1, step) if first <= last else range(first, last - 1, -step)
    if len(numbers) > _MOST:
        raise GroundingError(f"{text} stands for over {_MOST:,} files: is a range too long?")
    return (f"{number:0{width}d}" for number in numbers)
