"""Many pictures, one caption each: rows in, JSON lines out, resumable."""

import csv
import dataclasses
import hashlib
import io
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from grounding.errors import GroundingError
from grounding.images import read_image
from grounding.pipeline import Localizer, Scene
from grounding.result_folder import FILES
from grounding.results import SCHEMA_VERSION, to_json
from grounding.resumable import resumable_lines


@dataclass(frozen=True, slots=True)
class Row:
    """A picture and its caption; `phrases` are grounded exactly as given, None leaves them to the chunker."""

    image: str
    caption: str
    phrases: tuple[str, ...] | None = None


def read_manifest(path: Path) -> list[Row]:
    """Read a CSV file (columns image, caption and maybe phrases, divided by `|`) or of JSON Lines (the same keys).

    Raises:
        GroundingError: a missing file, another ending, a missing column, or a broken row (with its line number).
    """
    if path.suffix not in (".csv", ".jsonl"):
        raise GroundingError(f"manifest {path} ends in '{path.suffix}': expected .csv or .jsonl")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise GroundingError(f"manifest {path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise GroundingError(f"manifest {path} is not UTF-8 text: save it as UTF-8") from error
    numbered = _csv(path, text) if path.suffix == ".csv" else _jsonl(path, text)
    rows = [_row(path, number, values) for number, values in numbered]
    if not rows:
        raise GroundingError(f"manifest {path} has no rows: expected one picture and caption a row")
    return rows


def _csv(path: Path, text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        missing = [key for key in ("image", "caption") if key not in (reader.fieldnames or ())]
        if missing and text.strip():
            columns = ", ".join(reader.fieldnames or ())
            raise GroundingError(f"manifest {path} has no column '{missing[0]}'; its columns are {columns}")
        for values in reader:
            phrases = values.get("phrases")
            values["phrases"] = [part.strip() for part in phrases.split("|")] if phrases else None
            yield reader.line_num, values
    except csv.Error as error:
        raise GroundingError(f"manifest {path}, line {reader.line_num}: {error}") from error


def _jsonl(path: Path, text: str) -> Iterator[tuple[int, Any]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            try:
                yield number, json.loads(line)
            except (ValueError, RecursionError) as error:
                raise GroundingError(f"manifest {path}, line {number} is not JSON: {error}") from error


def _row(path: Path, number: int, values: Any) -> Row:
    """Check the values of one line; without a caption, the phrases divided by commas stand for it."""
    where, expected = f"manifest {path}, line {number}", "expected image, caption and maybe phrases"
    if not isinstance(values, dict):
        raise GroundingError(f"{where} is no object: {expected}")
    image, caption, phrases = values.get("image"), values.get("caption"), values.get("phrases")
    if not isinstance(image, str) or not image:
        raise GroundingError(f"{where} has no image: {expected}")
    texts = phrases if isinstance(phrases, list) else [None]
    if phrases is not None and not all(isinstance(text, str) and text.strip() for text in texts):
        raise GroundingError(f"{where}: phrases are {phrases!r}: expected a list of texts that are not blank")
    caption = caption or ", ".join(phrases or ())
    if not isinstance(caption, str) or not caption.strip():
        raise GroundingError(f"{where} has no caption: {expected}")
    return Row(image, caption, None if phrases is None else tuple(phrases))


def ground_manifest(
    localizer: Localizer,
    rows: list[Row],
    folder: Path,
    top_k: int,
    names: Mapping[str, str],
    output: Path | None,
    overwrite: bool,
    show: Callable[[str], None],
) -> int:
    """Do every row, going on where an interrupted run with the same settings stopped.

    Args:
        folder: relative picture paths start here.
        names: of the localizer's device and method, for the settings.
        output: the folder for results.jsonl; without one, `show` is given each line.

    Returns:
        How many rows failed.
    """
    settings = {
        "manifest": hashlib.sha256(repr(rows).encode()).hexdigest(),
        "folder": str(folder.resolve()),
        "classifier": localizer.classifier.fingerprint(),
        "top_k": top_k,
        "config": dataclasses.asdict(localizer.config),
        **names,
    }
    lines = nullcontext() if output is None else resumable_lines(output, settings, overwrite, FILES)
    with lines as file:
        done = file.done if file else []
        failed = sum("error" in json.loads(line) for line in done)
        results = _results(localizer, rows[len(done) :], folder, top_k)
        for result in tqdm(results, total=len(rows), initial=len(done), unit=" rows"):
            failed += "error" in result
            (file.write if file else show)(to_json(result))
    return failed


def _results(localizer: Localizer, rows: list[Row], folder: Path, top_k: int) -> Iterator[dict[str, Any]]:
    """One result a row, in order; a row that cannot be done has an `error` and no phrases."""
    encoded: str | None = None
    scene: Scene | None = None
    for row in rows:
        try:
            if scene is None or encoded != row.image:
                encoded, scene = row.image, None
                scene = localizer.encode(read_image(folder / row.image))
            yield scene.ground(row.caption, row.phrases, top_k).to_dict(row.image)
        except GroundingError as error:
            yield {
                "schema_version": SCHEMA_VERSION,
                "image": {"path": row.image, "width": None, "height": None},
                "caption": row.caption,
                "classifier": localizer.classifier.name,
                "error": str(error),
                "phrases": [],
            }
