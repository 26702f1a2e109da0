"""Where the bytes of a picture lie: in a file, at an offset of one, or in a temporary copy."""

import bz2
import gzip
import hashlib
import lzma
import os
import shutil
import tempfile
import weakref
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, Final, NamedTuple

from grounding.addresses import is_address, read_bytes
from grounding.folders import writing

COMPRESSED: Final = (".gz", ".bz2", ".xz")
DAMAGED: Final = (EOFError, zlib.error, lzma.LZMAError, OSError)  # what reading a compressed file raises
_OPENERS: Final[dict[bytes, Callable[..., IO[Any]]]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\0": lzma.open,
}
_TEMPORARY: Final = "a temporary copy of the pictures (the environment variable TMPDIR names another folder for it)"
_CHUNK: Final = 1 << 20  # bytes


class Place(NamedTuple):
    """Where the content of a picture is: a file, or `size` bytes of one; `name` is what people know it by.

    Equal places hold the same picture. A `path` that is an address, such as `s3://bucket/a.jpg`, is a whole file.
    """

    path: str
    name: str = ""
    offset: int = 0
    size: int = -1  # to the end

    def read(self, limit: int = -1) -> bytes:
        """The content, or its first bytes. A handle of its own makes this safe in threads and forked processes."""
        if is_address(self.path):
            return read_bytes(self.path)
        with Path(self.path).open("rb") as file:
            file.seek(self.offset)
            return file.read(self.size if limit < 0 else limit)


class Spool:
    """A temporary folder for pictures that cannot be read in place: those of compressed tars and of Parquet tables.

    It takes as much disk as they have bytes, each picture once, in the folder that `TMPDIR` names. It vanishes with
    this object, in the process that made it.
    """

    def __init__(self) -> None:
        self._folder = ""
        self._places: dict[bytes, Place] = {}
        self._end = 0

    @property
    def fingerprint(self) -> str:
        """Of the pictures that were put here, and their order."""
        return hashlib.sha256(b"".join(self._places)).hexdigest()

    def put(self, content: bytes, name: str) -> Place:
        """Keep the bytes of a picture; equal ones have one place. A `GroundingError` where there is no room."""
        digest = hashlib.sha256(content).digest()
        if digest not in self._places:
            with writing(_TEMPORARY):
                path = self._made() / "pictures"
                with path.open("ab") as file:
                    file.write(content)
            self._places[digest] = Place(str(path), name, self._end, len(content))
            self._end += len(content)
        return self._places[digest]

    def unpacked(self, archive: Path) -> Path:
        """A compressed file unpacked, as far as it is whole; one that is not compressed is given as it is.

        Raises:
            GroundingError: there is no room for it.
        """
        if (opener := opener_of(archive)) is None:
            return archive
        with writing(_TEMPORARY):
            descriptor, name = tempfile.mkstemp(dir=self._made())
            with opener(archive, "rb") as packed, os.fdopen(descriptor, "wb") as file:
                while block := _whole_block(packed):
                    file.write(block)
        return Path(name)

    def _made(self) -> Path:
        if not self._folder:
            self._folder = tempfile.mkdtemp(prefix="grounding-")
            weakref.finalize(self, _remove, self._folder, os.getpid())
        return Path(self._folder)


def _whole_block(packed: IO[bytes]) -> bytes:
    """The next bytes; none at the end or where the file is damaged: what is missing is missed by who reads the copy."""
    try:
        return packed.read(_CHUNK)
    except DAMAGED:
        return b""


def _remove(folder: str, process: int) -> None:
    if os.getpid() == process:  # a forked process shares the folder
        shutil.rmtree(folder, ignore_errors=True)


def opener_of(path: Path) -> Callable[..., IO[Any]] | None:
    """What opens a compressed file, told from its first bytes; None where it is not compressed."""
    with path.open("rb") as file:
        start = file.read(6)
    return next((opener for magic, opener in _OPENERS.items() if start.startswith(magic)), None)


def kind_of(path: Path) -> str:
    """The ending that says what a file holds, in lower case and without one of compression: `.csv` of `M.CSV.GZ`."""
    name = path.name.lower()
    for ending in COMPRESSED:
        name = name.removesuffix(ending)
    return Path(name).suffix if not name.endswith(".tgz") else ".tar"
