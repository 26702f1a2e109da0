"""Which networks give attention maps, how much of the signal arrives, and what it costs: writes docs/models.md.

    python scripts/models_table.py --output docs/models.md

Networks get random weights: nothing is downloaded. A row is kept in --rows once it is measured, so that an interrupted
run goes on from there; delete its line to measure it again. Families whose library is missing are left out by name.
"""

import argparse
import gc
import importlib.metadata
import importlib.util
import json
import logging
import math
import platform
import statistics
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import torch
from models_networks import FAMILIES, PHRASES, Family, noise, prepare
from models_notes import NOTES, rule_notes
from torch import Tensor
from tqdm import tqdm

from grounding.attention import Tape, contrastive_mwp, mwp, record
from grounding.attention.graph import Value
from grounding.attention.layers import find_layer, layers
from grounding.attention.spatial import grid
from grounding.commands import Parser, exit_status
from grounding.errors import GroundingError
from grounding.folders import whole_file

PATIENCE_S = 60.0  # a network gets no further repeat after this
GROWN = 100.0  # a sum of |P| beyond this is cancellation: of signals that sum to 1

EXPLANATION = """
The signals are the K highest scores, one each. The columns: parameters in millions; the side of the image; the layer
that `contrastive_mwp` reads by default, stride 16, or where there is none the layer with the nearest stride, by the
module that made it (`image` where only the image has places); the size of the map; the mass that arrives of signals
that sum to 1, of the signal for which that is furthest from 1 (tokens beside the places, such as a class token, are
counted here and are not in the map); the conservation error |1 - mass|; the largest sum of |P| over all units,
which would exceed the mass if shares were negative; milliseconds of one forward pass, and the time of K
contrastive maps, forward pass included, as a multiple of it. Last come the choices of the rules that the walk meets,
with how often: `grounding/attention/rules.py` states them.

Mass falls short of 1 where a unit has no positive input (Z = 0), which is common where activations are signed, and by
what goes to constants, such as a class token before the first block.

Images are noise in [0, 1]. Weights are random as the libraries draw them, but for what would be dead and hide what it
does to the signal: weights that are all zero get a standard deviation of 0.02; scales of batch normalisation and layer
scales lie between 0.5 and 1.5 with every fifth negative; shifts of batch normalisation between 0 and 0.4, other biases
between 0 and 0.02; and the statistics of batch normalisation are those of four noise images. Networks of transformers
have their default configuration, but 3 layers (the vision towers under clip 4) where that is one number, and at most
224 px. Vision towers of CLIP are asked twice: for signals on the image features, and for phrases, whose random text
embeddings are one more linear layer.
"""


@dataclass
class Row:
    """One line of the table; `problem` says why there is no map, or what is wrong with it."""

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
    notes: dict[str, int] = field(default_factory=dict)
    kind: str = "map"  # or "named error", "unexpected error", "suspect"
    problem: str = ""


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("docs/models.md"))
    parser.add_argument("--rows", type=Path, default=Path("runs/models.jsonl"), help="rows that were measured")
    parser.add_argument("--families", nargs="+", choices=FAMILIES, default=list(FAMILIES))
    parser.add_argument("--match", default="*", metavar="PATTERN", help="only names like this, such as 'resnet*'")
    parser.add_argument("--signals", type=int, default=8, metavar="K", help="top-down signals (default 8)")
    parser.add_argument("--size-px", type=int, help="side of images, where one may choose (default: mostly 224)")
    parser.add_argument("--repeats", type=int, default=5, help="runs whose median is taken (default 5; 0: no times)")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of PyTorch")
    options = parser.parse_args(arguments)
    return exit_status(lambda: table(options), "interrupted: the same command goes on from here")


def table(options: argparse.Namespace) -> int:
    """Measure what is missing, and write the page."""
    if not 1 <= options.signals <= PHRASES or options.repeats < 0 or options.threads < 1:
        raise GroundingError(f"expected 1 to {PHRASES} signals, 0 repeats or more, and a thread")
    absent = {name: family.package for name, family in FAMILIES.items() if not installed(family)}
    present = [name for name in options.families if name not in absent]
    wanted = [(f, name) for f in present for name in FAMILIES[f].names() if fnmatch(name, options.match)]
    if not wanted:
        families = ", ".join(present) or "the families that are installed"
        raise GroundingError(f"no network of {families} is called {options.match}")
    asked = {name: getattr(options, name) for name in ("signals", "size_px", "threads")}
    setting = {**asked, "versions": versions()}
    torch.set_num_threads(options.threads)
    logging.disable(logging.WARNING)  # of libraries, that weights are random
    warnings.simplefilter("ignore")
    rows = known_rows(options.rows, setting)
    with options.rows.open("a", encoding="utf-8") as file:
        for family, name in (progress := tqdm(wanted, unit=" networks")):
            progress.set_postfix_str(name)
            if not any(row.family == family and row.name.split(" + ")[0] == name for row in rows):
                found = list(measure(family, name, options))
                file.writelines(f"{json.dumps(asdict(row))}\n" for row in found)
                file.flush()
                rows += found
                gc.collect()
    shown = [row for pair in wanted for row in rows if (row.family, row.name.split(" + ")[0]) == pair]
    missing = [f"{family} ({package} is not installed)" for family, package in absent.items()]
    missing += [f"{family} (not asked for)" for family in FAMILIES if family not in [*options.families, *absent]]
    with whole_file(options.output) as page:
        page.writelines(f"{line}\n" for line in lines(shown, setting, missing))
    kinds = Counter(row.kind for row in shown)
    print(f"{options.output}: {', '.join(f'{kind} {count}' for kind, count in sorted(kinds.items()))}")
    return 0


def installed(family: Family) -> bool:
    """Whether its library can be imported."""
    return importlib.util.find_spec(family.module) is not None


def versions() -> dict[str, str]:
    """Of Python, and of the libraries that are installed."""
    packages = ["torch", *(family.package for family in FAMILIES.values() if installed(family))]
    return {"python": platform.python_version()} | {name: importlib.metadata.version(name) for name in packages}


def known_rows(path: Path, setting: dict[str, object]) -> list[Row]:
    """Rows of an earlier run, the first line being its setting; begins the file where there is none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        path.write_text(f"{json.dumps(setting)}\n", encoding="utf-8")
    try:
        first, *rest = map(json.loads, path.read_text(encoding="utf-8").splitlines())
        rows = [Row(**line) for line in rest]
    except (ValueError, TypeError) as error:
        raise GroundingError(f"{path} holds no rows of this script ({error}): move it away") from error
    if first != setting:
        raise GroundingError(f"{path} was measured with {first}, not {setting}: move it away, or choose other --rows")
    return rows


def measure(family: str, name: str, options: argparse.Namespace) -> Iterator[Row]:
    """A row for each way to ask the network; what goes wrong is in the row."""
    torch.manual_seed(0)
    row = Row(family, name)
    try:
        network = FAMILIES[family].build(name, options.size_px)
        prepare(network)
    except Exception as error:
        yield replace(row, kind="unexpected error", problem=one_line(error))
        return
    row.parameters_m = sum(weight.numel() for weight in network.model.parameters()) / 1e6
    row.size_px = network.size_px
    for suffix, run in network.heads.items():
        found = replace(row, name=name + suffix)
        try:
            fill(found, run, options.signals, options.repeats)
        except GroundingError as error:
            found.kind, found.problem = "named error", one_line(error)
        except Exception as error:
            found.kind, found.problem = "unexpected error", one_line(error)
        yield found


def one_line(error: Exception) -> str:
    """What an exception says; of others than ours, with its type."""
    text = " ".join(str(error).split())[:300]
    return text if isinstance(error, GroundingError) else f"{type(error).__name__}: {text}"


def fill(row: Row, run: Callable[[Tensor], Tensor], signals: int, repeats: int) -> None:
    """Measure one network."""
    images = noise(row.size_px)
    tape = record(run, images)
    weights = torch.eye(tape.output.shape[-1])[tape.scores[0].topk(signals).indices]  # (K, T)
    index, stop = layer_to_read(tape)
    height, width = grid(stop) or (0, 0)
    made_in = {made: operation.module for operation in tape.operations for made in operation.outputs}
    row.layer = made_in.get(stop, "image")
    row.stride, row.map = math.sqrt(row.size_px / height * row.size_px / width), [height, width]
    row.notes = rule_notes(tape, stop)
    units = mwp(tape, weights, layer=index, channels=True)[0].flatten(1).double()  # (K, units)
    row.mass, row.error, row.absolute = conservation(units)
    maps = contrastive_mwp(tape, weights, layer=index)  # (1, K, h, w)
    row.problem = trouble(units, maps)
    row.kind = "suspect" if row.problem else row.kind
    del tape, made_in, stop, units
    if repeats:
        row.forward_ms, row.multiple = speed(
            lambda: forward(run, images), lambda: contrastive_mwp(record(run, images), weights, layer=index), repeats
        )


def speed(first: Callable[[], object], second: Callable[[], object], repeats: int) -> tuple[float, float]:
    """Milliseconds that the first takes, and what the second takes as a multiple: medians of interleaved runs."""
    taken: tuple[list[float], list[float]] = ([], [])
    start = time.perf_counter()
    while not taken[0] or (len(taken[0]) < repeats and time.perf_counter() - start < PATIENCE_S):
        for step, seconds in zip((first, second), taken, strict=True):
            begin = time.perf_counter()
            step()
            seconds.append(time.perf_counter() - begin)
    one, other = map(statistics.median, taken)
    return 1000 * one, other / one


def conservation(units: Tensor) -> tuple[float, float, float]:
    """The mass of MWP (K, units) that is furthest from 1, how far that is, and the largest sum of |P|."""
    masses = units.sum(1)
    worst = (1 - masses).abs().argmax()
    return float(masses[worst]), abs(1 - float(masses[worst])), float(units.abs().sum(1).max())


def trouble(units: Tensor, maps: Tensor) -> str:
    """What is wrong with MWP (K, units) and maps (1, K, h, w), if anything."""
    if len(maps) != 1:
        return f"{len(maps)} maps of one image"
    if not bool(units.isfinite().all() and maps.isfinite().all()):
        return "not finite"
    if not bool(maps[0].flatten(1).any(1).all()):
        return "a map is all zero"
    total = float(units.abs().sum(1).max())
    return f"the sum of |P| grew to {total:.1g}" if total > GROWN else ""


def forward(run: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """One plain forward pass."""
    with torch.no_grad():
        return run(images)


def layer_to_read(tape: Tape) -> tuple[int, Value]:
    """The default of `contrastive_mwp`, stride 16; else the layer with the nearest stride, else the image."""
    known = layers(tape)
    try:
        stop = find_layer(tape, 16)
    except GroundingError:
        area = math.prod(tape.inputs[0].shape[-2:])
        places = {value: math.prod(grid(value) or (0,)) for value in known}
        strides = {value: math.sqrt(area / count) for value, count in places.items() if count > 1}
        stop = min(strides, key=lambda value: abs(math.log(strides[value] / 16)))
    return known.index(stop), stop


def lines(rows: Sequence[Row], setting: dict[str, Any], missing: Sequence[str]) -> Iterator[str]:
    """The page, in Markdown."""
    yield "# Models"
    yield ""
    yield "What the rules do to each architecture, by `python scripts/models_table.py`. Weights are random:"
    yield "nothing here says how well a map points."
    yield ""
    libraries = ", ".join(f"{name} {version}" for name, version in setting["versions"].items())
    yield f"K = {setting['signals']} signals, {setting['threads']} threads, {libraries}."
    if missing:
        yield f"Left out: {', '.join(missing)}."
    yield ""
    kinds = ("map", "suspect", "named error", "unexpected error")
    yield from table_lines(
        ["source", "rows", "maps", "suspect maps", "named errors", "unexpected errors"],
        (
            [family, str(len(own)), *(str(sum(row.kind == kind for row in own)) for kind in kinds)]
            for family in FAMILIES
            if (own := [row for row in rows if row.family == family])
        ),
    )
    yield ""
    yield from EXPLANATION.strip().splitlines()
    yield ""
    met = {note for row in rows for note in row.notes}
    shown = {note if note in NOTES else "... passed" for note in met}
    yield from table_lines(["note", "what it stands for"], ([n, text] for n, text in NOTES.items() if n in shown))
    for family in FAMILIES:
        own = [row for row in rows if row.family == family]
        if own:
            yield ""
            yield f"## {family}"
            yield ""
            yield from table_lines(COLUMNS, map(cells, own))


COLUMNS = ["network", "M", "px", "layer", "stride", "map", "mass", "error", "sum of abs", "ms", "times", "notes"]


def cells(row: Row) -> list[str]:
    """One line of the table."""
    notes = "; ".join(f"{note} {count}" for note, count in row.notes.items())
    if row.problem:
        notes = f"**{row.kind}: {row.problem}**" + (f"; {notes}" if notes else "")
    return [
        row.name,
        number(row.parameters_m, ".1f"),
        str(row.size_px or "-"),
        f"`{row.layer}`" if row.layer else "-",
        number(row.stride, ".3g"),
        "×".join(map(str, row.map)) or "-",
        number(row.mass, ".4g"),
        number(row.error, ".0e"),
        number(row.absolute, ".4g"),
        number(row.forward_ms, ".0f"),
        number(row.multiple, ".1f"),
        notes or "-",
    ]


def number(value: float | None, style: str) -> str:
    """`-` where there is none."""
    return "-" if value is None else format(value, style)


def table_lines(header: Sequence[str], body: Iterable[Sequence[str]]) -> Iterator[str]:
    """A Markdown table."""
    yield f"| {' | '.join(header)} |"
    yield f"|{'---|' * len(header)}"
    for row in body:
        escaped = (cell.replace("|", "\\|") for cell in row)
        yield f"| {' | '.join(escaped)} |"


if __name__ == "__main__":
    sys.exit(main())
