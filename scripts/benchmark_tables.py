"""Finished benchmarks as Markdown tables, for docs/results/.

python scripts/benchmark_tables.py runs/coco runs/cub ... > tables.md
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from grounding.benchmarks.metrics import read_metrics
from grounding.benchmarks.page import score_names, shown
from grounding.errors import GroundingError
from grounding.wording import counted


def main() -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+", help="the --output folders of finished benchmarks")
    options = parser.parse_args()
    try:
        for run in options.runs:
            print("\n".join(lines(read_metrics(run))))
    except GroundingError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def lines(metrics: dict[str, Any]) -> Iterator[str]:
    """A heading, the numbers of every method, and the first method less the others."""
    data, names, first = metrics["dataset"], score_names(metrics), metrics["differences"]["of"]
    yield f"## {metrics['task'].capitalize()}: {data['name']}, {metrics['name']}"
    facts = [counted(data["images"], "picture"), counted(data["rows"], "class in a picture", "classes in pictures")]
    facts += [f"fingerprint `{metrics['settings']['classifier']['fingerprint'][:12]}`"]
    if metrics["task"] == "localization":
        facts.append(f"first class right {metrics['classifier_top_1']:.1f}%")
    yield from ("", ", ".join(facts) + ".", "")
    rule = f"|---|{'---|' * len(names)}"
    yield from (f"| method | {' | '.join(names)} | cost |", f"{rule}---|")
    for method, numbers in metrics["methods"].items():
        cost = metrics["costs"].get(method)
        cells = [shown(metrics, numbers.get(name)) for name in names]
        yield f"| {method} | {' | '.join(cells)} | {format(cost['one_class'], ',.1f') if cost else '-'} |"
    for title, part, sign in (
        (f"{first} less", metrics["differences"]["less"], "+"),
        (f"with {data['rows_without_tag']:,} more without a tag as misses", metrics["untagged_as_misses"], ""),
    ):
        if part:
            yield from ("", f"| {title} | {' | '.join(names)} |", rule)
            for method, numbers in part.items():
                yield f"| {method} | {' | '.join(shown(metrics, numbers.get(name), sign) for name in names)} |"
    yield ""


if __name__ == "__main__":
    sys.exit(main())
