"""The columns of a table that are read: which name each has, and what is said where it is not there."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from grounding.errors import GroundingError, did_you_mean

_OPTIONS = "(--image-column, --caption-column; of a training data.image_column, data.caption_column, data.label_column)"
_MOST_SHOWN = 12  # names in a message


@dataclass(frozen=True, slots=True)
class TableOptions:
    """How tables are read.

    Attributes:
        image_column, caption_column, phrases_column: their names. Capitals and spaces around a name do not matter where
            no column has exactly this one. `captions` is read too where `caption_column` is `caption`. Without a name
            of `phrases_column` phrases are not read.
        delimiter: of CSV, one character or `tab`; empty: `,`, `;` or a tab, told from the line of names.
        image_folder: where relative picture paths start; empty: the folder of the table.
        id_column: names the pictures, where there is one column of this name; it may be missing.
    """

    image_column: str = "image"
    caption_column: str = "caption"
    phrases_column: str = "phrases"
    delimiter: str = ""
    image_folder: str = ""
    id_column: str = "id"


class Record(NamedTuple):
    """A row as it is written.

    Attributes:
        number: its line in a text file, else its position from 1.
        values: what it holds as `image`, `id`, `captions`, `caption` and `phrases`.
        damage: why it cannot be read, or empty.
    """

    number: int
    values: Mapping[str, object] = {}
    damage: str = ""


def columns_present(table: object, names: Sequence[str], options: TableOptions) -> dict[str, int]:
    """Positions of the wanted columns that there are, by what they hold.

    Raises:
        GroundingError: there are two of one name.
    """
    found: dict[str, int] = {}
    for role, wanted in _wanted(options).items():
        places = [place for place, name in enumerate(names) if name == wanted]
        places = places or [place for place, name in enumerate(names) if _plain(name) == _plain(wanted)]
        if len(places) > 1 and role == "id":
            continue  # it names no picture
        if len(places) > 1:
            raise GroundingError(
                f"{table} has {len(places)} columns '{wanted}': expected one; rename the others, or name another "
                f"column {_OPTIONS}"
            )
        if places:
            found[role] = places[0]
    return found


def find_columns(table: object, names: Sequence[str], options: TableOptions) -> dict[str, int]:
    """Positions of the wanted columns, by what they hold: `image`, and at least one of the others.

    Raises:
        GroundingError: one is missing, with the nearest names; or there are two of one name.
    """
    found = columns_present(table, names, options)
    wanted, usual = _wanted(options), _wanted(TableOptions())
    named = [role for role, name in wanted.items() if name != usual.get(role)]  # by the user
    needed = ["image", *named, *([] if found.keys() - {"image", "id"} else ["caption"])]
    if missing := [wanted[role] for role in needed if role not in found]:
        advice = did_you_mean(missing[0], names, "", most=2)
        raise GroundingError(
            f"{table} has no column '{missing[0]}': {advice}{' ' if advice else ''}it has {_listed(names)}; "
            f"name the right one {_OPTIONS}"
        )
    return found


def fits(names: Sequence[str], options: TableOptions) -> bool:
    """Whether these are names of a table that can be read, or would be without a name that is there twice."""
    plain = {_plain(name) for name in names}
    roles = {role for role, name in _wanted(options).items() if _plain(name) in plain}
    return "image" in roles and len(roles - {"id"}) > 1


def _wanted(options: TableOptions) -> dict[str, str]:
    """The names of the columns by what they hold."""
    wanted = {
        "image": options.image_column,
        "id": options.id_column,
        "caption": options.caption_column,
        "phrases": options.phrases_column,
    }
    if options.caption_column == "caption":
        wanted["captions"] = "captions"
    return {role: name for role, name in wanted.items() if name}


def _plain(name: str) -> str:
    return name.strip().casefold()


def _listed(names: Iterable[str]) -> str:
    shown = [name if len(name) <= 40 else f"{name[:39]}…" for name in names]
    more = len(shown) - _MOST_SHOWN
    return ", ".join(shown[:_MOST_SHOWN]) + (f" and {more} more" if more > 0 else "") or "none"
