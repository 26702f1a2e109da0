"""Metrics and differences as tables for a terminal."""

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from grounding.datasets.flickr30k import TYPES
from grounding.evaluation.protocols.protocol import HEADLINE


def metrics_table(metrics: Mapping[str, Any]) -> str:
    """The run beside the baselines under every headline protocol, then the run by entity type."""
    data, run = metrics["dataset"], metrics["run"]
    title = f"{data['name']} {data['split']}, {data['coverage']}, {data['phrases']:,} phrases with a box; percent"
    columns = ([escape(metrics["name"])] if run else []) + list(metrics["baselines"])
    table = Table("protocol", "phrases", *columns, title=f"{title} \\[95% interval over images]")
    for protocol in HEADLINE:
        numbers = [group[protocol.name] for group in ([run] if run else []) + list(metrics["baselines"].values())]
        count = max(number["count"] for number in numbers)
        shown = [
            _with_interval(number) if place == 0 and run else _short(number) for place, number in enumerate(numbers)
        ]
        table.add_row(protocol.name, f"{count:,}", *shown)
    text = _text(table)
    if run:
        types = Table("protocol", *(f"{kind} {data['types'][kind]:,}" for kind in TYPES), title=f"{title}, by type")
        for protocol in HEADLINE:
            types.add_row(protocol.name, *(_short(run[protocol.name].get("types", {}).get(kind, {})) for kind in TYPES))
        statuses = ", ".join(f"{status} {count:,}" for status, count in metrics["statuses"].items())
        text += f"{_text(types)}statuses: {statuses}\n"
    return text


def difference_table(comparison: Mapping[str, Any]) -> str:
    """b minus a under every headline protocol."""
    names = [f"{side}: {escape(comparison[side]['name'])}" for side in ("a", "b")]
    table = Table("protocol", "phrases", *names, "b - a [95% interval]", "gained", "lost")
    for name, row in comparison["differences"].items():
        change = f"{row['difference']:+.1f} [{row['low']:+.1f}, {row['high']:+.1f}]"
        change += " *" if row["low"] > 0 or row["high"] < 0 else ""
        table.add_row(
            name,
            f"{row['count']:,}",
            f"{row['a']:.1f}",
            f"{row['b']:.1f}",
            change,
            str(row["gained"]),
            str(row["lost"]),
        )
    note = f"{comparison['phrases']:,} phrases in both; paired, resampled by image; * the interval leaves out 0"
    return f"{_text(table)}{note}\n"


def _with_interval(number: Mapping[str, Any]) -> str:
    return f"{number['value']:.1f} [{number['low']:.1f}, {number['high']:.1f}]" if "value" in number else "-"


def _short(number: Mapping[str, Any]) -> str:
    return f"{number['value']:.1f}" if "value" in number else "-"


def _text(table: Table) -> str:
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=160)
    with console.capture() as capture:
        console.print(table)
    return capture.get()
