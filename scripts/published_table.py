"""Write the numbers that others report into docs/results/README.md, with their protocol, ours, and our number.

    python scripts/published_table.py

Their numbers come from grounding/evaluation's published.yaml, ours from docs/results/flickr30k-val.md.
"""

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "results" / "README.md"
MEASURED = ROOT / "docs" / "results" / "flickr30k-val.md"
BEGIN, END = "<!-- by scripts/published_table.py: begin -->", "<!-- end -->"
COLUMNS = (
    *("method", "trained with", "split", "their metric", "theirs", "our nearest protocol"),
    *("how theirs differs", "ours, on 247 of val", "source"),
)


def main() -> int:
    """Replace the table of the page; returns the exit status."""
    PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    return 0


def with_table(page: str) -> str:
    """The page with the table of now between the two marks."""
    before, rest = page.split(BEGIN)
    after = rest.split(END)[1]
    (source,) = (ROOT / "grounding" / "evaluation").rglob("published.yaml")
    groups = yaml.safe_load(source.read_text(encoding="utf-8"))
    ours = measured(MEASURED.read_text(encoding="utf-8"))
    return "\n".join([before + BEGIN, *lines(groups, ours), END + after])


def measured(page: str) -> dict[str, str]:
    """The measured values of a page by protocol: the first number of a row is the count, the second the value."""
    rows = re.findall(r"^\| `([^`]+)` \| [\d,]+ \| \*\*([\d.]+)\*\*", page, re.MULTILINE)
    return dict(rows)


def lines(groups: Mapping[str, Sequence[Mapping[str, Any]]], ours: Mapping[str, str]) -> Iterator[str]:
    """A heading and a Markdown table for each group of methods."""
    for heading, rows in groups.items():
        yield f"\n### {heading[0].upper()}{heading[1:]}\n"
        yield f"| {' | '.join(COLUMNS)} |"
        yield f"|{'---|' * len(COLUMNS)}"
        for row in rows:
            cells = [row["method"], row["training"], row["split"], row["metric"], f"{row['value']:g}"]
            cells += [f"`{row['nearest']}`", row["differs"] or "same protocol", ours[row["nearest"]], row["source"]]
            yield f"| {' | '.join(cells)} |"
    yield ""


if __name__ == "__main__":
    sys.exit(main())
