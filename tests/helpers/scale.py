"""Tiny manifests, jobs that do them, and what was written."""

import json
from dataclasses import asdict
from pathlib import Path

import pyarrow as pa
from pyarrow import parquet

from grounding.config import LocalizerConfig, MapConfig
from grounding.datasets.columns import TableOptions
from grounding.scale.partitions import open_manifest
from grounding.scale.run import fingerprint
from grounding.scale.storage import Storage
from grounding.scale.worker import Job
from grounding.tagging.sources import load_classifier
from helpers.benchmarks import write_classifier
from helpers.captioned import BLUE, GREEN, RED, picture

CONFIG = LocalizerConfig(maps=MapConfig(stride=2))
CAPTIONS = ("a red thing", "a green thing and a blue thing", "something unheard of")


def write_manifest(folder: Path, rows: int, broken=(), group=7) -> Path:
    """A Parquet table of pictures of three colours, two rows each; pictures of `broken` rows (from 1) are missing."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, colour in (("r", RED), ("g", GREEN), ("b", BLUE)):
        (folder / f"{name}.png").write_bytes(picture(colour, (12, 8)))
    images = [f"{'rgb'[row // 2 % 3]}.png" for row in range(rows)]
    for row in broken:
        images[row - 1] = f"missing-{row}.png"
    table = pa.table({"image": images, "caption": [CAPTIONS[row % 3] for row in range(rows)]})
    parquet.write_table(table, folder / "m.parquet", row_group_size=group)
    return folder / "m.parquet"


def make_job(manifest: Path | str, output: Path | str, classifier: Path, **how) -> Job:
    """A job on a manifest, whose classifier is made where it is missing."""
    if not classifier.exists():
        write_classifier(classifier)
    loaded = load_classifier(str(classifier))
    folder = how.pop("image_folder", str(Path(manifest).parent))
    options = how.pop("options", TableOptions())
    said = {"unit": "row", "config": CONFIG, "device": "cpu", "method": "contrastive_mwp", "top_k": 3, "at_once": None}
    return Job(
        manifest=open_manifest(str(manifest), options),
        options=options,
        image_folder=folder,
        classifier=str(classifier),
        fingerprint=loaded.fingerprint(),
        output=Storage(str(output)),
        run=fingerprint({"config": asdict(CONFIG)}),
        **{**said, **how},
    )


def read_output(folder: Path) -> list[tuple[int, int, object]]:
    """(row, caption number, result or reason) of each answer in an output, in the order of the rows."""
    good = [row for path in sorted((folder / "results").iterdir()) for row in parquet.read_table(path).to_pylist()]
    bad = [row for path in sorted((folder / "failed").iterdir()) for row in parquet.read_table(path).to_pylist()]
    said = [(each["row"], each["caption_number"], json.loads(each["result"])) for each in good]
    return sorted(said + [(each["row"], each["caption_number"], each["error"]) for each in bad], key=lambda x: x[:2])
