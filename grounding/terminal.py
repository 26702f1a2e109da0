"""A result as a table for a terminal."""

from collections.abc import Iterator

from rich.console import Console
from rich.table import Table
from rich.text import Text

from grounding.drawing import phrase_colour
from grounding.grounded import GroundedPhrase
from grounding.results import Grounding
from grounding.wording import counted

_SAMPLE = "sample scene: scikit-image's CC0 photograph of a cameraman, with a hat painted on by us"
_COLUMNS = ("phrase", "status", "presence", "tags", "rank", "box x0 y0 x1 y1 (px)", "score")
_WIDE, _NARROW = 140, 60  # characters: where there is no terminal; what the table takes at least
_USUAL, _SPACIOUS = 80, 100  # where there is room between columns; where the tags have a column of their own


def result_table(result: Grounding, path: str | None, total_s: float, top_k: int = 1) -> str:
    """Show the best regions of each phrase, between lines about the picture and the time.

    Args:
        path: of the picture; None for the sample scene.
        total_s: that the picture and its phrases took.
        top_k: at most so many regions a phrase, each in a row.
    """
    console = Console(highlight=False)
    console = Console(highlight=False, width=max(_NARROW, console.width) if console.is_terminal else _WIDE)
    height, width = result.image.shape[:2]
    table = Table(padding=(0, 1 if console.width >= _USUAL else 0))
    for name in _COLUMNS:
        table.add_column(name, overflow="fold", no_wrap=name in ("status", "presence", "rank", "score"))
    for index, grounded in enumerate(result):
        for row in _rows(grounded, phrase_colour(index), top_k, tags_below=console.width < _SPACIOUS):
            table.add_row(*row, style="dim" if grounded.status == "absent" else None)
    unused = ({"tags"} if console.width < _SPACIOUS else set()) | ({"rank"} if top_k == 1 else set())
    table.columns = [column for column in table.columns if column.header not in unused]
    none = "no noun phrase in this caption: nothing to look for (--phrases names them yourself)"
    took = f"{total_s:.2f} s for the picture and {counted(len(result), 'phrase')}"
    with console.capture() as capture:
        console.print(Text(f"{_visible(path or _SAMPLE)} ({width} x {height} px)"), soft_wrap=True)
        console.print(table if len(result) else none)
        for note in result.notes:
            console.print(Text(f"note: {_visible(note)}"), soft_wrap=True)
        console.print(Text(f"classifier {result.classifier}, context {result.context}; {took}"))
    return capture.get().rstrip("\n")


def _rows(grounded: GroundedPhrase, colour: str, top_k: int, tags_below: bool) -> Iterator[tuple[Text | str, ...]]:
    """A row for each region, and one where there is none; what is said of the phrase stands in the first."""
    guess = " (a guess)" if grounded.status == "out-of-vocabulary" else ""
    tags = _visible("\n".join(map(str, grounded.words))) or "-"
    phrase = Text(_visible(" ".join(grounded.phrase.text.split())), style=colour)
    phrase = Text.assemble(phrase, f"\n{tags}") if tags_below else phrase
    presence = "-" if grounded.presence is None else f"{grounded.presence:.2f}"
    status = "absent, as the caption says" if grounded.phrase.negated else grounded.status
    said = phrase, status, presence, Text(tags)
    for rank, region in enumerate(grounded.regions[:top_k], start=1):
        box = " ".join(f"{edge:.0f}" for edge in region.box) + guess
        yield (*(said if rank == 1 else ("",) * 4), str(rank), box, f"{region.score:.3f}")
    if not grounded.regions:
        yield (*said, "-", "-", "-")


def _visible(text: str) -> str:
    """Without characters that a terminal would obey."""
    return "".join(
        character if character.isprintable() or character == "\n" else "\N{REPLACEMENT CHARACTER}" for character in text
    )
