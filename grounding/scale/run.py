"""A run over all partitions of a manifest: claimed, continued, checked and summed up."""

import contextlib
import hashlib
import json
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, Final

from tqdm import tqdm

from grounding.errors import GroundingError
from grounding.resumable import difference, lock
from grounding.scale.attempts import FOLDER as ATTEMPTS
from grounding.scale.partitions import Partition
from grounding.scale.parts import FAILED, RESULTS, Tally, part_name, read_tally
from grounding.scale.storage import Storage
from grounding.scale.worker import Job
from grounding.wording import counted

SETTINGS: Final = "settings.json"
SUMMARY: Final = "summary.json"
LINES_FILE: Final = "manifest.parquet"
OURS: Final = (RESULTS, FAILED, ATTEMPTS, SETTINGS, SUMMARY, LINES_FILE)
_FOOTERS_AT_ONCE: Final = 16

# gives each partition when it is done, and how many workers died at it
Engine = Callable[[Job, Sequence[Partition]], Iterator[tuple[Partition, int]]]


def fingerprint(settings: Mapping[str, Any]) -> str:
    """Of the settings of a run."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()


def run_partitions(job: Job, engine: Engine) -> Tally:
    """Do the partitions that are not done yet, and make sure that each row has one result or one reason.

    Args:
        job: whose output is claimed.

    Raises:
        GroundingError: what the engine raises, or a partition is missing at the end.
    """
    output, partitions = job.output, job.manifest.partitions()
    for table in (RESULTS, FAILED, ATTEMPTS):
        output.tidy(table)
    before = _tallies(output, job.run, partitions)
    waiting = [partition for partition, tally in zip(partitions, before, strict=True) if tally is None]
    rows = sum(partition.rows for partition in partitions)
    todo = sum(partition.rows for partition in waiting)
    if waiting:
        output.remove(SUMMARY)
        try:
            with _interruption() as check, tqdm(total=rows, initial=rows - todo, unit=" rows") as bar:
                died = 0
                for partition, deaths in engine(job, waiting):
                    bar.update(partition.rows)
                    if died := died + deaths:
                        bar.set_postfix({"workers that died": died})
                    check()
        except (KeyboardInterrupt, GroundingError):
            _forget_attempts(output)  # the workers were ended by us, and did not die of a row
            raise
    return _checked(job, partitions)


@contextlib.contextmanager
def _interruption() -> Iterator[Callable[[], None]]:
    """Remember Ctrl-C and SIGTERM; gives a function that raises them again.

    One that falls into a callback or a finalizer of a library is dropped by Python, or by the library.
    """
    seen: list[KeyboardInterrupt] = []
    main = threading.current_thread() is threading.main_thread()
    found = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)} if main else {}
    before = {number: handler for number, handler in found.items() if callable(handler)}

    def note(number: int, frame: FrameType | None) -> None:
        try:
            before[signal.Signals(number)](number, frame)
        except KeyboardInterrupt as stop:
            seen.append(stop)
            raise

    def check() -> None:
        if seen:
            raise seen[-1]

    for number in before:
        signal.signal(number, note)
    try:
        yield check
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _tallies(output: Storage, run: str, partitions: Sequence[Partition]) -> list[Tally | None]:
    """What became of each partition, from the footers of its files."""
    names = {table: set(output.names(table)) for table in (RESULTS, FAILED)}

    def tally(partition: Partition) -> Tally | None:
        parts = (part_name(table, partition.number).split("/") for table in names)
        there = all(name in names[table] for table, name in parts)
        return read_tally(output, run, partition) if there else None

    with ThreadPoolExecutor(_FOOTERS_AT_ONCE) as threads:
        return list(threads.map(tally, partitions))


def _checked(job: Job, partitions: Sequence[Partition]) -> Tally:
    output, total = job.output, Tally()
    for partition, tally in zip(partitions, _tallies(output, job.run, partitions), strict=True):
        if tally is None:
            raise GroundingError(
                f"partition {partition.number} of {output} is not there although it was done: does something remove "
                "files? Run the same command again"
            )
        total.add(tally)
    strangers = sum(len(output.names(table)) - len(partitions) for table in (RESULTS, FAILED))
    if strangers:
        raise GroundingError(f"output {output} holds {strangers} other files in {RESULTS} and {FAILED}: remove them")
    _forget_attempts(output)
    said = {"partitions": len(partitions), **total.to_dict(), "run": job.run}
    output.write(SUMMARY, (json.dumps(said, indent=2) + "\n").encode())
    return total


def _forget_attempts(output: Storage) -> None:
    for name in output.names(ATTEMPTS):
        output.remove(f"{ATTEMPTS}/{name}")


@contextlib.contextmanager
def claimed(output: Storage, settings: Mapping[str, Any], overwrite: bool) -> Iterator[None]:
    """Make an output this run's; while the block lasts, a folder is kept from other runs on machines that share it.

    Args:
        overwrite: remove a finished run, or what another run left.

    Raises:
        GroundingError: other things lie there, another run's results, or a run that is still going on.
    """
    if foreign := [name for name in output.names() if name not in OURS]:
        raise GroundingError(f"output {output} holds other things, such as {foreign[0]}: choose another")
    with contextlib.ExitStack() as stack:
        if output.is_local:
            path = Path(output.place(SETTINGS))
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                file = stack.enter_context(path.open("a+b"))
            except OSError as error:
                raise GroundingError(f"output folder {output} cannot be written: {error.strerror}") from error
            lock(file.fileno(), path.parent)
        _claim(output, settings, overwrite)
        yield


def _claim(output: Storage, settings: Mapping[str, Any], overwrite: bool) -> None:
    wanted = json.loads(json.dumps(settings))
    recorded = _settings(output.read(SETTINGS))
    changed = difference(wanted, recorded)
    finished = output.read(SUMMARY) is not None
    if recorded and changed and not overwrite:
        raise GroundingError(
            f"output {output} holds another run, with another {changed}: choose another output or add --overwrite"
        )
    if (recorded and changed) or (finished and overwrite):
        output.remove(SUMMARY)
        for table in (RESULTS, FAILED, ATTEMPTS):
            remove = partial(_remove, output, table)
            with ThreadPoolExecutor(_FOOTERS_AT_ONCE) as threads:
                list(threads.map(remove, output.names(table)))
    elif not recorded and (output.names(RESULTS) or output.names(FAILED)) and not overwrite:
        raise GroundingError(f"output {output} holds results without {SETTINGS}: choose another or add --overwrite")
    if changed:
        content = (json.dumps(wanted, indent=2) + "\n").encode()
        if output.is_local:
            Path(output.place(SETTINGS)).write_bytes(content)  # in place: the lock is on this file
        else:
            output.write(SETTINGS, content)


def _remove(output: Storage, table: str, name: str) -> None:
    output.remove(f"{table}/{name}")


def _settings(content: bytes | None) -> dict[str, Any]:
    try:
        recorded = json.loads(content or b"{}")
    except ValueError:  # it ended before it had said what it is
        return {}
    return recorded if isinstance(recorded, dict) else {}


def sentence(total: Tally) -> str:
    """What became of the rows, in a line or two."""
    counts = [(total.rows, "row"), (total.pictures, "picture"), (total.statuses.total(), "phrase")]
    text = ", ".join(counted(count, noun) for count, noun in counts)
    if total.statuses:
        text += ": " + ", ".join(f"{count:,} {status}" for status, count in total.statuses.most_common())
    if total.failed:
        told = f"{total.failed:,} of {counted(total.results + total.failed, 'caption')}"
        text += f"\n{told} failed, each says why in {FAILED}; the first: {total.failure}"
    return text
