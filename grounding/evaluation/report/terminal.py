"""Metrics and differences as tables for a terminal."""

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from grounding.datasets.flickr30k import TYPES
from grounding.evaluation.protocols.protocol import HEADLINE
from grounding.evaluation.report.calibration import sentences
from grounding.evaluation.report.charts import describe
from grounding.evaluation.report.sections import compared


def metrics_table(metrics: Mapping[str, Any]) -> str:
    """The run beside the baselines under every headline protocol, then the run by entity type."""
    data, run = metrics["dataset"], metrics["run"]
    title = f"{data['name']} {data['split']}, {data['coverage']}, {data['phrases']:,} phrases with a box; percent"
    columns = [escape(name) for name, _, _ in compared(metrics)]
    table = Table("protocol", "phrases", *columns, title=f"{title} \\[95% interval over images]")
    for protocol in HEADLINE:
        numbers = [summaries[protocol.name] for _, summaries, _ in compared(metrics)]
        count = max(number["count"] for number in numbers)
        first = describe(numbers[0]) if run and numbers[0]["count"] else _short(numbers[0])
        table.add_row(protocol.name, f"{count:,}", first, *map(_short, numbers[1:]))
    text = _text(table)
    if run:
        types = Table("protocol", *(f"{kind} {data['types'][kind]:,}" for kind in TYPES), title=f"{title}, by type")
        for protocol in HEADLINE:
            types.add_row(protocol.name, *(_short(run[protocol.name].get("types", {}).get(kind, {})) for kind in TYPES))
        statuses = ", ".join(f"{status} {count:,}" for status, count in metrics["statuses"].items())
        text += f"{_text(types)}statuses: {statuses}\n" + "".join(f"{line}\n" for line in sentences(metrics))
    return text


def difference_table(comparison: Mapping[str, Any]) -> str:
    """b minus a under every headline protocol."""
    names = [f"{side}: {escape(comparison[side]['name'])}" for side in ("a", "b")]
    table = Table("protocol", "phrases", *names, "b - a [95% interval]", "gained", "lost")
    for name, row in comparison["differences"].items():
        change = f"{row['difference']:+.1f} [{row['low']:+.1f}, {row['high']:+.1f}]"
        change += " *" if row["low"] > 0 or row["high"] < 0 else ""
        numbers = f"{row['count']:,}", f"{row['a']:.1f}", f"{row['b']:.1f}"
        table.add_row(name, *numbers, change, str(row["gained"]), str(row["lost"]))
    note = f"{comparison['phrases']:,} phrases in both; paired, resampled by image; * the interval leaves out 0"
    return f"{_text(table)}{note}\n"


def _short(number: Mapping[str, Any]) -> str:
    return f"{number['value']:.1f}" if "value" in number else "-"


def _text(table: Table) -> str:
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=160)
    with console.capture() as capture:
        console.print(table)
    return capture.get()
