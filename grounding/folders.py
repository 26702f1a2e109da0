"""Output folders that are written whole or not at all."""

import contextlib
import itertools
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TextIO

from grounding.errors import GroundingError


@contextlib.contextmanager
def writing(what: str) -> Iterator[None]:
    """Raise a `GroundingError` of one line where the system does not let us write."""
    try:
        yield
    except OSError as error:
        raise GroundingError(f"{what} cannot be written: {error.strerror or error}") from error


def foreign_names(folder: Path, ours: Sequence[str]) -> list[str]:
    """What lies in a folder and has none of these names (`*` stands for anything)."""
    return sorted(path.name for path in folder.iterdir() if not any(path.match(pattern) for pattern in ours))


def check_output(folder: Path, overwrite: bool, ours: Sequence[str], inputs: Iterable[Path] = ()) -> None:
    """Refuse early what could not be written later.

    Args:
        ours: the names of files that may be replaced.
        inputs: files and folders that must not be.

    Raises:
        GroundingError: the folder has content and `overwrite` is False, or content that is not ours to replace; it is
            or holds an input; or its place is not writable.
    """
    with writing(f"output folder {folder}"):
        if folder.exists() and not folder.is_dir():
            raise GroundingError(f"output {folder} is a file: expected a folder to write to")
        for path in inputs:
            if path.resolve().is_relative_to(folder.resolve()):
                raise GroundingError(f"output folder {folder} holds the input {path}: choose another")
        if folder.is_dir() and (foreign := foreign_names(folder, ours)):
            raise GroundingError(f"output folder {folder} holds other things, such as {foreign[0]}: choose another")
        if folder.is_dir() and any(folder.iterdir()) and not overwrite:
            raise GroundingError(f"output folder {folder} has results already: choose another or add --overwrite")
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder.parent):
            pass


@contextlib.contextmanager
def whole_folder(folder: Path, overwrite: bool, ours: Sequence[str]) -> Iterator[Path]:
    """A temporary folder beside `folder` that takes its name when the block ends well, and vanishes when it does not.

    Raises:
        GroundingError: as `check_output` and `writing`.
    """
    folder = folder.resolve()
    check_output(folder, overwrite, ours)
    partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        with writing(f"output folder {folder}"):
            partial.chmod(0o755)
            yield partial
            check_output(folder, overwrite, ours)  # another run may have ended there meanwhile
            move_into_place(partial, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def move_into_place(partial: Path, folder: Path) -> None:
    """Give a finished folder its name; what had the name before is removed only afterwards."""
    if not folder.exists():
        partial.rename(folder)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{folder.name}-old-", dir=folder.parent))
    folder.rename(old / folder.name)
    try:
        partial.rename(folder)
    except BaseException:  # Ctrl-C too
        (old / folder.name).rename(folder)
        old.rmdir()
        raise
    shutil.rmtree(old)


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[TextIO]:
    """A temporary file beside `path` that takes its name when the block ends well, and vanishes when it does not."""
    with writing(str(path)):
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                yield file
            Path(name).chmod(0o644)
            Path(name).replace(path)
        finally:
            Path(name).unlink(missing_ok=True)


def unused_folder(folder: Path) -> Path:
    """`folder`, or `folder-2`, `folder-3`, ... : the first that does not exist."""
    numbered = (folder.with_name(f"{folder.name}-{number}") for number in itertools.count(2))
    return next(path for path in itertools.chain([folder], numbered) if not path.exists())


def comparison_folder(a: Path, b: Path, overwrite: bool) -> Path:
    """A-vs-B beside b, with a number where that exists and is not to be overwritten."""
    folder = b.resolve().parent / "-vs-".join(path.resolve().name for path in (a, b))
    return folder if overwrite else unused_folder(folder)
