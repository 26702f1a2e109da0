"""`python -m grounding.evaluate`: predictions scored on Flickr30k Entities, under every protocol, beside baselines."""

import argparse
import sys
from collections.abc import Callable, Sequence

from grounding.commands import exit_status
from grounding.errors import GroundingError
from grounding.evaluation.options import BENCHMARKS, build_parser
from grounding.wording import counted


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    options = build_parser().parse_args(arguments)
    commands: dict[str, Callable[[argparse.Namespace], int | None]] = {"flickr30k": _flickr30k, "compare": _compare}
    commands |= dict.fromkeys(BENCHMARKS, _benchmark)
    commands |= {"convert": _convert, "sweep": _sweep, "misses": _misses, "control": _control}
    return exit_status(lambda: commands[options.command](options) or 0)


def _flickr30k(options: argparse.Namespace) -> int:
    if not (options.images or options.predictions or options.baselines_only):
        raise GroundingError("nothing to score: expected --images, --predictions or --baselines-only (see --help)")
    from grounding.datasets.files import Photographs
    from grounding.datasets.flickr30k import Flickr30kEntities
    from grounding.evaluation.report.page import render_report
    from grounding.evaluation.report.published import published_lines
    from grounding.evaluation.report.terminal import metrics_table
    from grounding.evaluation.runs.folder import REPORT, Output
    from grounding.evaluation.runs.given import score_given
    from grounding.evaluation.runs.scoring import select

    entities = Flickr30kEntities(options.annotations)
    photographs = Photographs(options.images or ())
    selection = select(entities, options.split, photographs if options.images else None, options.limit, options.strict)
    inputs = [path for path in (options.annotations, options.predictions, *(options.images or ())) if path]
    output = Output(options.output, photographs, render_report, options.overwrite, inputs)
    if options.predictions or options.baselines_only:
        given, allow_missing = options.predictions, options.allow_missing
        metrics = score_given(given, entities, selection, output, _note, options.name, allow_missing)
    else:
        from grounding.config import LocalizerConfig, load
        from grounding.evaluation.predictions.predictor import Job
        from grounding.evaluation.runs.localizer import LocalizerRun

        config = load(LocalizerConfig, options.config, options.set)
        job = Job(photographs.paths, options.classifier, config, options.device, options.method)
        run = LocalizerRun(job, selection, output, _note, options.name, options.workers, options.strict)
        metrics = run.score()
    if metrics is None:  # a rank above 0 of torchrun
        return 0
    print(metrics_table(metrics) + published_lines(metrics), end="")
    if options.output:
        print(f"metrics, predictions and report: {options.output / REPORT}")
    return 1 if metrics["dataset"]["failed"] else 0


def _benchmark(options: argparse.Namespace) -> int:
    from grounding.benchmarks.data import Source
    from grounding.benchmarks.measurer import Job
    from grounding.benchmarks.methods import MapMaker, read_map_config
    from grounding.benchmarks.names import parse_methods
    from grounding.benchmarks.page import draw, metrics_table
    from grounding.benchmarks.published import published_line
    from grounding.benchmarks.run import REPORT, run_benchmark
    from grounding.benchmarks.signals import read_given

    names, smoothing, masks = parse_methods(options.methods), options.smoothing, options.rise_masks
    images, gaze = tuple(getattr(options, "images", ())), getattr(options, "gaze", None)
    viewers = tuple(getattr(options, "viewers", ()))
    source = Source(options.dataset, options.root, options.split, images, gaze, options.limit, viewers)
    makers = tuple(MapMaker(name, smoothing, masks) for name in names)
    given = read_given(options.classes) if options.classes else {}
    config = read_map_config(options.config, options.set)
    job = Job(options.command, source, options.classifier, makers, config, options.device, given)
    output, workers = options.output, options.workers
    metrics = run_benchmark(job, output, draw, _note, options.name, workers, options.overwrite)
    if metrics is None:  # a rank above 0 of torchrun
        return 0
    print(metrics_table(metrics) + published_line(metrics), end="")
    print(f"metrics, rows, figure and report: {output / REPORT}")
    return 1 if metrics["dataset"]["failed"] else 0


def _compare(options: argparse.Namespace) -> None:
    from grounding.benchmarks.compare import is_benchmark

    if is_benchmark(options.a) or is_benchmark(options.b):
        _compare_benchmarks(options)
        return
    from grounding.evaluation.report.page import write_comparison
    from grounding.evaluation.report.terminal import difference_table

    page, summary = write_comparison(options.a, options.b, options.images, options.output, options.overwrite)
    _note(*summary["warnings"])
    print(difference_table(summary), end="")
    print(f"pictures of what changed sides: {page}")


def _compare_benchmarks(options: argparse.Namespace) -> None:
    from grounding.benchmarks.compare import comparison_table, write_comparison

    page, summary = write_comparison(options.a, options.b, options.output, options.overwrite)
    _note(*summary["warnings"])
    print(comparison_table(summary), end="")
    print(f"page: {page}")


def _convert(options: argparse.Namespace) -> None:
    from grounding.datasets.flickr30k import Flickr30kEntities
    from grounding.evaluation.predictions.convert import convert_file

    entities, output = Flickr30kEntities(options.annotations), options.output
    count, notes = convert_file(options.results, options.style, entities, options.split, output, options.overwrite)
    _note(*notes)
    print(f"{counted(count, 'prediction')}: {output}")


def _sweep(options: argparse.Namespace) -> None:
    from grounding.evaluation.runs.scoring import present
    from grounding.evaluation.runs.sweep import combinations, sweep, table

    settings = combinations(options.grid, options.config, options.set, with_defaults=options.halves)
    images, photographs = present(options.annotations, options.split, options.images)
    images = images[:: options.every]
    where = options.classifier, options.device, options.method
    predictions = sweep(*where, settings, images, photographs, options.image_size)
    for line in table(options.split, images, predictions, options.halves):
        print(line)


def _misses(options: argparse.Namespace) -> None:
    from grounding.config import LocalizerConfig, load
    from grounding.evaluation.report.misses import draw_misses
    from grounding.evaluation.runs.scoring import present
    from grounding.pipeline import Localizer

    config = load(LocalizerConfig, options.config, options.set)
    localizer = Localizer.from_pretrained(options.classifier, config, options.device, options.method)
    images, photographs = present(options.annotations, options.split, options.images)
    how = options.output, options.overwrite, options.count, options.seed
    missed, drawn = draw_misses(localizer, images, photographs, *how)
    print(f"{counted(missed, 'phrase')} missed; {drawn:,} of them drawn in {options.output}")


def _control(options: argparse.Namespace) -> None:
    from grounding.evaluation.report.terminal import difference_table
    from grounding.evaluation.runs.comparison import control
    from grounding.evaluation.runs.folder import read_run

    print(difference_table(control(read_run(options.run), options.seed)), end="")


def _note(*texts: str) -> None:
    for text in texts:
        print(f"note: {text}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
