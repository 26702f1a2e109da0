"""A file of result lines that an interrupted run can go on with."""

import contextlib
import itertools
import json
import sys
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import TextIOWrapper
from pathlib import Path
from typing import Any, TextIO

from grounding.errors import GroundingError
from grounding.folders import check_output, foreign_names, move_into_place, writing

_LINES, _SETTINGS, _SORTED, _CHECKS = LINES_FILES = ("results.jsonl", "settings.json", "sorted.jsonl", "checks.txt")


@dataclass(frozen=True, slots=True)
class ResumableLines:
    """An open file of result lines.

    Attributes:
        folder: where the run is until it is finished.
        done: the lines that an interrupted run left, up to the first that is not as it was written.
    """

    folder: Path
    done: list[str]
    _file: TextIOWrapper
    _checks: TextIOWrapper

    def write(self, line: str) -> None:
        """Append one line at once, and then its checksum; a `GroundingError` where the disk is full."""
        with writing(str(self.folder)):
            for file, text in ((self._file, line), (self._checks, _checksum(line.encode()))):
                file.write(text + "\n")
                file.flush()

    def sort(self, order: Sequence[int]) -> Path:
        """Let the lines of the finished folder stand in another order; returns the file of that order for now.

        Args:
            order: the place, from 0, of each line so far.
        """
        sorted_file = self.folder / _SORTED
        with writing(str(self.folder)), (self.folder / _LINES).open("rb") as lines, sorted_file.open("wb") as file:
            starts = [0] * len(order)
            for place in order:
                starts[place] = lines.tell()
                lines.readline()
            for start in starts:
                lines.seek(start)
                file.write(lines.readline())
        return sorted_file

    def read(self) -> list[str]:
        """Every line so far."""
        return (self.folder / _LINES).read_text(encoding="utf-8").splitlines()


@contextlib.contextmanager
def resumable_lines(
    folder: Path,
    settings: Mapping[str, Any],
    overwrite: bool,
    ours: Sequence[str] = (),
    inputs: Iterable[Path] = (),
    keep: bool = True,
) -> Iterator[ResumableLines]:
    """Append lines to `FOLDER.partial/results.jsonl`; the folder takes its name when the block ends well.

    Args:
        settings: plain values that name the run. A partial folder with equal ones is continued, another is refused.
        overwrite: replace results in `folder` and a partial folder of another run.
        ours: as of `check_output`; the lines and the settings are ours anyway.
        inputs: as of `check_output`.
        keep: whether the lines stay in the finished folder.

    Raises:
        GroundingError: as `check_output`; a partial folder that is another run's, or being written; a full disk.
    """
    folder = folder.resolve()
    ours = (*ours, *LINES_FILES)
    check_output(folder, overwrite, ours, inputs)
    partial = folder.with_name(folder.name + ".partial")
    try:
        with writing(f"output folder {folder}"):
            if partial.exists() and (not partial.is_dir() or foreign_names(partial, ours)):
                raise GroundingError(f"{partial} is in the way and not ours to remove: choose another output folder")
            partial.mkdir(exist_ok=True)
            with (partial / _SETTINGS).open("a+", encoding="utf-8") as claim:
                lock(claim.fileno(), partial)  # until the folder has its name
                _claim(partial, claim, settings, overwrite)
                with (
                    (partial / _LINES).open("a+", encoding="utf-8", newline="") as file,
                    (partial / _CHECKS).open("a+", encoding="utf-8", newline="") as checks,
                ):
                    yield ResumableLines(partial, _sound_lines(file, checks), file, checks)
                check_output(folder, overwrite, ours, inputs)  # another run may have ended there meanwhile
                move_into_place(partial, folder)
                if (folder / _SORTED).exists():
                    (folder / _SORTED).replace(folder / _LINES)
                for name in (_SETTINGS, _CHECKS) if keep else (_SETTINGS, _CHECKS, _LINES):
                    (folder / name).unlink()
    except KeyboardInterrupt:
        sys.stderr.write(f"what is finished is in {partial / _LINES}: run the same command again to continue\n")
        raise


def _checksum(line: bytes) -> str:
    return f"{zlib.crc32(line):08x}"


def _sound_lines(file: TextIOWrapper, checks: TextIOWrapper) -> list[str]:
    """The lines up to the first that was cut short, damaged, or has no checksum yet; the rest is cut off."""
    parts = []
    for each in (file, checks):
        each.seek(0)
        parts.append(bytes(each.buffer.read()).split(b"\n")[:-1])
    pairs = itertools.takewhile(lambda pair: _checksum(pair[0]).encode() == pair[1], zip(*parts, strict=False))
    sound = [line for line, _ in pairs]
    file.truncate(sum(len(line) + 1 for line in sound))
    checks.truncate(len(sound) * len(_checksum(b"") + "\n"))
    return [line.decode() for line in sound]


def difference(settings: Mapping[str, Any], others: Mapping[str, Any], where: str = "") -> str | None:
    """The first key whose value differs, such as `config.regions.gamma (0.3, was 0.35)`, or None."""
    for key in dict.fromkeys([*settings, *others]):
        now, before = settings.get(key), others.get(key)
        if isinstance(now, Mapping) and isinstance(before, Mapping):
            if inner := difference(now, before, f"{where}{key}."):
                return inner
        elif now != before:
            return f"{where}{key} ({now}, was {before})"
    return None


def check_finished(folder: Path, settings: Mapping[str, Any], recorded: Mapping[str, Any]) -> None:
    """Make sure that a finished folder is of the run with these settings, and tidy up what a killed run left in it.

    Raises:
        GroundingError: the recorded settings are others.
    """
    if changed := difference(json.loads(json.dumps(settings)), recorded):
        raise GroundingError(
            f"{folder} holds a finished run with another {changed}: choose another output or add --overwrite"
        )
    for name in LINES_FILES:
        (folder / name).unlink(missing_ok=True)


def _claim(partial: Path, claim: TextIO, settings: Mapping[str, Any], overwrite: bool) -> None:
    """Make the partial folder this run's."""
    wanted = json.loads(json.dumps(settings))
    claim.seek(0)
    try:
        claimed = json.loads(claim.read())
    except (ValueError, RecursionError):  # new, or ended before it had said what it is; or damaged
        claimed = None
    if not (changed := difference(wanted, claimed if isinstance(claimed, dict) else {})):
        return
    lines = partial / _LINES
    if lines.is_file() and lines.stat().st_size and not overwrite:
        if not isinstance(claimed, dict):
            raise GroundingError(
                f"{partial / _SETTINGS} is damaged, and nothing else says which run the results beside it are of: "
                "remove the folder, choose another output or add --overwrite"
            )
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


def lock(descriptor: int, partial: Path) -> None:
    """Keep a second run out of a folder as long as a file in it is open, where the system can.

    Raises:
        GroundingError: another run has it open.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise GroundingError(f"{partial} is being written by another run: wait for it or choose another") from error
