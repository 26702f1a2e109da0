"""Which picture a map is of, told from their names."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Final

from grounding.errors import GroundingError

_ENDINGS: Final = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".npy")


def match(source: object, names: Iterable[str], ids: Sequence[str]) -> dict[str, str]:
    """The id of the picture that each map is of, by the map's name; maps of other pictures are not in it.

    A name is that of a picture whose id is the same; else whose id is the same without the endings of files; else that
    ends with it at a `/`, or that it ends with: `a/b.png` is a map of `photos/a/b.jpg` and of `b`.

    Args:
        source: is named in messages.

    Raises:
        GroundingError: a name is that of several pictures, several names are of one picture, or no name is of any.
    """
    by_last = defaultdict[str, list[str]](list)
    for id_ in ids:
        by_last[_last(id_)].append(id_)
    found: dict[str, str] = {}
    of_picture: dict[str, str] = {}
    first = ""
    for name in names:
        first = first or name
        candidates = _candidates(name, by_last.get(_last(name), ()))
        if len(candidates) > 1:
            raise GroundingError(
                f"{source}: the map '{name}' may be that of '{candidates[0]}' and of '{candidates[1]}': expected one "
                "picture; give it more of the picture's path, or ids to the pictures (a column `id` of their table)"
            )
        if candidates:
            other = of_picture.setdefault(candidates[0], name)
            if other != name:
                raise GroundingError(
                    f"{source}: '{other}' and '{name}' are both maps of the picture '{candidates[0]}': expected one; "
                    "remove the other, or give the folder with the maps alone"
                )
            found[name] = candidates[0]
    if not found:
        theirs = f"its maps, such as '{first}'," if first else "its maps (there is none)"
        ours = f"the {len(ids)} pictures, such as '{ids[0]}'" if ids else "the pictures (there is none)"
        raise GroundingError(f"{source}: none of {theirs} is that of one of {ours}: is it theirs?")
    return found


def _candidates(name: str, ids: Sequence[str]) -> list[str]:
    """The ids that fit best; equal ids of several pictures are several."""
    bare = _bare(name)
    levels = (
        lambda id_: id_ == name,
        lambda id_: _bare(id_) == bare,
        lambda id_: f"/{_bare(id_)}".endswith(f"/{bare}") or f"/{bare}".endswith(f"/{_bare(id_)}"),
    )
    return next((fitting for fits in levels if (fitting := [id_ for id_ in ids if fits(id_)])), [])


def _bare(name: str) -> str:
    """Without the ending of a picture file."""
    ending = next((ending for ending in _ENDINGS if name.lower().endswith(ending)), "")
    return name[: len(name) - len(ending)]


def _last(name: str) -> str:
    return _bare(name).rpartition("/")[2]
