"""`python -m grounding.evaluate`: predictions scored on Flickr30k Entities, under every protocol, beside baselines."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from grounding.commands import Parser, add_localizer_options, exit_status
from grounding.errors import GroundingError, check_at_least_one

if TYPE_CHECKING:
    from grounding.datasets.files import Photographs
    from grounding.datasets.flickr30k import Flickr30kEntities
    from grounding.evaluation.scoring import Selection

EPILOG = """\
examples:
  python -m grounding.evaluate flickr30k --images photos/ --annotations entities.zip --split val --output runs/a
  python -m grounding.evaluate flickr30k --predictions theirs.jsonl --annotations entities.zip --output runs/b
  python -m grounding.evaluate flickr30k --baselines-only --annotations entities.zip --split test
  python -m grounding.evaluate compare runs/a runs/b
  python -m grounding.evaluate convert huggingface results.jsonl --annotations entities.zip --output theirs.jsonl

exit status: 0 done; 1 some photographs could not be read (listed, and not counted); 2 bad input, said in one line;
130 interrupted (the same command continues where it stopped)."""


def build_parser() -> argparse.ArgumentParser:
    """The options, without importing anything heavy."""
    parser = Parser(
        prog="python -m grounding.evaluate",
        description="Score a localizer, or anybody's predictions, on Flickr30k Entities.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="flickr30k | compare | convert")

    score = commands.add_parser("flickr30k", help="score a localizer or predictions", description=parser.description)
    _add_data(score)
    score.add_argument(
        "--images",
        type=Path,
        nargs="+",
        metavar="PATH",
        help="photographs: a folder, a zip, or uncompressed tars; only these are scored, the missing counted",
    )
    what = score.add_mutually_exclusive_group()
    what.add_argument("--predictions", type=Path, metavar="FILE", help="score these (.jsonl or .parquet) instead")
    what.add_argument("--baselines-only", action="store_true", help="only the trivial baselines; needs no photograph")
    score.add_argument(
        "--output",
        type=Path,
        metavar="DIR",
        help="folder for metrics, predictions and report.html; needed with --images, where a run can go on",
    )
    score.add_argument("--overwrite", action="store_true", help="replace what --output holds; an equal run goes on")
    score.add_argument("--limit", type=int, metavar="N", help="only the first N images of those present")
    score.add_argument("--strict", action="store_true", help="refuse when a photograph is missing or unreadable")
    score.add_argument("--allow-missing", action="store_true", help="count phrases without a prediction as misses")
    score.add_argument("--name", help="what to call this method in tables (default: the classifier or file name)")
    score.add_argument("--workers", type=int, default=1, metavar="N", help="processes (default: 1); or use torchrun")
    add_localizer_options(score)

    compare = commands.add_parser("compare", help="two finished runs: paired differences, and what changed sides")
    compare.add_argument("a", type=Path, help="the --output of a run")
    compare.add_argument("b", type=Path, help="the --output of another")
    compare.add_argument("--images", type=Path, nargs="+", metavar="PATH", help="photographs for the pictures")
    compare.add_argument("--output", type=Path, metavar="DIR", help="folder (default: A-vs-B beside B)")
    compare.add_argument("--overwrite", action="store_true", help="replace what --output holds")

    convert = commands.add_parser("convert", help="others' results to the predictions format")
    convert.add_argument("style", choices=("mdetr", "huggingface"))
    convert.add_argument("results", type=Path, help="see docs/predictions.md for what is accepted")
    _add_data(convert)
    convert.add_argument("--output", type=Path, required=True, metavar="FILE", help="the .jsonl to write")
    convert.add_argument("--overwrite", action="store_true", help="replace --output")
    return parser


def _add_data(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--annotations", type=Path, required=True, metavar="PATH", help="Flickr30k Entities: a folder or the zip"
    )
    parser.add_argument("--split", default="val", metavar="NAME", help="train, val or test (default: val)")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    options = build_parser().parse_args(arguments)
    command = {"flickr30k": _flickr30k, "compare": _compare, "convert": _convert}[options.command]
    return exit_status(lambda: command(options))


def _flickr30k(options: argparse.Namespace) -> int:
    for name, value in (("--limit", options.limit), ("--workers", options.workers)):
        check_at_least_one(name, 1 if value is None else value)
    if not (options.images or options.predictions or options.baselines_only):
        raise GroundingError("nothing to score: expected --images, --predictions or --baselines-only (see --help)")
    from grounding.datasets.files import Photographs
    from grounding.datasets.flickr30k import Flickr30kEntities
    from grounding.evaluation.scoring import select
    from grounding.evaluation.terminal import metrics_table

    entities = Flickr30kEntities(options.annotations)
    photographs = Photographs(options.images) if options.images else None
    selection = select(entities, options.split, photographs, options.limit)
    if options.strict and selection.missing:
        raise GroundingError(
            f"{len(selection.missing):,} of {selection.in_split:,} photographs are missing, such as "
            f"{selection.missing[0]}.jpg: --strict needs them all"
        )
    if photographs is None or options.predictions or options.baselines_only:
        metrics = _score_given(options, entities, selection, photographs)
    else:
        metrics = _score_localizer(options, selection)
    if metrics is None:  # a rank above 0 of torchrun
        return 0
    print(metrics_table(metrics), end="")
    if options.output:
        print(f"metrics, predictions and report: {options.output / 'report.html'}")
    return 1 if metrics["dataset"]["failed"] else 0


def _score_given(
    options: argparse.Namespace,
    entities: "Flickr30kEntities",
    selection: "Selection",
    photographs: "Photographs | None",
) -> dict[str, Any] | None:
    """Predictions from a file, or none at all."""
    import hashlib

    from grounding.evaluation.exchange import Loaded, read_predictions
    from grounding.evaluation.metrics import measure
    from grounding.evaluation.processes import world
    from grounding.evaluation.run_folder import write_run
    from grounding.evaluation.scoring import Run, score
    from grounding.folders import EVALUATED, check_output, whole_folder

    if world()[0] > 0:
        return None
    if options.output:
        check_output(options.output, options.overwrite, EVALUATED, _inputs(options))
    settings: dict[str, Any] = {"limit": options.limit, "predictions": None}
    loaded, columns, name = Loaded({}, ()), None, "baselines"
    if options.predictions:
        splits = {split: entities.ids(split) for split in entities.splits}
        loaded = read_predictions(options.predictions, selection.images, options.split, splits, options.allow_missing)
        settings["predictions"] = hashlib.sha256(options.predictions.read_bytes()).hexdigest()
        columns, name = measure(selection.images, loaded.predictions), options.predictions.stem
    for note in loaded.notes:
        _note(note)
    metrics = score(selection, options.name or name, settings, loaded.predictions, columns, options.images or ())
    if options.output:
        run = Run(metrics, selection.images, loaded.predictions, columns or {})
        with whole_folder(options.output, options.overwrite, EVALUATED) as folder:
            write_run(folder, run, photographs.get if photographs else _nothing)
    return metrics


def _score_localizer(options: argparse.Namespace, selection: "Selection") -> dict[str, Any] | None:
    """The package's own predictions, photograph by photograph."""
    from grounding.config import LocalizerConfig, load
    from grounding.evaluation.predictor import Job
    from grounding.evaluation.runner import Order, score_localizer

    if options.output is None:
        raise GroundingError("no output was given: expected --output DIR, where the run can continue if interrupted")
    config = load(LocalizerConfig, options.config, options.set)
    order = Order(
        options.output,
        options.name,
        options.limit,
        options.workers,
        options.strict,
        options.overwrite,
        _inputs(options),
    )
    job = Job(tuple(options.images), options.classifier, config, options.device, options.method)
    return score_localizer(job, selection, order, _note)


def _inputs(options: argparse.Namespace) -> list[Path]:
    return [path for path in (options.annotations, options.predictions, *(options.images or ())) if path]


def _compare(options: argparse.Namespace) -> int:
    import json

    from grounding.datasets.files import Photographs
    from grounding.evaluation.comparison import compare
    from grounding.evaluation.report import render_comparison
    from grounding.evaluation.run_folder import read_run
    from grounding.evaluation.terminal import difference_table
    from grounding.folders import COMPARED, check_output, unused_folder, whole_folder

    names = "-vs-".join(path.resolve().name for path in (options.a, options.b))
    folder = options.output or unused_folder(options.b.resolve().parent / names)
    check_output(folder, options.overwrite, COMPARED, (options.a, options.b))
    a, b = read_run(options.a), read_run(options.b)
    known = [[Path(place) for place in run.metrics["dataset"]["photographs"]["paths"]] for run in (a, b)]
    places = options.images or next((paths for paths in known if paths and all(p.exists() for p in paths)), None)
    summary, changed = compare(a, b)
    with whole_folder(folder, options.overwrite, COMPARED) as partial:
        (partial / "comparison.json").write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
        page = render_comparison(summary, changed, Photographs(places).get if places else _nothing)
        (partial / "comparison.html").write_text(page, encoding="utf-8")
    for warning in summary["warnings"]:
        _note(warning)
    print(difference_table(summary), end="")
    print(f"pictures of what changed sides: {folder / 'comparison.html'}")
    return 0


def _convert(options: argparse.Namespace) -> int:
    import json

    from grounding.datasets.flickr30k import Flickr30kEntities
    from grounding.evaluation.convert import convert
    from grounding.folders import whole_file

    if options.output.suffix != ".jsonl":
        raise GroundingError(f"--output {options.output} ends in '{options.output.suffix}': expected .jsonl")
    if options.output.is_dir() or options.output.resolve() == options.results.resolve():
        raise GroundingError(f"{options.output} is a folder or the results themselves: choose another")
    if options.output.exists() and not options.overwrite:
        raise GroundingError(f"{options.output} exists: choose another or add --overwrite")
    entities = Flickr30kEntities(options.annotations)
    images, splits = list(entities.read(options.split)), {split: entities.ids(split) for split in entities.splits}
    records, notes = convert(options.results, options.style, images, options.split, splits)
    if not records:
        raise GroundingError(f"{options.results} has no results: nothing to convert")
    with whole_file(options.output) as file:
        file.writelines(json.dumps(record) + "\n" for record in records)
    for note in notes:
        _note(note)
    print(f"{len(records):,} predictions: {options.output}")
    return 0


def _nothing(image: str) -> None:
    """No photograph is at hand."""


def _note(text: str) -> None:
    print(f"note: {text}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
