"""Captions as given to captions as read: one place where text comes in, and the way back to its characters.

Web pages, office programs and right-to-left editors leave entities, full-width letters and invisible marks in captions.
They are read as a person reads them; what is found still points into the caption as it was given.
"""

import html
import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

# What people type; read as it stands, which keeps many captions fast.
_ORDINARY = re.compile(r"[!-%'-;=-~]*(?: [!-%'-;=-~]+)* ?")
_MARKUP = re.compile(
    r"""
    </?(?:a|b|big|br|center|div|em|font|h[1-6]|hr|i|img|li|ol|p|small|span|strong|su[bp]|u|ul)(?:\s[^<>]*=[^<>]*)?\s*/?>
    | (?:https?://|www\.)\S*[^\s.,;:!?)\]"']
    """,
    re.VERBOSE | re.IGNORECASE,
)
_ENTITY = re.compile(r"&(?:amp;)*(#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[a-zA-Z][a-zA-Z0-9]{1,31});")
_CLUSTER = re.compile(r"\r\n|.[\u0300-\u036f]*", re.DOTALL)  # a letter and its combining marks
_STAND_INS = {"\u00b4": "'", "\u02bc": "'", "\u2032": "'", "\u2010": "-", "\u2011": "-", "\u2212": "-"}

_Piece = tuple[str, int, int]  # characters as read, and the span that they have as given


@dataclass(frozen=True, slots=True)
class Caption:
    """A caption and how it is read.

    Attributes:
        given: as it came.
        text: entities are characters, letters have their usual width, marks that nobody sees are gone, and white space,
            HTML tags and addresses of web pages are one space, or one line feed where the caption has a line break.
        starts, ends: for each character of `text`, where it starts and ends in `given`.
    """

    given: str
    text: str
    starts: range | tuple[int, ...]
    ends: range | tuple[int, ...]

    def span(self, start: int, end: int) -> tuple[int, int]:
        """The span in `given` of `text[start:end]`, which is not empty."""
        return self.starts[start], self.ends[end - 1]


def read_caption(given: str) -> Caption:
    """Read a caption; one of ordinary characters is read as it stands."""
    if _ORDINARY.fullmatch(given) and "://" not in given and "www." not in given:
        return Caption(given, given, range(len(given)), range(1, len(given) + 1))
    pieces = [(character, start, end) for text, start, end in _pieces(given) for character in text]
    pieces = _without_runs_of_space(_without_markup(pieces))
    text = "".join(character for character, _, _ in pieces)
    return Caption(given, text, tuple(start for _, start, _ in pieces), tuple(end for _, _, end in pieces))


def as_read(given: str) -> str:
    """Return a text as it is read, on one line and without space around it."""
    return read_caption(given).text.replace("\n", " ").strip()


def _pieces(given: str) -> Iterator[_Piece]:
    """Entities and letters with their combining marks, as read; '' for what nobody sees."""
    position = 0
    for entity in _ENTITY.finditer(given):
        character = html.unescape(f"&{entity[1]};")
        if not character.endswith(";"):  # else it is no entity
            yield from _clusters(given, position, entity.start())
            yield _usual(character), *entity.span()
            position = entity.end()
    yield from _clusters(given, position, len(given))


def _clusters(given: str, begin: int, end: int) -> Iterator[_Piece]:
    for cluster in _CLUSTER.finditer(given, begin, end):
        text = _usual(cluster[0])
        if len(cluster[0]) > 1 and len(text) == len(cluster[0]):  # nothing that could be one letter
            yield from ((_usual(given[i]), i, i + 1) for i in range(*cluster.span()))
        else:
            yield text, *cluster.span()


def _usual(cluster: str) -> str:
    """A letter as it is usually written, a space for white space and control characters, a line feed for breaks."""
    if cluster in ("\r\n", "\n", "\r", "\v", "\f", "\x85", "\u2028", "\u2029"):
        return "\n"
    if cluster in _STAND_INS:
        return _STAND_INS[cluster]
    if cluster.isspace() or unicodedata.category(cluster[0]) == "Cc":
        return " "
    if unicodedata.category(cluster[0]) == "Cs":  # half a character, from bytes that were no text
        return "\N{REPLACEMENT CHARACTER}"
    visible = "".join(character for character in cluster if unicodedata.category(character) != "Cf")
    return unicodedata.normalize("NFKC", visible)


def _without_markup(pieces: list[_Piece]) -> list[_Piece]:
    """A space for each tag of HTML and each address of a web page, which name nothing in a picture."""
    kept: list[_Piece] = []
    position = 0
    for found in _MARKUP.finditer("".join(text for text, _, _ in pieces)):
        first, last = found.start(), found.end() - 1
        kept += [*pieces[position:first], (" ", pieces[first][1], pieces[last][2])]
        position = found.end()
    return kept + pieces[position:]


def _without_runs_of_space(pieces: Iterable[_Piece]) -> list[_Piece]:
    """One space, or one line feed, for several; without what is empty."""
    kept: list[_Piece] = []
    for text, start, end in pieces:
        if kept and text.isspace() and kept[-1][0].isspace():
            kept[-1] = ("\n" if "\n" in kept[-1][0] + text else " ", kept[-1][1], end)
        elif text:
            kept.append((text, start, end))
    return kept
