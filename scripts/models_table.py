"""Which networks give attention maps, how much of the signal arrives, and what it costs.

    python scripts/models_table.py

Writes a row for each network to docs/results/models.csv, and a summary to docs/reference/models.md.

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
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from fnmatch import fnmatch
from pathlib import Path

import torch
from models_networks import FAMILIES, PHRASES, Family, noise, prepare
from models_notes import rule_notes
from models_page import Row, cells, write_csv, write_page
from models_trained import trained
from torch import Tensor
from tqdm import tqdm

from grounding.attention import Tape, contrastive_mwp, readings, record
from grounding.attention.graph import Value
from grounding.attention.layers import find_layer, layers
from grounding.attention.spatial import grid
from grounding.commands import Parser, exit_status
from grounding.errors import GroundingError

PATIENCE_S = 60.0  # a network gets no further repeat after this
GROWN = 100.0  # a sum of |P| beyond this is cancellation: of signals that sum to 1


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", type=Path, default=Path("docs/results/models.csv"), help="the CSV file to write")
    parser.add_argument("--page", type=Path, default=Path("docs/reference/models.md"), help="the summary to write")
    parser.add_argument("--rows", type=Path, default=Path("runs/models.jsonl"), help="rows that were measured")
    parser.add_argument("--families", nargs="+", choices=FAMILIES, default=list(FAMILIES))
    parser.add_argument("--match", default="*", metavar="PATTERN", help="only names like this, such as 'resnet*'")
    parser.add_argument("--signals", type=int, default=8, metavar="K", help="top-down signals (default 8)")
    parser.add_argument(
        "--weights", type=Path, metavar="DIR", help="folder with trained weights, NAME_imagenet.safetensors"
    )
    parser.add_argument("--size-px", type=int, help="side of images, where one may choose (default: mostly 224)")
    parser.add_argument("--repeats", type=int, default=5, help="runs whose median is taken (default 5; 0: no times)")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of PyTorch")
    options = parser.parse_args(arguments)
    return exit_status(lambda: table(options), "interrupted: the same command goes on from here")


def table(options: argparse.Namespace) -> int:
    """Measure what is missing, and write the CSV file and its summary."""
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
                new = list(measure(family, name, options))
                file.writelines(f"{json.dumps(asdict(row))}\n" for row in new)
                file.flush()
                rows += new
                gc.collect()
    shown = [row for pair in wanted for row in rows if (row.family, row.name.split(" + ")[0]) == pair]
    missing = [f"{family} ({package} is not installed)" for family, package in absent.items()]
    missing += [f"{family} (not asked for)" for family in FAMILIES if family not in [*options.families, *absent]]
    records = [cells(row) for row in shown]
    write_csv(options.table, records)
    write_page(options.page, options.table, records, setting, missing)
    kinds = Counter(row.kind for row in shown)
    print(f"{options.table}, {options.page}: {', '.join(f'{kind} {count}' for kind, count in sorted(kinds.items()))}")
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
        own = replace(row, name=name + suffix)
        try:
            fill(own, run, options.signals, options.repeats)
            own.trained = trained_masses(family, name, options)
        except GroundingError as error:
            own.kind, own.problem = "named error", one_line(error)
        except Exception as error:
            own.kind, own.problem = "unexpected error", one_line(error)
        yield own


def trained_masses(family: str, name: str, options: argparse.Namespace) -> list[float]:
    """The mass of the K highest scores together at the layer to read, and at the image; empty without weights."""
    at_hand = trained(family, name, options.weights)
    if at_hand is None:
        return []
    tape = record(*at_hand)
    signals, stops = best(tape, options.signals), [layer_to_read(tape)[0], 0]
    found = readings(tape, signals, stops, contrast=False, channels=True, watch="mean")
    return [float(reading.mass) for reading in found]


def best(tape: Tape, signals: int) -> Tensor:
    """(K, T), one signal for each of the highest scores."""
    return torch.eye(tape.output.shape[-1])[tape.scores[0].topk(signals).indices]


def one_line(error: Exception) -> str:
    """What an exception says; of others than ours, with its type."""
    text = " ".join(str(error).split())[:300]
    return text if isinstance(error, GroundingError) else f"{type(error).__name__}: {text}"


def fill(row: Row, run: Callable[[Tensor], Tensor], signals: int, repeats: int) -> None:
    """Measure one network."""
    images = noise(row.size_px)
    tape = record(run, images)
    weights = best(tape, signals)
    index, stop = layer_to_read(tape)
    height, width = grid(stop) or (0, 0)
    modules = {value: operation.module for operation in tape.operations for value in operation.outputs}
    row.layer = modules.get(stop, "image")
    row.stride, row.map = math.sqrt(row.size_px / height * row.size_px / width), [height, width]
    row.notes = rule_notes(tape, stop)
    (plain,) = readings(tape, weights, [index], contrast=False, channels=True, watch="none")
    units = plain.maps[0].flatten(1).double()  # (K, units)
    row.mass, row.error, row.absolute = conservation(units)
    maps = readings(tape, weights, [index], watch="none")[0].maps  # (1, K, h, w)
    row.problem = trouble(units, maps)
    row.kind = "suspect" if row.problem else row.kind
    del tape, modules, stop, units
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
    first_s, second_s = map(statistics.median, taken)
    return 1000 * first_s, second_s / first_s


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


if __name__ == "__main__":
    sys.exit(main())
