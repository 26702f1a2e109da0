"""What `python -m grounding.localize` does with `--engine` or `--workers`."""

import argparse
import dataclasses
import math
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from grounding.addresses import is_address
from grounding.config import LocalizerConfig, method_setting
from grounding.datasets.columns import TableOptions
from grounding.datasets.tables import PARQUET, counts_lines, is_table
from grounding.errors import GroundingError, check_at_least_one
from grounding.scale.lines import write_lines
from grounding.scale.partitions import ManifestFiles, Partition, open_manifest
from grounding.scale.run import LINES_FILE, Engine, claimed, fingerprint, run_partitions, sentence
from grounding.scale.storage import Storage
from grounding.scale.worker import Job


def localize_scaled(options: argparse.Namespace, table: TableOptions, config: LocalizerConfig, top_k: int) -> int:
    """Do a manifest with many workers; returns the exit status, 1 where rows failed.

    Raises:
        GroundingError: options that do not go together, and all that a run raises.
    """
    gpus = _checked(options)
    output = Storage(str(options.output if isinstance(options.output, str) else options.output.resolve()))
    with tempfile.TemporaryDirectory(prefix="grounding-") as temporary:
        manifest, lines = _manifest(options.manifest, table, Path(temporary) / LINES_FILE)
        from grounding.tagging.sources import load_classifier

        classifier = load_classifier(options.classifier)
        settings = {
            "manifest": manifest.fingerprint,
            "folder": _image_folder(options),
            "columns": dataclasses.asdict(table),
            "classifier": classifier.fingerprint(),
            "top_k": top_k,
            "config": dataclasses.asdict(config),
            "device": options.device,
            **method_setting(options.method),
            **({"batch_size": options.batch_size} if (options.batch_size or 1) > 1 else {}),
        }
        with claimed(output, settings, options.overwrite):
            if lines:
                output.write(LINES_FILE, lines.read_bytes())
                manifest = dataclasses.replace(manifest, names=(output.place(LINES_FILE),))
            job = Job(
                manifest,
                "line" if lines and counts_lines(options.manifest) else "row",
                table,
                _image_folder(options),
                str(options.classifier),
                classifier.fingerprint(),
                config,
                options.device,
                options.method,
                top_k,
                options.batch_size,
                output,
                fingerprint(settings),
            )
            del classifier
            try:
                total = run_partitions(job, _engine(options, gpus))
            except KeyboardInterrupt:
                sys.stderr.write(f"what is finished is in {output}: run the same command again to continue\n")
                raise
    sys.stderr.write(sentence(total) + "\n")
    return 1 if total.failed else 0


def _checked(options: argparse.Namespace) -> float:
    """Refuse what cannot be; returns the GPUs of each worker."""
    if not options.output:
        raise GroundingError(
            "--engine and --workers need a place for their results: add --output DIR, or s3://bucket/name"
        )
    if options.pictures:
        raise GroundingError("--pictures does not go with --engine and --workers: leave one of them out")
    if options.workers is not None:
        check_at_least_one("--workers", options.workers)
    gpus = options.gpus_per_worker
    if gpus is None:
        return 1.0 if options.device.startswith("cuda") else 0.0
    if options.engine != "ray":
        raise GroundingError("--gpus-per-worker goes with --engine ray: add it, or leave this out")
    if not math.isfinite(gpus) or gpus < 0 or (gpus > 1 and gpus != int(gpus)):
        raise GroundingError(f"--gpus-per-worker is {gpus:g}: expected a share from 0 to 1, or a whole number")
    if gpus and options.device == "cpu":
        raise GroundingError(f"--gpus-per-worker is {gpus:g} although workers compute on the CPU: add --device cuda")
    return float(gpus)


def _manifest(given: Path | str, table: TableOptions, temporary: Path) -> tuple[ManifestFiles, Path | None]:
    """The files of a manifest; a table of text is written as Parquet first, to the second path."""
    name = str(given)
    if isinstance(given, str) or given.is_dir() or "*" in name or given.suffix.lower() in PARQUET:
        files = open_manifest(name if isinstance(given, str) else str(given.absolute()), table)
        return dataclasses.replace(files, table=name), None
    if not is_table(given):
        raise GroundingError(f"manifest {given} is no table: expected Parquet, CSV, TSV or JSON Lines")
    write_lines(given, table, temporary)
    files = open_manifest(str(temporary), table)
    return dataclasses.replace(files, table=name), temporary


def _image_folder(options: argparse.Namespace) -> str:
    """Where relative pictures start: as given, or the folder of the manifest; absolute, for other processes."""
    if options.image_folder:
        return options.image_folder if is_address(options.image_folder) else _absolute(options.image_folder)
    if isinstance(options.manifest, str):
        return options.manifest.rstrip("/").rpartition("/")[0]
    return _absolute(options.manifest if options.manifest.is_dir() else options.manifest.parent)


def _absolute(folder: Path | str) -> str:
    return str(Path(os.path.expanduser(folder)).resolve())  # noqa: PTH111 - never raises


def _engine(options: argparse.Namespace, gpus: float) -> Engine:
    workers = options.workers

    def ray(job: Job, partitions: Sequence[Partition]) -> Iterator[tuple[Partition, int]]:
        from grounding.scale import ray_engine

        return ray_engine.run(job, partitions, workers, gpus)

    def processes(job: Job, partitions: Sequence[Partition]) -> Iterator[tuple[Partition, int]]:
        from grounding.scale import processes

        return processes.run(job, partitions, workers or os.cpu_count() or 1)

    return ray if options.engine == "ray" else processes
