"""Named files in a folder, a zip or uncompressed tars, read in place."""

import io
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path, PurePosixPath

from grounding.errors import GroundingError
from grounding.images import RgbImage, read_image

Read = Callable[[], bytes]  # gives the content of one file
_UNREADABLE = (OSError, zipfile.BadZipFile, zlib.error, RuntimeError)  # RuntimeError: encrypted, or an unknown method
_TAR_END = bytes(512)


class Files:
    """What a folder or a zip holds, by path below its root (or below the single folder that a zip wraps it in).

    Args:
        also: zips inside the folder whose content counts as lying in it.

    Raises:
        GroundingError: no such folder, or no zip.
    """

    def __init__(self, path: Path, also: tuple[str, ...] = ()) -> None:
        self.path = path
        self._files: dict[str, Read] = {}
        if path.is_dir():
            for name in also:
                if (path / name).is_file():
                    self._add_zip(path / name)
            below = (file for file in path.rglob("*") if file.is_file())
            self._files |= {file.relative_to(path).as_posix(): file.read_bytes for file in below}
        elif path.is_file():
            self._add_zip(path)
        else:
            raise GroundingError(f"{path} does not exist: expected a folder or a zip")

    def _add_zip(self, path: Path) -> None:
        files = _zip_files(path)
        tops = {PurePosixPath(name).parts[0] for name, _ in files}
        wrapped = len(tops) == 1 and all("/" in name for name, _ in files) and not tops & {"Sentences", "Annotations"}
        self._files |= {name.partition("/")[2] if wrapped else name: read for name, read in files}

    def __contains__(self, name: str) -> bool:
        return name in self._files

    def any_below(self, folder: str) -> bool:
        """Whether any file lies in this folder."""
        return any(name.startswith(f"{folder}/") for name in self._files)

    def read(self, name: str) -> bytes:
        """The content of a file.

        Raises:
            GroundingError: it is missing or damaged.
        """
        if name not in self._files:
            raise GroundingError(f"{self.path} has no {name}: is the copy whole?")
        try:
            return self._files[name]()
        except _UNREADABLE as error:
            raise GroundingError(f"{self.path}: {name} cannot be read ({error})") from error


def _zip_files(path: Path) -> list[tuple[str, Read]]:
    """What a zip holds by name, without folders and what macOS adds."""
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError) as error:
        raise GroundingError(f"{path} cannot be read as a zip ({error}): is it whole?") from error
    names = (name for name in archive.namelist() if not name.endswith("/") and not name.startswith("__MACOSX/"))
    return [(name, partial(archive.read, name)) for name in names]


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
        return image in self._files

    def __len__(self) -> int:
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
        files = _zip_files(path) if zipfile.is_zipfile(path) else _tar_files(path)
        yield from ((name, path, read) for name, read in files if name.endswith(".jpg"))


def _tar_files(path: Path) -> list[tuple[str, Read]]:
    if not path.is_file():
        raise GroundingError(f"images {path} do not exist: expected a folder, a zip or a tar of <id>.jpg")
    try:
        with tarfile.open(path, "r:") as tar:
            members = [member for member in tar if member.isfile()]
        if _read_span(path, path.stat().st_size - len(_TAR_END), -1) != _TAR_END:
            raise GroundingError(f"images {path} are cut short: expected a tar that ends with empty blocks")
    except (tarfile.TarError, OSError) as error:
        raise GroundingError(
            f"images {path} cannot be read ({error}): expected a folder, a zip or an uncompressed tar"
        ) from error
    return [(member.name, partial(_read_span, path, member.offset_data, member.size)) for member in members]
