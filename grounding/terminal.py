"""A result as a table for a terminal."""

from rich.console import Console
from rich.table import Table
from rich.text import Text

from grounding.drawing import phrase_colour
from grounding.results import Grounding

_SAMPLE = "sample scene: scikit-image's CC0 photograph of a cameraman, with a hat painted on by us"


def result_table(result: Grounding, path: str | None, total_s: float) -> str:
    """Show the best region of each phrase, between lines about the picture and the time.

    Args:
        path: of the picture; None for the sample scene.
        total_s: that the picture and its phrases took.
    """
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=140)
    height, width = result.image.shape[:2]
    table = Table("phrase", "status", "tags", "box x0 y0 x1 y1 (px)", "score")
    for index, grounded in enumerate(result):
        best = grounded.best
        guess = " (a guess)" if grounded.status == "out-of-vocabulary" else ""
        table.add_row(
            Text(_visible(grounded.phrase.text), style=phrase_colour(index)),
            grounded.status,
            Text(_visible("\n".join(map(str, grounded.words))) or "-"),
            " ".join(f"{edge:.0f}" for edge in best.box) + guess if best else "-",
            f"{best.score:.3f}" if best else "-",
        )
    none = "no noun phrase in this caption: nothing to look for (--phrases names them yourself)"
    with console.capture() as capture:
        console.print(Text(f"{_visible(path or _SAMPLE)} ({width} x {height} px)"), soft_wrap=True)
        console.print(table if len(result) else none)
        for note in result.notes:
            console.print(Text(f"note: {_visible(note)}"), soft_wrap=True)
        console.print(
            Text(f"classifier {result.classifier}; {total_s:.2f} s for the picture and {len(result)} phrases")
        )
    return capture.get().rstrip("\n")


def _visible(text: str) -> str:
    """Without characters that a terminal would obey."""
    return "".join(
        character if character.isprintable() or character == "\n" else "\N{REPLACEMENT CHARACTER}" for character in text
    )
