"""A file of result lines that an interrupted run can go on with."""

import contextlib
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import TextIOWrapper
from pathlib import Path
from typing import Any, TextIO

from grounding.errors import GroundingError
from grounding.folders import LOCALIZED, check_output, foreign_names, move_into_place

_LINES, _SETTINGS = "results.jsonl", "settings.json"


@dataclass(frozen=True, slots=True)
class ResumableLines:
    """An open file of result lines.

    Attributes:
        folder: where the run is until it is finished.
        done: the whole lines that an interrupted run left.
    """

    folder: Path
    done: list[str]
    _file: TextIOWrapper

    def write(self, line: str) -> None:
        """Append one line at once.

        Raises:
            GroundingError: the disk is full.
        """
        try:
            self._file.write(line + "\n")
            self._file.flush()
        except OSError as error:
            raise GroundingError(f"{self.folder} cannot be written: {error.strerror}") from error

    def read(self) -> list[str]:
        """Every line so far."""
        return (self.folder / _LINES).read_text(encoding="utf-8").splitlines()


@contextlib.contextmanager
def resumable_lines(
    folder: Path,
    settings: Mapping[str, Any],
    overwrite: bool,
    ours: Sequence[str] = LOCALIZED,
    inputs: Iterable[Path] = (),
    keep: bool = True,
) -> Iterator[ResumableLines]:
    """Append lines to `FOLDER.partial/results.jsonl`; the folder takes its name when the block ends well.

    Args:
        settings: plain values that name the run. A partial folder with equal ones is continued, another is refused.
        overwrite: replace results in `folder` and a partial folder of another run.
        ours, inputs: as `check_output`.
        keep: whether the lines stay in the finished folder.

    Raises:
        GroundingError: as `check_output`; a partial folder that is another run's, or being written; a full disk.
    """
    folder = folder.resolve()
    check_output(folder, overwrite, ours, inputs)
    partial = folder.with_name(folder.name + ".partial")
    try:
        if partial.exists() and (not partial.is_dir() or foreign_names(partial, ours)):
            raise GroundingError(f"{partial} is in the way and not ours to remove: choose another output folder")
        partial.mkdir(exist_ok=True)
        with (partial / _SETTINGS).open("a+", encoding="utf-8") as claim:
            _lock(claim.fileno(), partial)  # until the folder has its name
            _claim(partial, claim, settings, overwrite)
            with (partial / _LINES).open("a+", encoding="utf-8", newline="") as file:
                file.seek(0)
                *whole, _ = file.read().split("\n")  # what follows the last line break was cut short
                file.seek(0)
                file.truncate(sum(len(line.encode()) + 1 for line in whole))
                yield ResumableLines(partial, whole, file)
            move_into_place(partial, folder)
            for name in (_SETTINGS,) if keep else (_SETTINGS, _LINES):
                (folder / name).unlink()
    except OSError as error:
        raise GroundingError(f"output folder {folder} cannot be written: {error.strerror}") from error
    except KeyboardInterrupt:
        sys.stderr.write(f"what is finished is in {partial / _LINES}: run the same command again to continue\n")
        raise


def difference(settings: Mapping[str, Any], others: Mapping[str, Any], where: str = "") -> str | None:
    """The first key whose value differs, such as `config.regions.gamma (0.3, was 0.35)`, or None."""
    for key in dict.fromkeys([*settings, *others]):
        one, other = settings.get(key), others.get(key)
        if isinstance(one, Mapping) and isinstance(other, Mapping):
            if inner := difference(one, other, f"{where}{key}."):
                return inner
        elif one != other:
            return f"{where}{key} ({one}, was {other})"
    return None


def _claim(partial: Path, claim: TextIO, settings: Mapping[str, Any], overwrite: bool) -> None:
    """Make the partial folder this run's."""
    wanted = json.loads(json.dumps(settings))
    claim.seek(0)
    try:
        found = json.loads(claim.read())
    except ValueError:  # new, or ended before it had said what it is
        found = {}
    changed = difference(wanted, found if isinstance(found, dict) else {})
    if not changed:
        return
    lines = partial / _LINES
    if lines.is_file() and lines.stat().st_size and not overwrite:
        raise GroundingError(
            f"{partial} is from another, interrupted run, with another {changed}: "
            "remove it, choose another output or add --overwrite"
        )
    for path in partial.iterdir():
        if path.name != _SETTINGS:
            path.unlink()
    claim.truncate(0)
    claim.write(json.dumps(wanted, indent=2) + "\n")
    claim.flush()


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
