"""`python -m grounding.annotate`: boxes are drafted from captions or labels, and people decide about them in a page."""

import argparse
import contextlib
import dataclasses
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from grounding.annotate_options import DEFAULT_PORT, build_parser
from grounding.commands import Terminated, exit_status
from grounding.config import LocalizerConfig, load
from grounding.errors import GroundingError, check_at_least_one
from grounding.web.options import check_extra
from grounding.wording import counted, shortened

if TYPE_CHECKING:
    from grounding.pipeline import Localizer

_MOST_SAID = 20  # lines about pictures and rows that are left out


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    options = build_parser().parse_args(arguments)
    return exit_status(lambda: _annotate(options), "run the same command again to go on")


def _annotate(options: argparse.Namespace) -> int:
    _check(options)
    if options.images is not None:
        _draft(options)
    if options.export:
        _export(options)
    elif not options.headless:
        return _serve(options)
    return 0


def _check(options: argparse.Namespace) -> None:
    """Say what is wrong with the options before anything long begins."""
    if options.images is None:
        given = [name for name in ("captions", "labels", "label_column") if getattr(options, name)]
        if given:
            raise GroundingError(f"--{given[0].replace('_', '-')} is about pictures: add --images DIR, or leave it out")
        if options.headless and not options.export:
            raise GroundingError("--headless has nothing to do: add --images DIR to draft boxes, or --export FORMAT")
    if options.labels and options.captions:
        raise GroundingError("--labels and --captions were given: expected one of them")
    if options.label_column and not options.captions:
        raise GroundingError("--label-column names a column of a table: add --captions FILE")
    check_at_least_one("--boxes-per-label", options.boxes_per_label)
    least = options.min_presence
    if least is not None and not 0 <= least <= 1:
        raise GroundingError(f"--min-presence is {least}: expected a probability from 0 to 1")
    if not options.export and not options.headless:
        check_extra("the page of annotation", "annotate", "starlette", "uvicorn")
    if {"voc", "yolo"} & set(options.export):
        check_extra(f"--export {' '.join(options.export)}", "annotate", "supervision")


def _draft(options: argparse.Namespace) -> None:
    from tqdm import tqdm

    from grounding.annotation.drafting import Drafting
    from grounding.annotation.plan import draft, plan
    from grounding.datasets.columns import TableOptions

    config = load(LocalizerConfig, options.config, options.set)
    localizer = {"classifier": options.classifier, "method": options.method, "config": dataclasses.asdict(config)}
    how = Drafting(
        options.boxes_per_label, options.min_presence, options.label, bool(options.labels), tuple(options.ask)
    )
    names = ("image_column", "caption_column", "phrases_column", "delimiter")
    columns = TableOptions(**{name: getattr(options, name) for name in names if getattr(options, name) is not None})
    about = options.captions, columns, options.label_column, options.labels or ()

    def load_localizer() -> "Localizer":
        from grounding.pipeline import Localizer

        return Localizer.from_pretrained(options.classifier, config, options.device, options.method)

    def progress(lines: Iterator[dict[str, Any]], done: int, total: int) -> Iterator[dict[str, Any]]:
        return iter(tqdm(lines, "drafting", total, initial=done, unit=" pictures"))

    with _saying() as say:
        planned = plan(options.images, options.output, *about, how, localizer, say)
        left_out = draft(planned, options.output, load_localizer, progress, say)
    lacking = f", {left_out:,} left out" if left_out else ""
    print(f"{counted(len(planned.asked) - left_out, 'picture')} drafted{lacking}: {options.output}", flush=True)


@contextlib.contextmanager
def _saying() -> Iterator[Callable[[str], None]]:
    """What takes lines about things that are left out; at the end it says how many of them it did not show."""
    from tqdm import tqdm

    said = 0

    def say(line: str) -> None:
        nonlocal said
        said += 1
        if said <= _MOST_SAID:
            tqdm.write(shortened(line, 500), file=sys.stderr)

    yield say
    if said > _MOST_SAID:
        print(f"... and {counted(said - _MOST_SAID, 'more line')} of that kind", file=sys.stderr)


def _export(options: argparse.Namespace) -> None:
    from grounding.annotation.exporting import write_exports
    from grounding.annotation.project import read_history

    drafts = options.include == "drafts" or (options.include is None and options.headless)
    history = read_history(options.output)
    for name, exports, folder in write_exports(options.output, history, options.export, drafts):
        none = "" if exports.pictures or drafts else " (none is done yet; --include drafts exports what is drafted)"
        print(f"{name}: {exports}{none}: {folder}")


def _serve(options: argparse.Namespace) -> int:
    from grounding.annotation.page import application
    from grounding.annotation.project import Project
    from grounding.web.server import serve

    with Project.open(options.output) as project:
        try:
            serve(application(project), "annotation", options.port, DEFAULT_PORT, not options.no_browser)
        except Terminated:
            raise
        except KeyboardInterrupt:
            pass  # how the page ends
        finally:
            print(f"{project.report()}: {options.output}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
