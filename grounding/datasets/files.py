"""Named files in a folder, a zip or uncompressed tars, read in place."""

import io
import lzma
import os
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from grounding.errors import GroundingError
from grounding.images import RgbImage, read_image

Read = Callable[[], bytes]  # gives the content of one file
# RuntimeError: encrypted, or an unknown method or version; the last four: damaged.
_UNREADABLE = (
    OSError,
    zipfile.BadZipFile,
    zlib.error,
    RuntimeError,
    EOFError,
    ValueError,
    lzma.LZMAError,
    struct.error,
)
_MOST_BYTES = 1 << 30  # that a file of a zip may unpack to
_SMALL_BYTES, _MOST_DENSE = 1 << 24, 200  # a larger one does not unpack to so many times its size, or it is a trap
_TAR_END = bytes(512)


class Files:
    """What a folder, a zip or an uncompressed tar holds, by path below its root.

    Of a zip or tar that wraps everything in a single folder, by path below that folder. A folder is looked into when it
    is asked, never walked as a whole beforehand.

    Args:
        also: zips inside the folder whose content counts as lying in it.
        parts: folders of the data set itself, which are never taken for the one that wraps it.

    Raises:
        GroundingError: no such folder, or no zip or tar.
    """

    def __init__(
        self, path: Path, also: tuple[str, ...] = (), parts: tuple[str, ...] = ("Sentences", "Annotations")
    ) -> None:
        self.path, self._parts = path, set(parts)
        self._folder = path if path.is_dir() else None
        self._packed: dict[str, Read] = {}
        if self._folder:
            for name in also:
                if (path / name).is_file():
                    self._add(_zip_files(path / name))
        elif path.is_file():
            tar = tarfile.is_tarfile(path)  # asked first: a tar may end with a zip
            self._add(_tar_files(path, f"the files in {path}") if tar else _zip_files(path))
        else:
            raise GroundingError(f"{path} does not exist: expected a folder or a zip, or an uncompressed tar")

    def _add(self, files: list[tuple[str, Read]]) -> None:
        files = [(name, read) for name, read in files if PurePosixPath(name).parts]  # "." is no name
        tops = {PurePosixPath(name).parts[0] for name, _ in files}
        wrapped = len(tops) == 1 and all("/" in name for name, _ in files) and not tops & self._parts
        self._packed |= {name.partition("/")[2] if wrapped else name: read for name, read in files}

    def __contains__(self, name: str) -> bool:
        """Whether there is a file of this name, in the folder or packed."""
        return self._find(name) is not None

    def _find(self, name: str) -> Read | None:
        """What gives the content of a file: one that lies in the folder goes before one that is packed."""
        file = self._on_disk(name)
        return file.read_bytes if file and _is_file(file) else self._packed.get(name)

    def _on_disk(self, name: str) -> Path | None:
        """The path of a name, which need not exist; None where nothing is a folder, or the name leads out of it."""
        inside = not name.startswith("/") and ".." not in PurePosixPath(name).parts
        return self._folder / name if self._folder and inside else None

    def below(self, folder: str) -> Iterator[str]:
        """The paths of all files below a folder (empty: the root), at any depth, in no order."""
        if (place := self._on_disk(folder)) and self._folder:
            for at, _, names in os.walk(place):
                start = Path(at).relative_to(self._folder)
                yield from ((start / name).as_posix() for name in names)
        yield from (name for name in self._packed if not folder or name.startswith(f"{folder}/"))

    def any_below(self, folder: str) -> bool:
        """Whether any file lies in this folder."""
        return any(True for _ in self.below(folder))

    def at(self, name: str) -> Path:
        """Where a file or a folder lies on the disk: the archive, where there is one."""
        return self._on_disk(name) or self.path

    def read(self, name: str) -> bytes:
        """The content of a file.

        Raises:
            GroundingError: it is missing or damaged.
        """
        read = self._find(name)
        if read is None:
            raise GroundingError(f"{self.path} has no {name}: is the copy whole?")
        try:
            return read()
        except _UNREADABLE as error:
            raise GroundingError(f"{self.path}: {name} cannot be read ({error})") from error

    def open(self, name: str) -> BinaryIO:
        """A file opened for reading: of one in a folder, only what is read is fetched.

        Raises:
            GroundingError: as `read`.
        """
        file = self._on_disk(name)
        if file is None or not _is_file(file):
            return io.BytesIO(self.read(name))
        try:
            return file.open("rb")
        except OSError as error:
            raise GroundingError(f"{self.path}: {name} cannot be read ({error})") from error


def _is_file(path: Path) -> bool:
    """Whether there is a file, also one that may not be read."""
    try:
        return path.is_file()
    except OSError:
        return True


def _zip_files(path: Path) -> list[tuple[str, Read]]:
    """What a zip holds by name, without folders and what macOS adds."""
    try:
        archive = zipfile.ZipFile(path)
    except _UNREADABLE as error:
        raise GroundingError(f"{path} cannot be read as a zip or a tar ({error}): is it whole?") from error
    names = (name for name in archive.namelist() if not name.endswith("/") and not name.startswith("__MACOSX/"))
    return [(name, partial(_unzipped, archive, name)) for name in names]


def _unzipped(archive: zipfile.ZipFile, name: str) -> bytes:
    """The content of a file, of which a zip gives no more bytes than it says."""
    info = archive.getinfo(name)
    dense = info.file_size > _SMALL_BYTES and info.file_size > _MOST_DENSE * info.compress_size
    if dense or info.file_size > _MOST_BYTES:
        raise ValueError(f"it unpacks to {info.file_size:,} bytes, from {info.compress_size:,}")
    return archive.read(name)


def _read_span(path: Path, offset: int, size: int) -> bytes:
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(size)


class Photographs:
    """Photographs by id, which is a file's name without `.jpg`, in folders, zips and uncompressed (webdataset) tars.

    Attributes:
        paths: the folders, zips and tars.

    Raises:
        GroundingError: a place is missing or unreadable, holds no photograph, or an id lies in two places.
    """

    def __init__(self, paths: Iterable[Path]) -> None:
        self._files: dict[str, tuple[Path, Read]] = {}
        self.paths = tuple(paths)
        for path in self.paths:
            before = len(self)
            for name, place, read in _photographs(path):
                image = PurePosixPath(name).stem
                if image in self:
                    first = self._files[image][0]
                    raise GroundingError(f"image {image} is in {first} and in {place}: expected it once")
                self._files[image] = place, read
            if len(self) == before:
                raise GroundingError(f"{path} holds no photograph: expected <id>.jpg in a folder, a zip or a tar")

    def __contains__(self, image: str) -> bool:
        """Whether the photograph with this id is there."""
        return image in self._files

    def __len__(self) -> int:
        """How many photographs."""
        return len(self._files)

    def picture(self, image: str) -> RgbImage:
        """The photograph, (H, W, 3) uint8 RGB.

        Raises:
            GroundingError: it cannot be read, or is no picture.
        """
        return read_image(io.BytesIO(self.read(image)), f"{image}.jpg")

    def get(self, image: str) -> bytes | None:
        """The bytes of the photograph's file, or None where there is none that can be read."""
        try:
            return self.read(image) if image in self else None
        except GroundingError:
            return None

    def read(self, image: str) -> bytes:
        """The bytes of the photograph's file.

        Raises:
            GroundingError: they cannot be read.
        """
        path, read = self._files[image]
        try:
            return read()
        except _UNREADABLE as error:
            raise GroundingError(f"image {image} in {path} cannot be read ({error})") from error


def _photographs(path: Path) -> Iterator[tuple[str, Path, Read]]:
    """Name, place and content of each `.jpg` file of a folder, a zip or a tar."""
    if path.is_dir():
        yield from ((file.name, file, file.read_bytes) for file in path.rglob("*.jpg"))
    else:
        files = _zip_files(path) if zipfile.is_zipfile(path) else _tar_files(path, f"images {path}")
        yield from ((name, path, read) for name, read in files if name.endswith(".jpg"))


def members_of(tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """The plain files of a tar, whose bytes lie in it as they are: no links, devices or sparse files.

    Raises:
        tarfile.ReadError: a member ends before it starts, so that reading on would never end.
    """
    for member in tar:
        if member.size < 0:
            raise tarfile.ReadError(f"{member.name} has {member.size} bytes")
        if member.isfile() and not member.issparse():
            yield member


def _tar_files(path: Path, called: str) -> list[tuple[str, Read]]:
    if not path.is_file():
        raise GroundingError(f"{called} do not exist: expected a folder, a zip or a tar of <id>.jpg")
    try:
        with tarfile.open(path, "r:") as tar:
            members = list(members_of(tar))
        if _read_span(path, path.stat().st_size - len(_TAR_END), -1) != _TAR_END:
            raise GroundingError(f"{called} are cut short: expected a tar that ends with empty blocks")
    except (tarfile.TarError, OSError, ValueError) as error:
        raise GroundingError(
            f"{called} cannot be read ({error}): expected a folder, a zip or an uncompressed tar"
        ) from error
    return [
        (member.name.removeprefix("./"), partial(_read_span, path, member.offset_data, member.size))
        for member in members
    ]
