"""How the measured networks are written: a CSV file with a row for each, and a page that sums them up."""

import csv
import os
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from models_notes import NOTES

from grounding.folders import whole_file

OUTCOMES = ("map", "suspect", "named error", "unexpected error")
COLUMNS = {
    "source": "the library that the network comes from",
    "network": "its name there; `+ 16 phrases`: a CLIP vision tower, 16 random text embeddings as its last layer",
    "parameters_m": "parameters in millions",
    "image_px": "side of the square image",
    "layer": "the layer that was read, by the module that made it; `image` where only the image has positions",
    "stride": "side of the image over side of the map",
    "map": "height x width",
    "mass": "sum of the MWP at that layer, of the signal for which it is furthest from 1; class tokens count too",
    "error": "the conservation error, abs(1 - mass)",
    "mass_trained": "the same with trained weights, where some are at hand, on the package's sample picture",
    "mass_trained_image": "the same at the image",
    "sum_of_abs": "largest sum of abs(P) over all units; it would exceed the mass if shares were negative",
    "forward_ms": "milliseconds of one forward pass",
    "times": "time of K contrastive maps, forward pass included, in forward passes",
    "outcome": "`map`; `suspect`: an empty, infinite or far too large map; `named error`: refused; `unexpected error`",
    "problem": "why there is no map, or what is wrong with it",
    "notes": "choices of the rules that the walk meets, and how often; see below",
}
METHOD = """
There is one signal for each of the K highest scores. The layer is the one that `contrastive_mwp` reads by default, at
stride 16; where there is none, the layer with the nearest stride. Mass is lost where a unit has no positive input
(Z = 0), which is common where activations are signed, and where the signal reaches a constant, such as a class token.

Images are noise in [0, 1]. Weights are random as the libraries draw them, except where that would switch a branch off:
weights that are all zero are drawn with standard deviation 0.02; scales of batch normalisation and layer scales lie
between 0.5 and 1.5, every fifth one negative; shifts of batch normalisation lie between 0 and 0.4, other biases between
0 and 0.02; the statistics of batch normalisation are those of four noise images. Networks of `transformers` have their
default configuration, but 3 layers (those under `clip` 4) where the depth is one number, and at most 224 px.
"""
TRAINED = """Training makes depthwise convolutions lose: most of their units are active by their bias alone (Z = 0), and
pass nothing down. Random weights do not show it."""


@dataclass
class Row:
    """One measured network; `problem` says why there is no map, or what is wrong with it."""

    family: str
    name: str
    parameters_m: float | None = None
    size_px: int = 0
    layer: str = ""
    stride: float | None = None
    map: list[int] = field(default_factory=list)
    mass: float | None = None
    error: float | None = None
    absolute: float | None = None
    forward_ms: float | None = None
    multiple: float | None = None
    trained: list[float] = field(default_factory=list)  # the mass at the layer, and at the image
    notes: dict[str, int] = field(default_factory=dict)
    kind: str = "map"  # one of OUTCOMES
    problem: str = ""


def cells(row: Row) -> dict[str, str]:
    """The row of the CSV file: numbers rounded to what they are good for, empty where there is none."""
    values = [
        row.family,
        row.name,
        number(row.parameters_m, ".1f"),
        str(row.size_px or ""),
        row.layer,
        number(row.stride, ".3g"),
        "x".join(map(str, row.map)),
        number(row.mass, ".4g"),
        number(row.error, ".0e"),
        *(number(mass, ".2g") for mass in row.trained or (None, None)),
        number(row.absolute, ".4g"),
        number(row.forward_ms, ".0f"),
        number(row.multiple, ".1f"),
        row.kind,
        row.problem,
        "; ".join(f"{note} {count}" for note, count in row.notes.items()),
    ]
    return dict(zip(COLUMNS, values, strict=True))


def number(value: float | None, style: str) -> str:
    """Format a number; empty where there is none."""
    return "" if value is None else format(value, style)


def write_csv(path: Path, records: Iterable[Mapping[str, str]]) -> None:
    """Write the rows, all or none."""
    with whole_file(path) as file:
        writer = csv.DictWriter(file, list(COLUMNS), lineterminator="\n")
        writer.writeheader()
        writer.writerows(records)


def write_page(
    path: Path, table: Path, records: Sequence[Mapping[str, str]], setting: dict[str, Any], missing: Sequence[str]
) -> None:
    """Write the summary of the CSV file `table`."""
    link = Path(os.path.relpath(table, path.parent)).as_posix()
    with whole_file(path) as file:
        file.writelines(f"{line}\n" for line in page(records, link, setting, missing))


def page(
    records: Sequence[Mapping[str, str]], link: str, setting: dict[str, Any], missing: Sequence[str]
) -> Iterator[str]:
    """The lines of the summary, in Markdown."""
    libraries = ", ".join(f"{name} {version}" for name, version in setting["versions"].items())
    yield from (
        "# Models",
        "",
        "On which networks Excitation Backprop gives a map, how much of the signal arrives there, and what it costs.",
        "Weights are random where nothing else is said: nothing here says how well a map points. Measured and written",
        f"by `python scripts/models_table.py`; every row is in [a table]({link}).",
        "",
        f"K = {setting['signals']} signals, {setting['threads']} threads, {libraries}.",
    )
    if missing:
        yield f"Left out: {', '.join(missing)}."
    yield from ("", *sources(records), "")
    at_hand = [each for each in records if each["mass_trained"]]
    if at_hand:
        columns = ["network", "source", "layer", "stride", "mass", "mass_trained", "mass_trained_image"]
        yield from ("**Mass with random and with trained weights**, where these are at hand:", "")
        yield from table_lines(columns, ([each[column] for column in columns] for each in at_hand))
        yield from ("", *TRAINED.splitlines(), "")
    refused = [(each["network"], each["source"], each["problem"]) for each in records if each["problem"]]
    if refused:
        yield from ("**No map, or a suspect one:**", "", *table_lines(["network", "source", "why"], refused), "")
    yield from ("## Columns of the CSV file", "", *table_lines(["column", ""], COLUMNS.items()), "")
    yield from ("## Notes", "", *legend(records), "")
    yield from ("## How it was measured", "", *METHOD.strip().splitlines())


def sources(records: Sequence[Mapping[str, str]]) -> Iterator[str]:
    """A table with a row for each source: outcomes, and the range of masses and costs."""
    header = ["source", "rows", "maps", "suspect", "named errors", "unexpected errors"]
    header += ["mass: median", "least", "forward passes: median", "most"]
    body = []
    for source in dict.fromkeys(each["source"] for each in records):
        own = [each for each in records if each["source"] == source]
        counts = [str(sum(each["outcome"] == outcome for each in own)) for outcome in OUTCOMES]
        masses, costs = ([float(each[column]) for each in own if each[column]] for column in ("mass", "times"))
        ranges = [*spread(masses, min, ".2g"), *spread(costs, max, ".1f")]
        body.append([source, str(len(own)), *counts, *ranges])
    return table_lines(header, body)


def spread(values: Sequence[float], extreme: Any, style: str) -> tuple[str, str]:
    """The median and the extreme; empty where there is no value."""
    return (format(statistics.median(values), style), format(extreme(values), style)) if values else ("", "")


def legend(records: Iterable[Mapping[str, str]]) -> Iterator[str]:
    """A table of the notes that occur."""
    met = {note.rpartition(" ")[0] for each in records for note in each["notes"].split("; ") if note}
    shown = {note if note in NOTES else "... passed" for note in met}
    return table_lines(["note", "what it stands for"], ((note, text) for note, text in NOTES.items() if note in shown))


def table_lines(header: Sequence[str], body: Iterable[Sequence[str]]) -> Iterator[str]:
    """A Markdown table."""
    yield f"| {' | '.join(header)} |"
    yield f"|{'---|' * len(header)}"
    for row in body:
        escaped = (cell.replace("|", "\\|") for cell in row)
        yield f"| {' | '.join(escaped)} |"
