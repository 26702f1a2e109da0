"""Pictures with captions, in webdataset shards, tables and folders, read in place."""

import io
import json
import os
import tarfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from PIL import Image

from grounding.datasets.columns import TableOptions
from grounding.datasets.pictures import upright_sides
from grounding.datasets.places import Place, Spool, kind_of
from grounding.datasets.sources import expand
from grounding.datasets.tables import TableRow, is_table, read_table, texts_of
from grounding.errors import GroundingError
from grounding.images import open_picture, upright_rgb

_PICTURES: Final = ("jpg", "jpeg", "png", "webp")
_SIGNATURES: Final = (b"\xff\xd8\xff", b"\x89PNG", b"RIFF", b"GIF8", b"BM", b"II*\0", b"MM\0*")
_DRAFT_PX: Final = 1024
_MOST_PIXELS: Final = 50_000_000
_OPTIONS: Final = TableOptions(phrases_column="")
_HEADER: Final = 1 << 16  # bytes; the size of nearly every picture stands there
_BLOCK: Final = 512  # bytes; the unit of a tar
_NOTES: Final = ("json", "txt", "caption")
_KEYS: Final = ("captions", "caption", "text")  # of a JSON file beside a picture
_EXPECTED: Final = "expected a folder, a .tar or .tar.gz, or a .csv, .tsv, .parquet, .jsonl, .json or .token table"


class _Entry(NamedTuple):
    """A picture with its texts, which may still be blank."""

    id: str
    picture: Place
    texts: list[str]


class CaptionedImages:
    """Pictures with captions. Captions are in memory, pictures are read when asked for.

    A source is

    - a webdataset shard, a `.tar` of `<id>.jpg`, `.jpeg`, `.png` or `.webp` with `<id>.json` (its keys `captions`,
      `caption` or `text`: a text or a list of texts) or, where that says nothing, `<id>.txt` or `<id>.caption` (one
      caption), in any order. One that is compressed (`.tar.gz`, `.tgz`, `.tar.bz2`, `.tar.xz`) is unpacked into a
      temporary folder first and takes its whole size there for as long as this object lives;
    - a folder of such files at any depth;
    - a table, as `tables.read_table` says, with a column of picture files, relative to the table or absolute, and a
      column of captions, a text or a list of texts. Rows of one picture are joined. Pictures that a Parquet table holds
      itself are copied into the temporary folder.

    A name may have `~`, braces and globs: `shards/{0000..0004}.tar`, `data/*.tar`.

    Args:
        sources: as above.
        options: names of a table's columns.

    Attributes:
        ids: the file name without its ending; of a table, the value in its column `id`, or else the picture's file as
            the table has it. Two sources may share ids.
        captions: at least one text for each picture, unchanged, none of them blank.
        skipped: reason -> how many pictures, rows or texts were left out.

    Raises:
        GroundingError: there is no source, or a source is missing, of another kind, without a column of that name, or
            without any captioned picture.
    """

    def __init__(self, sources: Sequence[str | Path], options: TableOptions = _OPTIONS) -> None:
        if not sources:
            raise GroundingError(f"no source of pictures and captions is given: {_EXPECTED}")
        self._spool = Spool()
        skipped: Counter[str] = Counter()
        kept: list[_Entry] = []
        for source in sources:
            before, first = skipped.copy(), len(kept)
            for path in expand(source):
                try:
                    kept += filter(None, (_kept(entry, skipped) for entry in self._entries(path, options, skipped)))
                except OSError as error:
                    raise GroundingError(f"{path} cannot be read: {error.strerror or error}") from error
            if len(kept) == first:
                reasons = ", ".join(f"{reason}: {count}" for reason, count in (skipped - before).items())
                raise GroundingError(f"{source} holds no picture with a caption ({reasons or 'nothing was found'})")
        self.ids = tuple(entry.id for entry in kept)
        self.captions = tuple(tuple(entry.texts) for entry in kept)
        self._places = [entry.picture for entry in kept]
        self.skipped: Mapping[str, int] = dict(skipped)

    def _entries(self, source: Path, options: TableOptions, skipped: Counter[str]) -> Iterator[_Entry]:
        """The pictures of one source."""
        if source.is_dir():
            files = sorted(source.rglob("*"), key=str)
            return _pairs(((file.relative_to(source).as_posix(), Place(str(file))) for file in files), skipped)
        if not source.is_file():
            raise GroundingError(f"{source} does not exist: {_EXPECTED}")
        if kind_of(source) == ".tar":
            return _pairs(_members(source, self._spool.unpacked(source), skipped), skipped)
        if not is_table(source):
            raise GroundingError(f"{source} is of a kind that is not known: {_EXPECTED}")
        return _joined(read_table(source, options, self._spool), skipped)

    def __len__(self) -> int:
        """How many pictures."""
        return len(self.ids)

    def read(self, index: int) -> Image.Image:
        """Read a picture: RGB, upright, transparency over white, the first frame of an animation.

        A JPEG whose sides are both at least 2048 px is decoded at a half, a quarter or an eighth of its size, but with
        no side below 1024 px: that is faster and bounds memory.

        Raises:
            GroundingError: it cannot be read or decoded, or has over 50 million pixels.
        """
        place = self._places[index]
        try:
            with open_picture(io.BytesIO(place.read())) as image:
                image.draft("RGB", (_DRAFT_PX, _DRAFT_PX))
                if image.width * image.height > _MOST_PIXELS:
                    raise ValueError(f"it has {image.width} x {image.height} pixels")
                return Image.fromarray(upright_rgb(image))
        except Exception as error:  # over damaged files Pillow raises nearly anything, down to AssertionError
            raise _unreadable(place, error) from error

    def size_of(self, index: int) -> tuple[int, int]:
        """Width and height in px of a picture's file, upright; mostly only its header is read.

        Raises:
            GroundingError: it cannot be read.
        """
        place = self._places[index]
        for limit in (_HEADER, -1):
            try:
                with open_picture(io.BytesIO(place.read(limit))) as image:
                    return upright_sides(image)
            except Exception as error:  # over damaged files Pillow raises nearly anything
                failed = error
        raise _unreadable(place, failed)


def _unreadable(place: Place, error: Exception) -> GroundingError:
    expected = f"expected a whole picture file of at most {_MOST_PIXELS // 1_000_000} million pixels"
    return GroundingError(f"image {place.name or place.path} cannot be read ({error}): {expected}")


def _kept(entry: _Entry, skipped: Counter[str]) -> _Entry | None:
    """The entry with the captions that are not blank; None without any, or where the picture is missing or none."""
    kept = [text for text in entry.texts if text.strip()]
    reason = "" if entry.texts else "picture without a caption"
    if len(kept) < len(entry.texts):
        skipped["empty caption"] += len(entry.texts) - len(kept)
    if kept:
        try:
            if not entry.picture.read(limit=16).startswith(_SIGNATURES):
                reason = "file that is no picture"
        except (OSError, ValueError):  # ValueError: a NUL in its name
            reason = "picture file missing or unreadable"
    if reason:
        skipped[reason] += 1
    return entry._replace(texts=kept) if kept and not reason else None


def _members(shard: Path, unpacked: Path, skipped: Counter[str]) -> Iterator[tuple[str, Place]]:
    """Names and places of the files in a tar, up to where it is damaged."""
    end, reason = 0, ""
    with unpacked.open("rb") as file:
        length = file.seek(0, os.SEEK_END)
        file.seek(0)
        try:
            with tarfile.open(fileobj=file, mode="r:") as tar:
                for member in tar:
                    size = member.size if member.isfile() else 0
                    if size < 0:  # reading on would never end
                        raise ValueError(f"{member.name} has {size} bytes")
                    end = member.offset_data + -(-size // _BLOCK) * _BLOCK
                    plain = member.isfile() and not member.issparse()  # its bytes lie there as they are
                    if plain and member.offset_data + size <= length:
                        yield member.name, Place(str(unpacked), f"{member.name} in {shard}", member.offset_data, size)
        except (tarfile.TarError, OSError, ValueError) as error:
            reason = str(error)
        file.seek(end)
        if reason and end == 0:
            raise GroundingError(f"{shard} cannot be read ({reason}): expected a tar")
        if file.read(_BLOCK) != bytes(_BLOCK):
            skipped[f"rest of {shard.name}, cut short or damaged"] += 1


def _pairs(files: Iterable[tuple[str, Place]], skipped: Counter[str]) -> Iterator[_Entry]:
    """Pictures joined with the `.json`, `.txt` and `.caption` files of the same name."""
    pictures: dict[str, Place] = {}
    notes: dict[str, dict[str, Place]] = {}
    for name, place in files:
        key, _, ending = name.rpartition(".")
        ending = ending.lower()
        if ending in _NOTES:
            notes.setdefault(key, {})[ending] = place
        elif ending in _PICTURES and key in pictures:
            skipped["second picture of one name"] += 1
        elif ending in _PICTURES:
            pictures[key] = place
    if lonely := len(notes.keys() - pictures.keys()):
        skipped["caption without a picture"] += lonely
    for key, picture in pictures.items():
        try:
            texts = _noted(notes.get(key, {}))
        except (OSError, ValueError, RecursionError):
            skipped["unreadable text"] += 1
        else:
            yield _Entry(key, picture, list(texts))


def _noted(notes: Mapping[str, Place]) -> Sequence[str]:
    """The captions in the files of a picture: of the first that says something."""
    blank: Sequence[str] = ()
    damage: ValueError | RecursionError | None = None
    for ending in _NOTES:
        try:
            texts = _said(ending, notes[ending].read()) if ending in notes else ()
        except (ValueError, RecursionError) as error:  # no JSON, UTF-8 or text; too deep
            damage = damage or error
        else:
            if any(map(str.strip, texts)):
                return texts
            blank = blank or texts
    if damage:
        raise damage
    return blank


def _said(ending: str, content: bytes) -> Sequence[str]:
    """The captions of a file: a text is one, a JSON object has them under the first key that says something."""
    if ending != "json":
        return [content.decode("utf-8-sig").strip()]
    values = json.loads(content)
    keys = [key for key in _KEYS if key in values] if isinstance(values, dict) else []
    each = [texts_of(values[key], "caption") for key in keys]
    return next((texts for texts in each if any(map(str.strip, texts))), max(each, key=len, default=()))


def _joined(rows: Iterable[TableRow], skipped: Counter[str]) -> Iterator[_Entry]:
    """Join the rows of a table that name the same picture."""
    entries: dict[Place, _Entry] = {}
    for row in rows:
        if row.picture is None or row.fault:
            skipped[row.fault] += 1
        else:
            entry = entries.setdefault(row.picture, _Entry(row.id, row.picture, []))
            entry.texts.extend(row.captions)
            if row.id != entry.id and row.id != row.image:  # ids of captions, not of pictures
                entries[row.picture] = entry._replace(id=row.image)
    yield from entries.values()
