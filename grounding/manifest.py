"""Many pictures with captions: the rows of a table in, JSON lines out, resumable."""

import contextlib
import dataclasses
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

import torch
from tqdm import tqdm

from grounding.datasets.columns import TableOptions
from grounding.datasets.places import Place, Spool
from grounding.datasets.sources import with_home
from grounding.datasets.tables import TableRow, counts_lines, read_table
from grounding.errors import GroundingError
from grounding.manifest_page import PAGE, write_page
from grounding.pipeline import Localizer
from grounding.result_folder import FILES
from grounding.results import to_json
from grounding.resumable import resumable_lines
from grounding.rows import Answer, Row, answers
from grounding.wording import counted
from grounding.workers import one_thread, ordered_map

OVERLAY: Final = "overlay-{:06d}.jpg"  # of the line of results.jsonl with this number, from 1
_MOST_ROWS: Final = 64  # of a picture, that are done at a time
OURS: Final = (*FILES, "overlay-*.jpg", PAGE)


@dataclass(frozen=True, slots=True, eq=False)
class Manifest:
    """The rows of a table, one for each caption; `spool` has the pictures that the table holds itself."""

    path: Path
    rows: list[Row]
    spool: Spool

    @property
    def fingerprint(self) -> str:
        """Of all that the rows say."""
        said = [(row.image, row.caption, row.phrases, row.error) for row in self.rows]
        return hashlib.sha256(repr((said, self.spool.fingerprint)).encode()).hexdigest()


def read_manifest(path: Path, options: TableOptions | None = None) -> Manifest:
    """Read a table of pictures with captions, phrases or both, as `tables.read_table` says.

    A row with several captions becomes as many rows; without a caption, the phrases divided by commas stand for it.

    Raises:
        GroundingError: as `read_table`; or there are no rows. What is wrong with one row is its `error`.
    """
    path = with_home(path)
    spool = Spool()
    unit = "line" if counts_lines(path) else "row"
    rows = [
        row
        for each in read_table(path, options or TableOptions(), spool)
        for row in rows_of(each, f"manifest {path}, {unit} {each.number}")
    ]
    if not rows:
        raise GroundingError(f"manifest {path} has no rows: expected a picture and a caption or phrases in each")
    return Manifest(path, rows, spool)


def rows_of(row: TableRow, where: str) -> Iterator[Row]:
    """A row for each caption of a row of a table.

    Args:
        where: what a message calls the row.
    """
    if row.fault:
        yield Row(row.image, row.picture, next(iter(row.captions), ""), row.phrases, f"{where}: {row.error}")
        return
    for caption in row.captions or ("",):
        said = caption if caption.strip() else ", ".join(row.phrases or ())
        error = "" if said else f"{where}: no caption: expected a sentence, or phrases"
        yield Row(row.image, row.picture, said, row.phrases, error)


@dataclass(frozen=True, slots=True)
class Destination:
    """Where results go: the folder for results.jsonl and, if asked for, pictures; without one, each line to `show`.

    Attributes:
        boxes: of each phrase, that the pictures show.
    """

    folder: Path | None
    overwrite: bool
    pictures: bool
    show: Callable[[str], None]
    boxes: int = 1


@dataclass(slots=True)
class Summary:
    """What became of the rows so far."""

    rows: Sequence[Row]
    failed: dict[int, str] = field(default_factory=dict)  # row -> why
    statuses: Counter[str] = field(default_factory=Counter)
    pictures: set[Place | bytes | None] = field(default_factory=set)

    def add(self, index: int, result: Mapping[str, Any]) -> None:
        """Count the result of a row."""
        if "error" in result:
            self.failed[index] = result["error"]
        else:
            self.pictures.add(self.rows[index].picture)
            self.statuses.update(phrase["status"] for phrase in result["phrases"])

    def __str__(self) -> str:
        """Rows, pictures and phrases, how many had which status, and which rows failed."""
        counts = [(len(self.rows), "row"), (len(self.pictures), "picture"), (self.statuses.total(), "phrase")]
        text = ", ".join(counted(count, noun) for count, noun in counts)
        if self.statuses:
            text += ": " + ", ".join(f"{count:,} {status}" for status, count in self.statuses.most_common())
        if self.failed:
            rows = f"{len(self.failed):,} of {counted(len(self.rows), 'row')}"
            text += f"\n{rows} failed, each says why in its 'error'; the first: {self.failed[min(self.failed)]}"
        return text


def ground_manifest(
    localizer: Localizer,
    manifest: Manifest,
    folder: Path,
    top_k: int,
    names: Mapping[str, str],
    to: Destination,
    workers: int = 1,
    at_once: int = 1,
) -> Summary:
    """Do every row, going on where an interrupted run with the same settings stopped.

    Pictures are taken in the order in which they first appear, and all rows of a picture are done while it is encoded:
    each is encoded once, and two for each worker are in memory. Results come in the order of the rows, the same
    for any number of workers. Those that go to a folder are on disk in the order in which pictures are taken, as soon
    as those before them are, and are put in order when all are there; those that are shown wait for the rows before
    them.

    Args:
        folder: where relative picture paths start; one of the settings.
        names: of the localizer's device and method, for the settings.
        workers: threads, each of which reads, encodes and grounds pictures of its own.
        at_once: pictures in one forward pass. What is found of one is then that of any number but for rounding, so more
            than one is among the settings.
    """
    settings = {
        "manifest": manifest.fingerprint,
        "folder": str(folder.resolve()),
        "classifier": localizer.classifier.fingerprint(),
        "top_k": top_k,
        "config": dataclasses.asdict(localizer.config),
        **names,
        **({"pictures": True} if to.pictures else {}),
        **({"batch_size": at_once} if at_once > 1 else {}),
    }
    rows, summary = manifest.rows, Summary(manifest.rows)
    order = _grouped(rows)
    if to.folder is None:
        with contextlib.closing(_answers(localizer, rows, order, top_k, workers, at_once, False)) as found:
            lines = _in_order((index, result) for index, (result, _) in found)
            for index, result in enumerate(tqdm(lines, total=len(rows), unit=" rows")):
                summary.add(index, result)
                to.show(to_json(result))
        return summary
    with resumable_lines(to.folder, settings, to.overwrite, OURS) as file:
        for index, line in zip(order, file.done, strict=False):
            summary.add(index, json.loads(line))
        left = order[len(file.done) :]
        with contextlib.closing(_answers(localizer, rows, left, top_k, workers, at_once, to.pictures)) as found:
            for index, (result, grounding) in tqdm(found, total=len(rows), initial=len(file.done), unit=" rows"):
                summary.add(index, result)
                if to.pictures and grounding is not None:
                    grounding.overlay(to.boxes).convert("RGB").save(file.folder / OVERLAY.format(index + 1), quality=90)
                file.write(to_json(result))
        finished = file.sort(order)
        if to.pictures:
            write_page(finished, str(manifest.path), str(summary), OVERLAY)
    return summary


def _grouped(rows: Sequence[Row]) -> list[int]:
    """The rows picture by picture, in the order in which pictures first appear."""
    groups: dict[Place | bytes | int, list[int]] = {}
    for index, row in enumerate(rows):
        groups.setdefault(index if row.picture is None else row.picture, []).append(index)
    return [index for group in groups.values() for index in group]


def _in_order(numbered: Iterable[tuple[int, dict[str, Any]]]) -> Iterator[dict[str, Any]]:
    """Numbered values as soon as those of all lower numbers have been given."""
    waiting: dict[int, dict[str, Any]] = {}
    turn = 0
    for number, value in numbered:
        waiting[number] = value
        while turn in waiting:
            yield waiting.pop(turn)
            turn += 1


def row_results(
    localizer: Localizer, rows: Sequence[Row], top_k: int, workers: int = 1, at_once: int = 1
) -> Iterator[tuple[int, dict[str, Any]]]:
    """The number of each row, from 0, and its result, picture by picture; arguments as `ground_manifest`."""
    with contextlib.closing(_answers(localizer, rows, _grouped(rows), top_k, workers, at_once, False)) as found:
        for index, (result, _) in found:
            yield index, result


def _answers(
    localizer: Localizer,
    rows: Sequence[Row],
    order: Sequence[int],
    top_k: int,
    workers: int,
    at_once: int,
    pictures: bool,
) -> Generator[tuple[int, Answer]]:
    """The number of each row, and what `rows.answers` gives for it; what was found, with its picture, if asked for."""

    def work(piece: Sequence[int]) -> tuple[Sequence[int], Iterable[Answer]]:
        found: Iterable[Answer] = answers(localizer, [rows[index] for index in piece], top_k, at_once)
        if not pictures:  # a large one would wait in memory
            found = ((result, None) for result, _ in found)
        return piece, found if workers == 1 else list(found)

    mapped = ordered_map(work, _pieces(rows, order, at_once), workers, partial(torch.set_num_threads, 1))
    with one_thread(), contextlib.closing(mapped):
        for piece, found in mapped:
            yield from zip(piece, found, strict=True)


def _pieces(rows: Sequence[Row], order: Iterable[int], at_once: int) -> Iterator[list[int]]:
    """What a worker does at a time: the rows of so many pictures that follow each other, of each not too many."""
    piece: list[int] = []
    pictures = of_one = 0
    for index in order:
        if not piece or rows[index].picture != rows[piece[-1]].picture or of_one == _MOST_ROWS:
            pictures, of_one = pictures + 1, 0
        if pictures > at_once:
            yield piece
            piece, pictures = [], 1
        piece.append(index)
        of_one += 1
    if piece:
        yield piece
