"""Metrics and differences as tables for a terminal: every name whole, whatever the width."""

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from grounding.datasets.flickr30k import TYPES
from grounding.evaluation.protocols.protocol import HEADLINE
from grounding.evaluation.report import standardised
from grounding.evaluation.report.calibration import sentences
from grounding.evaluation.report.charts import describe
from grounding.evaluation.report.sections import compared
from grounding.wording import counted

_WIDE = 160  # where there is no terminal
_LONGEST_WORD = 16  # of a header; longer ones are folded
_FRAME = 3  # what a column takes besides its text


def metrics_table(metrics: Mapping[str, Any]) -> str:
    """The run beside the baselines under every headline protocol, standardised too, then the run by entity type."""
    data, run = metrics["dataset"], metrics["run"]
    title = (
        f"{data['name']} {data['split']}, {data['coverage']}, {counted(data['phrases'], 'phrase')} with a box"
        f"{', context ' + metrics['context'] if metrics.get('context') else ''}; percent"
    )
    rows = []
    for protocol in HEADLINE:
        numbers = [summaries[protocol.name] for _, summaries, _ in compared(metrics)]
        count = max(number["count"] for number in numbers)
        first = describe(numbers[0]) if run and numbers[0]["count"] else _short(numbers[0])
        rows.append([protocol.name, f"{count:,}", first, *map(_short, numbers[1:])])
    headers = ["protocol", "phrases", *(name for name, _, _ in compared(metrics))]
    text = text_table(f"{title} [95% interval over images]", headers, rows) + _standardised(metrics)
    if run:
        rows = [
            [protocol.name, *(_short(run[protocol.name].get("types", {}).get(kind, {})) for kind in TYPES)]
            for protocol in HEADLINE
        ]
        headers = ["protocol", *(f"{kind} {data['types'][kind]:,}" for kind in TYPES)]
        statuses = ", ".join(f"{status} {count:,}" for status, count in metrics["statuses"].items())
        text += f"{text_table(f'{title}, by type', headers, rows)}statuses: {statuses}\n"
        text += "".join(f"{line}\n" for line in sentences(metrics)) + _wrapped(standardised.sentences(metrics))
    return text


def _standardised(metrics: Mapping[str, Any]) -> str:
    """The same table as the whole split would give it, and what it could not be made to match."""
    table = standardised.rows(metrics)
    if not table:
        return ""
    has_run = metrics["run"] is not None
    rows = []
    for protocol, numbers in table:
        first = describe(numbers[0]) if has_run and numbers[0]["count"] else _short(numbers[0])
        rows.append([protocol.name, first, *map(_short, numbers[1:])])
    title = f"{standardised.heading(metrics)}; percent [95% interval over images]"
    text = text_table(title, ["protocol", *standardised.names(metrics)], rows)
    return text + _wrapped(metrics["standardised"]["notes"])


def difference_table(comparison: Mapping[str, Any]) -> str:
    """b minus a under every headline protocol."""
    headers = ["protocol", "phrases", *(f"{side}: {comparison[side]['column']}" for side in "ab")]
    headers += ["b - a [95% interval]", "gained", "lost"]
    rows = []
    for name, row in comparison["differences"].items():
        change = f"{row['difference']:+.1f} [{row['low']:+.1f}, {row['high']:+.1f}]"
        change += " *" if row["low"] > 0 or row["high"] < 0 else ""
        numbers = f"{row['count']:,}", f"{row['a']:.1f}", f"{row['b']:.1f}"
        rows.append([name, *numbers, change, str(row["gained"]), str(row["lost"])])
    both = f"{counted(comparison['phrases'], 'phrase')} in both"
    runs = "; ".join(f"{side}: {comparison[side]['name']}, {comparison[side]['path']}" for side in "ab")
    return f"{text_table(runs, headers, rows)}{both}; paired, resampled by image; * the interval leaves out 0\n"


def _short(number: Mapping[str, Any]) -> str:
    return f"{number['value']:.1f}" if "value" in number else "-"


def _wrapped(lines: Iterable[str]) -> str:
    return "".join(f"{textwrap.fill(line, _width())}\n" for line in lines)


def _width() -> int:
    console = Console(highlight=False, force_jupyter=False)
    return console.width if console.is_terminal else _WIDE


def text_table(title: str, headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A title and a table as wide as the terminal: columns that do not fit follow in further ones, under the names."""
    width = _width()
    widths = _widths(headers, rows)
    if widths[0] + max(widths[1:]) + 2 * _FRAME >= width:
        rows = [[row[0].replace("/", "/\n"), *row[1:]] for row in rows]
        widths = _widths(headers, rows)
    spacious = [max(pair) for pair in zip(widths, map(len, headers), strict=True)]
    if sum(each + _FRAME for each in spacious) < width:
        widths = spacious
    parts: list[list[int]] = [[0]]
    for at in range(1, len(headers)):
        if len(parts[-1]) > 1 and sum(widths[each] + _FRAME for each in [*parts[-1], at]) + 1 > width:
            parts.append([0])
        parts[-1].append(at)
    widest = max(sum(widths[at] + _FRAME for at in part) + 1 for part in parts)
    console = Console(highlight=False, force_jupyter=False, width=max(width, widest))
    with console.capture() as capture:
        if title:
            console.print(Text(title), width=width)
        for part in parts:
            table = Table()
            for at in part:
                table.add_column(Text(headers[at]), width=widths[at], overflow="fold")
            for row in rows:
                table.add_row(*(Text(row[at]) for at in part))
            console.print(table)
    return capture.get()


def _widths(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> list[int]:
    """What each column needs so that no cell, and no word of a header unless it is very long, is cut."""
    words = [min(_LONGEST_WORD, max(map(len, header.split()), default=1)) for header in headers]
    lines = [[len(line) for cell in cells for line in cell.split("\n")] for cells in zip(*rows, strict=True)]
    return [max(word, *lengths) for word, lengths in zip(words, lines, strict=True)] if rows else words
