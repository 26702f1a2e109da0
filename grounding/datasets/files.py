"""Named files in a folder, a zip or uncompressed tars, read in place."""

import io
import tarfile
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from grounding.errors import GroundingError

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
        self._places: dict[str, Path | tuple[zipfile.ZipFile, str]] = {}
        if path.is_dir():
            for name in also:
                if (path / name).is_file():
                    self._add_zip(path / name)
            self._places |= {file.relative_to(path).as_posix(): file for file in path.rglob("*") if file.is_file()}
        elif path.is_file():
            self._add_zip(path)
        else:
            raise GroundingError(f"{path} does not exist: expected a folder or a zip")

    def _add_zip(self, path: Path) -> None:
        archive = _open_zip(path)
        names = [name for name in archive.namelist() if not name.endswith("/") and not name.startswith("__MACOSX/")]
        tops = {PurePosixPath(name).parts[0] for name in names}
        wrapped = len(tops) == 1 and all("/" in name for name in names) and not tops & {"Sentences", "Annotations"}
        for name in names:
            self._places[name.partition("/")[2] if wrapped else name] = (archive, name)

    def __contains__(self, name: str) -> bool:
        return name in self._places

    def any_below(self, folder: str) -> bool:
        """Whether any file lies in this folder."""
        return any(name.startswith(f"{folder}/") for name in self._places)

    def read(self, name: str) -> bytes:
        """The content of a file.

        Raises:
            GroundingError: it is missing or damaged.
        """
        place = self._places.get(name)
        if place is None:
            raise GroundingError(f"{self.path} has no {name}: is the copy whole?")
        try:
            return place.read_bytes() if isinstance(place, Path) else place[0].read(place[1])
        except _UNREADABLE as error:
            raise GroundingError(f"{self.path}: {name} cannot be read ({error})") from error


def _open_zip(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError) as error:
        raise GroundingError(f"{path} cannot be read as a zip ({error}): is it whole?") from error


class Photographs:
    """Photographs by id, which is a file's name without `.jpg`, in folders, zips and uncompressed (webdataset) tars.

    Attributes:
        paths: the folders, zips and tars.

    Raises:
        GroundingError: a place is missing or unreadable, holds no photograph, or an id lies in two places.
    """

    def __init__(self, paths: Iterable[Path]) -> None:
        self._places: dict[str, tuple[Path, str | tuple[int, int] | None]] = {}
        self._zips: dict[Path, zipfile.ZipFile] = {}
        self.paths = tuple(paths)
        for path in self.paths:
            before = len(self._places)
            if path.is_dir():
                for file in path.rglob("*.jpg"):
                    self._add(file.stem, file, None)
            elif zipfile.is_zipfile(path):
                self._zips[path] = _open_zip(path)
                for name in self._zips[path].namelist():
                    if name.endswith(".jpg") and not name.startswith("__MACOSX/"):
                        self._add(PurePosixPath(name).stem, path, name)
            else:
                self._add_tar(path)
            if len(self._places) == before:
                raise GroundingError(f"{path} holds no photograph: expected <id>.jpg in a folder, a zip or a tar")

    def _add_tar(self, path: Path) -> None:
        if not path.is_file():
            raise GroundingError(f"images {path} do not exist: expected a folder, a zip or a tar of <id>.jpg")
        try:
            with tarfile.open(path, "r:") as tar:
                for member in tar:
                    if member.isfile() and member.name.endswith(".jpg"):
                        self._add(PurePosixPath(member.name).stem, path, (member.offset_data, member.size))
            with path.open("rb") as file:
                file.seek(-len(_TAR_END), io.SEEK_END)
                if file.read() != _TAR_END:
                    raise GroundingError(f"images {path} are cut short: expected a tar that ends with empty blocks")
        except (tarfile.TarError, OSError) as error:
            raise GroundingError(
                f"images {path} cannot be read ({error}): expected a folder, a zip or an uncompressed tar"
            ) from error

    def _add(self, image: str, path: Path, member: str | tuple[int, int] | None) -> None:
        if image in self._places:
            raise GroundingError(f"image {image} is in {self._places[image][0]} and in {path}: expected it once")
        self._places[image] = (path, member)

    def __contains__(self, image: str) -> bool:
        return image in self._places

    def __len__(self) -> int:
        return len(self._places)

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
        path, member = self._places[image]
        try:
            if member is None:
                return path.read_bytes()
            if isinstance(member, str):
                return self._zips[path].read(member)
            with path.open("rb") as file:
                file.seek(member[0])
                return file.read(member[1])
        except _UNREADABLE as error:
            raise GroundingError(f"image {image} in {path} cannot be read ({error})") from error
