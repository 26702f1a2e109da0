"""A file of result lines that an interrupted run can go on with."""

import contextlib
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from grounding.errors import GroundingError
from grounding.folders import check_output, move_into_place

_LINES, _MARK = "results.jsonl", "settings.sha256"


@contextlib.contextmanager
def resumable_lines(folder: Path, mark: str, overwrite: bool) -> Iterator[tuple[Callable[[str], None], list[str]]]:
    """Append lines to `FOLDER.partial/results.jsonl`; the folder takes its name when the block ends well.

    Args:
        mark: names the run. A partial folder with the same mark is continued, one with another is refused.
        overwrite: replace results in `folder` and a partial folder of another run.

    Yields:
        A function that writes one line at once, and the lines that an interrupted run left.

    Raises:
        GroundingError: as `check_output`; a partial folder that is another run's, or being written; a full disk.
    """
    folder = folder.resolve()
    check_output(folder, overwrite)
    partial = folder.with_name(folder.name + ".partial")
    try:
        _claim(partial, mark, overwrite)
        with (partial / _LINES).open("a+", encoding="utf-8", newline="") as file:
            _lock(file.fileno(), partial)
            file.seek(0)
            *whole, _ = file.read().split("\n")  # what follows the last line break was cut short
            file.seek(0)
            file.truncate(sum(len(line.encode()) + 1 for line in whole))

            def write(line: str) -> None:
                try:
                    file.write(line + "\n")
                    file.flush()
                except OSError as error:
                    raise GroundingError(f"{partial} cannot be written: {error.strerror}") from error

            yield write, whole
        move_into_place(partial, folder)
        (folder / _MARK).unlink()
    except OSError as error:
        raise GroundingError(f"output folder {folder} cannot be written: {error.strerror}") from error
    except KeyboardInterrupt:
        sys.stderr.write(f"finished rows are in {partial / _LINES}: run the same command again to continue\n")
        raise


def _claim(partial: Path, mark: str, overwrite: bool) -> None:
    """Make the partial folder this run's."""
    settings = partial / _MARK
    if partial.exists() and not (settings.is_file() and settings.read_text(encoding="utf-8") == mark):
        if not partial.is_dir() or {path.name for path in partial.iterdir()} - {_LINES, _MARK}:
            raise GroundingError(f"{partial} is in the way and not ours to remove: choose another output folder")
        if not overwrite:
            raise GroundingError(f"{partial} is from another, interrupted run: remove it or add --overwrite")
        shutil.rmtree(partial)
    partial.mkdir(exist_ok=True)
    settings.write_text(mark, encoding="utf-8")


def _lock(descriptor: int, partial: Path) -> None:
    """Keep a second run out, where the system can."""
    try:
        import fcntl
    except ImportError:  # Windows
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise GroundingError(f"{partial} is being written by another run: wait for it or choose another") from error
