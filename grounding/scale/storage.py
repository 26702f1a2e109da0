"""Where the results of a run are kept: a folder, or what lies below an address. Files appear whole or not at all."""

import contextlib
import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from grounding.addresses import UnreachableError, filesystem, is_address, reaching
from grounding.errors import GroundingError

_UNFINISHED: Final = ".unfinished-"  # starts the names of files that are being written


@dataclass(frozen=True, slots=True)
class Storage:
    """Named files below a root.

    Attributes:
        root: a folder, or an address such as `s3://bucket/results`, that means the same to each worker.
    """

    root: str

    @property
    def is_local(self) -> bool:
        """Whether it is a folder of this machine's file system, which may be a shared one."""
        return not is_address(self.root)

    def __str__(self) -> str:
        """The path or address."""
        return self.root

    def place(self, name: str) -> str:
        """The path or address of a file."""
        return f"{self.root.rstrip('/')}/{name}"

    def read(self, name: str) -> bytes | None:
        """The content of a file, or None where there is none."""
        with self._telling():
            try:
                if self.is_local:
                    return Path(self.place(name)).read_bytes()
                files, path = filesystem(self.place(name))
                return bytes(files.cat_file(path))
            except FileNotFoundError:
                return None

    def open(self, name: str) -> Any:
        """A file open for reading, of which only what is read is fetched, or None where there is none."""
        with self._telling():
            try:
                if self.is_local:
                    return Path(self.place(name)).open("rb")
                files, path = filesystem(self.place(name))
                return files.open(path, "rb", cache_type="none")
            except FileNotFoundError:
                return None

    def write(self, name: str, content: bytes) -> None:
        """Write a whole file, in place of what has its name: it is renamed, or one PUT, once all of it is there.

        Raises:
            GroundingError: no room, no permission, or no way to the storage.
        """
        with self._telling():
            if not self.is_local:
                files, path = filesystem(self.place(name))
                files.pipe_file(path, content)
                return
            file = Path(self.place(name))
            file.parent.mkdir(parents=True, exist_ok=True)
            unfinished = file.with_name(f"{_UNFINISHED}{uuid.uuid4().hex}")
            try:
                with unfinished.open("wb") as handle:
                    handle.write(content)
                    handle.flush()
                    os.fsync(handle.fileno())  # before it has its name: a power cut leaves no empty file
                unfinished.replace(file)
            finally:
                unfinished.unlink(missing_ok=True)

    def names(self, folder: str = "") -> list[str]:
        """The names of what lies in a folder, sorted; nothing where there is no folder."""
        place = self.place(folder).rstrip("/")
        with self._telling():
            try:
                if self.is_local:
                    return sorted(path.name for path in Path(place).iterdir())
                files, path = filesystem(place)
                files.invalidate_cache()
                found = [str(each).rstrip("/").rpartition("/")[2] for each in files.ls(path, detail=False)]
                return sorted(name for name in found if name and name != path.rpartition("/")[2])
            except FileNotFoundError:
                return []

    def remove(self, name: str) -> None:
        """Remove a file, if there is one."""
        with self._telling(), contextlib.suppress(FileNotFoundError):
            if self.is_local:
                Path(self.place(name)).unlink()
            else:
                files, path = filesystem(self.place(name))
                files.rm_file(path)

    def tidy(self, folder: str) -> None:
        """Remove what killed workers left half written."""
        for name in self.names(folder):
            if name.startswith(_UNFINISHED):
                self.remove(f"{folder}/{name}")

    @contextlib.contextmanager
    def _telling(self) -> Iterator[None]:
        try:
            with contextlib.nullcontext() if self.is_local else reaching(self.root):
                yield
        except UnreachableError as error:
            raise GroundingError(str(error)) from error
        except OSError as error:
            reason = error.strerror or error
            raise GroundingError(f"output {self.root} cannot be read or written: {reason}") from error
