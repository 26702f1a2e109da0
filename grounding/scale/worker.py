"""What a worker does: ground the rows of a partition, and write what became of them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from grounding import __version__
from grounding.addresses import UnreachableError, is_address
from grounding.config import LocalizerConfig
from grounding.datasets.columns import TableOptions
from grounding.datasets.places import Place, Spool
from grounding.datasets.tables import finder, table_row
from grounding.errors import GroundingError
from grounding.manifest import row_results, rows_of
from grounding.rows import Row, failed
from grounding.scale.attempts import Attempt, begin
from grounding.scale.partitions import ManifestFiles, Partition
from grounding.scale.parts import Answer, write_part
from grounding.scale.storage import Storage


@dataclass(frozen=True, slots=True)
class Job:
    """All that a worker is told; can be pickled.

    Attributes:
        manifest: the files that workers read; its `table` is what messages call it.
        unit: what its numbers count: `row` or `line`.
        image_folder: where relative pictures start: an absolute folder or an address.
        classifier: its source; each worker loads its own, and it must have this `fingerprint`.
        at_once: pictures in one forward pass; None for as many as the device holds, one on a CPU.
        run: the fingerprint of the run's settings.
    """

    manifest: ManifestFiles
    unit: str
    options: TableOptions
    image_folder: str
    classifier: str
    fingerprint: str
    config: LocalizerConfig
    device: str
    method: str
    top_k: int
    at_once: int | None
    output: Storage
    run: str
    version: str = __version__


class Worker:
    """A localizer that does partitions of a job.

    Args:
        threads: that do pictures side by side; where reading them or a GPU makes a thread wait, there are two at least.

    Raises:
        GroundingError: the classifier cannot be loaded here, or is another; or the package is of another version.
    """

    def __init__(self, job: Job, threads: int) -> None:
        from grounding.batches import pictures_at_once
        from grounding.pipeline import Localizer

        if job.version != __version__:
            raise GroundingError(f"a worker has grounding {__version__}: expected {job.version}, install it there")
        self.job = job
        self.localizer = Localizer.from_pretrained(job.classifier, job.config, job.device, job.method)
        if (found := self.localizer.classifier.fingerprint()) != job.fingerprint:
            raise GroundingError(
                f"classifier {job.classifier} is another one where a worker runs ({found[:12]}): "
                f"expected {job.fingerprint[:12]}, the same files on every machine"
            )
        self.at_once = job.at_once or pictures_at_once(self.localizer.device)
        waits = is_address(job.image_folder) or self.localizer.device.type != "cpu"
        self.threads = max(2 if waits else 1, threads)

    def do(self, partition: Partition) -> int:
        """Ground the rows of a partition and write its files. A second time writes the same bytes.

        Returns:
            How many workers died at it before.

        Raises:
            GroundingError: the manifest, the storage of the pictures or the output cannot be reached; or too many
                workers have died at these rows.
        """
        job = self.job
        attempt = begin(job.output, partition.number)
        try:
            spool = Spool()  # for the pictures that the manifest holds itself, as long as the partition is done
            numbered = [
                (number, caption_number, row)
                for number, rows in self._rows(partition, spool)
                for caption_number, row in enumerate(rows)
            ]
            rows = [row for _, _, row in numbered]
            results = self._results(rows, attempt)
            answers = [Answer(*numbered[index][:2], result, repr(rows[index].picture)) for index, result in results]
            assert len(answers) == len(rows), "each row has one answer"
            write_part(job.output, job.run, partition, answers)
        except UnreachableError as error:
            attempt.end()
            raise GroundingError(f"{error}; the same command goes on where this one stopped") from error
        except (GroundingError, KeyboardInterrupt):
            attempt.end()
            raise
        attempt.end()
        return attempt.number - 1

    def _rows(self, partition: Partition, spool: Spool) -> Iterator[tuple[int, list[Row]]]:
        """The rows of a partition, with their numbers: as many for each as it has captions."""
        job = self.job
        find = _find_address(job.image_folder) if is_address(job.image_folder) else _find(Path(job.image_folder))
        for record in job.manifest.records(partition, job.options):
            where = f"manifest {job.manifest.table}, {job.unit} {record.number}"
            yield record.number, list(rows_of(table_row(record, job.manifest.table, find, spool), where))

    def _results(self, rows: Sequence[Row], attempt: Attempt) -> list[tuple[int, dict[str, Any]]]:
        if attempt.careful:
            return list(self._one_by_one(rows, attempt))
        try:
            return list(row_results(self.localizer, rows, self.job.top_k, self.threads, self.at_once))
        except (GroundingError, UnreachableError):
            raise
        except Exception:  # nothing that we foresaw: of which row?
            return list(self._one_by_one(rows, attempt))

    def _one_by_one(self, rows: Sequence[Row], attempt: Attempt) -> Iterator[tuple[int, dict[str, Any]]]:
        """Rows by themselves. One with an unforeseen error is set aside with it, unless all of several have one.

        After an error of a GPU nothing that it computes is to be trusted: there it ends the run.
        """
        unforeseen = 0
        for index, row in enumerate(rows):
            try:
                if reason := attempt.announce(index):
                    yield index, failed(row, self.localizer, f"image {row.image} {reason}")
                else:
                    yield index, next(row_results(self.localizer, [row], self.job.top_k))[1]
            except (GroundingError, UnreachableError):
                raise
            except Exception as error:
                unforeseen += 1
                if self.localizer.device.type != "cpu" or unforeseen == len(rows) > 1:
                    raise
                reason = " ".join(str(error).split())
                yield index, failed(row, self.localizer, f"image {row.image}: {type(error).__name__}: {reason}")


def _find(folder: Path) -> Callable[[str], Place]:
    find = finder(folder)
    return lambda name: Place(name, name) if is_address(name) else find(name)


def _find_address(folder: str) -> Callable[[str], Place]:
    """What gives the place of a picture by its name below an address."""

    def find(name: str) -> Place:
        place = name if is_address(name) else f"{folder.rstrip('/')}/{name.lstrip('/')}"
        return Place(place, place)

    return find
