"""`python -m grounding.localize`: a caption and a picture in, a region for every phrase out."""

import argparse
import sys
import time
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from grounding.commands import exit_status
from grounding.config import TOP_K, LocalizerConfig, load, method_setting
from grounding.errors import GroundingError, check_at_least_one
from grounding.localize_options import build_parser

if TYPE_CHECKING:
    from grounding.images import RgbImage
    from grounding.pipeline import Localizer


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    options = build_parser().parse_args(arguments)
    return exit_status(lambda: _localize_manifest(options) if options.manifest else _localize_one(options))


def _scaled(options: argparse.Namespace) -> list[str]:
    """The options that were given of those that call for many workers."""
    return [name for name in ("engine", "workers", "gpus_per_worker") if getattr(options, name) is not None]


def _top_k(options: argparse.Namespace) -> tuple[int, int]:
    """How many regions a phrase has at most, and how many of them are shown."""
    return (TOP_K, 1) if options.top_k is None else (options.top_k, options.top_k)


def _load(options: argparse.Namespace) -> "Localizer":
    config = _load_config(options)
    from grounding.pipeline import Localizer

    return Localizer.from_pretrained(options.classifier, config, options.device, options.method)


def _load_config(options: argparse.Namespace) -> LocalizerConfig:
    check_at_least_one("--top-k", _top_k(options)[0])
    least = options.min_presence
    if least is not None and not 0 <= least <= 1:
        raise GroundingError(f"--min-presence is {least}: expected a probability from 0 to 1")
    presence = [] if least is None else [f"min_presence={least}"]
    return load(LocalizerConfig, options.config, [*options.set, *presence])


def _localize_one(options: argparse.Namespace) -> int:
    """Print a table or JSON, and save pictures and result.json."""
    of_tables = [name for name in ("pictures", "batch_size") if getattr(options, name)]
    if given := [*_table_options(options), *_scaled(options), *of_tables]:
        raise GroundingError(f"--{given[0].replace('_', '-')} goes with --manifest FILE: add it, or leave this out")
    if options.caption is None and not options.phrases:
        raise GroundingError("no caption was given: expected --caption TEXT, --phrases or --manifest (see --help)")
    if isinstance(options.output, str):
        raise GroundingError(f"--output {options.output} is an address: expected a folder (addresses go with --engine)")
    from grounding.folders import check_output
    from grounding.result_folder import FILES, new_folder, write_result
    from grounding.results import to_json
    from grounding.terminal import result_table

    if options.output:
        check_output(options.output, options.overwrite, FILES)
    image = _picture(options.image)
    localizer = _load(options)
    (top_k, shown), start = _top_k(options), time.perf_counter()
    result = localizer.encode(image).ground(options.caption, options.phrases, top_k)
    told = options.image, time.perf_counter() - start, shown
    print(to_json(result.to_dict(options.image)) if options.json else result_table(result, *told))
    folder = options.output or (None if options.json else new_folder(options.image))
    if folder is not None:
        write_result(result, options.image, folder, options.overwrite, shown)
        if not options.json:
            print(f"pictures and result.json: {folder}")
    return 0


def _picture(path: str | None) -> "RgbImage":
    from grounding.images import read_image, sample_scene

    if path == "-" and sys.stdin is None:
        raise GroundingError("standard input is closed: expected a picture on it")
    return sample_scene() if path is None else read_image(sys.stdin.buffer if path == "-" else path)


def _localize_manifest(options: argparse.Namespace) -> int:
    if options.image or options.caption or options.phrases:
        raise GroundingError("--manifest names the pictures, captions and phrases itself: leave out the other options")
    from grounding.datasets.columns import TableOptions

    if _scaled(options):
        from grounding.scale.command import localize_scaled

        return localize_scaled(
            options, TableOptions(**_table_options(options)), _load_config(options), _top_k(options)[0]
        )
    if addresses := [each for each in (options.manifest, options.output) if isinstance(each, str)]:
        raise GroundingError(f"{addresses[0]} is an address: add --engine ray or --engine processes, or give a path")
    if options.pictures and not options.output:
        raise GroundingError("--pictures needs a folder to write to: add --output DIR")
    import torch

    from grounding.batches import pictures_at_once
    from grounding.datasets.sources import with_home
    from grounding.manifest import Destination, ground_manifest, read_manifest

    manifest = read_manifest(options.manifest, TableOptions(**_table_options(options)))
    folder = with_home(options.image_folder or options.manifest.parent)
    names = {"device": options.device, **method_setting(options.method)}
    top_k, shown = _top_k(options)
    destination = Destination(options.output, options.overwrite, options.pictures, partial(print, flush=True), shown)
    localizer, workers = _load(options), torch.get_num_threads()
    at_once = options.batch_size or pictures_at_once(localizer.device)
    summary = ground_manifest(localizer, manifest, folder, top_k, names, destination, workers, at_once)
    print(summary, file=sys.stderr)
    return 1 if summary.failed else 0


def _table_options(options: argparse.Namespace) -> dict[str, str]:
    names = ("image_column", "caption_column", "phrases_column", "delimiter", "image_folder")
    return {name: getattr(options, name) for name in names if getattr(options, name) is not None}


if __name__ == "__main__":
    sys.exit(main())
