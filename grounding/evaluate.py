"""`python -m grounding.evaluate`: predictions scored on Flickr30k Entities, under every protocol, beside baselines."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from grounding.commands import Parser, exit_status
from grounding.errors import GroundingError

if TYPE_CHECKING:
    from collections.abc import Callable

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
        help="photographs: a folder, a zip, or tars; those missing are counted",
    )
    what = score.add_mutually_exclusive_group()
    what.add_argument("--predictions", type=Path, metavar="FILE", help="score these (.jsonl or .parquet) instead")
    what.add_argument("--baselines-only", action="store_true", help="only the trivial baselines; needs no photograph")
    score.add_argument("--output", type=Path, metavar="DIR", help="folder for metrics, predictions and report.html")
    score.add_argument("--overwrite", action="store_true", help="replace what --output holds")
    score.add_argument("--limit", type=int, metavar="N", help="only the first N images of those present")
    score.add_argument("--strict", action="store_true", help="refuse when a photograph is missing or unreadable")
    score.add_argument("--allow-missing", action="store_true", help="count phrases without a prediction as misses")
    score.add_argument("--name", help="what to call this method in tables (default: the classifier or file name)")
    score.add_argument("--workers", type=int, default=1, metavar="N", help="processes (default: 1); or use torchrun")
    score.add_argument("--classifier", default="embedded", metavar="SOURCE", help="as in grounding.localize")
    score.add_argument("--device", default="cpu", help="cpu, cuda, mps, ... (default: cpu)")
    score.add_argument("--config", type=Path, metavar="FILE", help="YAML, for example configs/localizer.yaml")
    score.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", help="for example regions.gamma=0.3")

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
        if value is not None and value < 1:
            raise GroundingError(f"{name} is {value}: expected at least 1")
    if not (options.images or options.predictions or options.baselines_only):
        raise GroundingError("nothing to score: expected --images, --predictions or --baselines-only (see --help)")
    from grounding.datasets.files import Photographs
    from grounding.datasets.flickr30k import Flickr30kEntities
    from grounding.evaluation.scoring import select

    entities = Flickr30kEntities(options.annotations)
    photographs = Photographs(options.images) if options.images else None
    selection = select(entities, options.split, photographs, options.limit)
    if options.strict and selection.missing:
        raise GroundingError(
            f"{len(selection.missing):,} of {selection.in_split:,} photographs are missing, such as "
            f"{selection.missing[0]}.jpg: --strict needs them all"
        )
    if photographs is None or options.predictions or options.baselines_only:
        return _score_given(options, entities, selection, photographs)
    return _score_localizer(options, selection, photographs)


def _score_given(
    options: argparse.Namespace,
    entities: "Flickr30kEntities",
    selection: "Selection",
    photographs: "Photographs | None",
) -> int:
    """Predictions from a file, or none at all."""
    import hashlib

    from grounding.evaluation.exchange import Loaded, read_predictions
    from grounding.evaluation.metrics import measure
    from grounding.evaluation.run_folder import write_run
    from grounding.evaluation.scoring import Run, score
    from grounding.folders import check_output, whole_folder

    if options.output:
        check_output(options.output, options.overwrite)
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
        with whole_folder(options.output, options.overwrite) as folder:
            write_run(folder, Run(metrics, selection.images, loaded.predictions, columns or {}), _reader(photographs))
    _print_metrics(metrics, options.output)
    return 0


def _score_localizer(options: argparse.Namespace, selection: "Selection", photographs: "Photographs") -> int:
    """The package's own predictions, photograph by photograph."""
    import dataclasses
    import json

    from tqdm import tqdm

    from grounding.config import LocalizerConfig, load
    from grounding.datasets.flickr30k import fingerprint
    from grounding.evaluation.metrics import measure
    from grounding.evaluation.run_folder import finished, write_run
    from grounding.evaluation.runner import TOP_K, Job, collect, lines_in_order, share, world
    from grounding.evaluation.scoring import Run, score
    from grounding.resumable import resumable_lines
    from grounding.tagging.sources import load_classifier

    if options.output is None:
        raise GroundingError("no output was given: expected --output DIR, where the run can continue if interrupted")
    config = load(LocalizerConfig, options.config, options.set)
    job = Job(tuple(options.images), options.classifier, config, options.device)
    if world()[0] > 0:
        for _ in lines_in_order(job, selection.images[share(None) :], 1):
            pass
        return 0
    classifier = load_classifier(options.classifier)
    settings = {
        "split": options.split,
        "limit": options.limit,
        "config": dataclasses.asdict(config),
        "classifier": {"source": options.classifier, "fingerprint": classifier.fingerprint()},
        "device": options.device,
        "top_k": TOP_K,
        "annotations": fingerprint(selection.images),
    }
    metrics = finished(options.output, settings, options.overwrite)
    if metrics is None:
        with resumable_lines(options.output, settings, options.overwrite, keep=False) as file:
            images = selection.images[share(len(file.done)) :]
            lines = lines_in_order(job, images, options.workers)
            for line in tqdm(lines, total=len(selection.images), initial=len(file.done), unit=" photographs"):
                if "error" in (record := json.loads(line)):
                    if options.strict:
                        raise GroundingError(record["error"])
                    tqdm.write(f"not counted: {record['error']}", sys.stderr)
                file.write(line)
            selection, predictions, notes = collect(file.read(), selection)
            for note in notes:
                _note(note)
            columns = measure(selection.images, predictions)
            metrics = score(selection, options.name or classifier.name, settings, predictions, columns, options.images)
            write_run(file.folder, Run(metrics, selection.images, predictions, columns), _reader(photographs))
    else:
        share(len(selection.images))
    _print_metrics(metrics, options.output)
    return 1 if metrics["dataset"]["failed"] else 0


def _compare(options: argparse.Namespace) -> int:
    import json

    from grounding.datasets.files import Photographs
    from grounding.evaluation.comparison import compare
    from grounding.evaluation.report import render_comparison
    from grounding.evaluation.run_folder import read_run
    from grounding.evaluation.terminal import difference_table
    from grounding.folders import check_output, unused_folder, whole_folder

    folder = options.output or unused_folder(options.b.resolve().parent / f"{options.a.name}-vs-{options.b.name}")
    check_output(folder, options.overwrite)
    a, b = read_run(options.a), read_run(options.b)
    places = options.images or [Path(place) for place in a.metrics["dataset"]["photographs"]["paths"]]
    photographs = Photographs(places) if options.images or (places and all(p.exists() for p in places)) else None
    summary, changed = compare(a, b)
    with whole_folder(folder, options.overwrite) as partial:
        (partial / "comparison.json").write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
        page = render_comparison(summary, changed, _reader(photographs))
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

    if options.output.exists() and not options.overwrite:
        raise GroundingError(f"{options.output} exists: choose another or add --overwrite")
    entities = Flickr30kEntities(options.annotations)
    images, splits = list(entities.read(options.split)), {split: entities.ids(split) for split in entities.splits}
    records, notes = convert(options.results, options.style, images, options.split, splits)
    for note in notes:
        _note(note)
    partial = options.output.with_name(options.output.name + ".partial")
    try:
        partial.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
        partial.replace(options.output)
    except OSError as error:
        raise GroundingError(f"{options.output} cannot be written: {error.strerror}") from error
    print(f"{len(records):,} predictions: {options.output}")
    return 0


def _reader(photographs: "Photographs | None") -> "Callable[[str], bytes | None]":
    def read(image: str) -> bytes | None:
        return photographs.read(image) if photographs is not None and image in photographs else None

    return read


def _note(text: str) -> None:
    print(f"note: {text}", file=sys.stderr)


def _print_metrics(metrics: dict[str, Any], output: Path | None) -> None:
    from grounding.evaluation.terminal import metrics_table

    print(metrics_table(metrics), end="")
    if output:
        print(f"metrics, predictions and report: {output / 'report.html'}")


if __name__ == "__main__":
    sys.exit(main())
