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

from grounding.datasets.tables import TABLES, Row
from grounding.errors import GroundingError
from grounding.images import upright_rgb

_PICTURES: Final = ("jpg", "jpeg", "png", "webp")
_SIGNATURES: Final = (b"\xff\xd8\xff", b"\x89PNG", b"RIFF", b"GIF8", b"BM", b"II*\0", b"MM\0*")
_DRAFT_PX: Final = 1024
_MOST_PIXELS: Final = 50_000_000
_BLOCK: Final = 512  # bytes; the unit of a tar
_EXPECTED: Final = "expected a folder, an uncompressed .tar, or a .csv, .parquet or .jsonl table"


class _Place(NamedTuple):
    """Where the content of a file is: a file on disk, or a member of a tar at an offset."""

    path: str
    member: str = ""
    offset: int = 0
    size: int = -1  # to the end

    def read(self, limit: int = -1) -> bytes:
        """The content, or its first bytes. A handle of its own makes this safe in threads and forked processes."""
        with Path(self.path).open("rb") as file:
            file.seek(self.offset)
            return file.read(self.size if limit < 0 else limit)


class _Entry(NamedTuple):
    """A picture with its texts, which may still be blank."""

    id: str
    picture: _Place
    texts: list[str]


class CaptionedImages:
    """Pictures with captions. Captions are in memory, pictures are read when asked for.

    A source is

    - a webdataset shard, an uncompressed `.tar` of `<id>.jpg`, `.jpeg`, `.png` or `.webp` with `<id>.json`
      (`{"captions": [...]}` or `{"caption": "..."}`) or `<id>.txt` (one caption), in any order;
    - a folder of such files at any depth;
    - a `.csv`, `.parquet` or `.jsonl` table (UTF-8) with a column of picture files, relative to the table or absolute,
      and a column of captions, a text or a list of texts. Rows of one picture are joined.

    Attributes:
        ids: the file name without its ending, or the value in the table. Two sources may share ids.
        captions: at least one text for each picture, unchanged, none of them blank.
        skipped: reason -> how many pictures, rows or texts were left out.

    Raises:
        GroundingError: there is no source, or a source is missing, of another kind, without a column of that name, or
            without any captioned picture.
    """

    def __init__(
        self, sources: Sequence[str | Path], image_column: str = "image", caption_column: str = "caption"
    ) -> None:
        if not sources:
            raise GroundingError(f"no source of pictures and captions is given: {_EXPECTED}")
        columns = image_column, caption_column
        skipped: Counter[str] = Counter()
        kept: list[_Entry] = []
        for source in map(Path, sources):
            before, first = skipped.copy(), len(kept)
            try:
                kept += filter(None, (_kept(entry, skipped) for entry in _entries(source, columns, skipped)))
            except OSError as error:
                raise GroundingError(f"{source} cannot be read: {error.strerror or error}") from error
            if len(kept) == first:
                reasons = ", ".join(f"{reason}: {count}" for reason, count in (skipped - before).items())
                raise GroundingError(f"{source} holds no picture with a caption ({reasons or 'nothing was found'})")
        self.ids = tuple(entry.id for entry in kept)
        self.captions = tuple(tuple(entry.texts) for entry in kept)
        self._places = [entry.picture for entry in kept]
        self.skipped: Mapping[str, int] = dict(skipped)

    def __len__(self) -> int:
        return len(self.ids)

    def read(self, index: int) -> Image.Image:
        """Read a picture: RGB, upright, transparency over white, the first frame of an animation.

        A JPEG whose sides are both at least 2048 px is decoded at a half, a quarter or an eighth of its size, but with
        no side below 1024 px: that is faster and bounds memory.

        Raises:
            GroundingError: it cannot be read or decoded, or has over 50 million pixels.
        """
        place = self._places[index]
        name = f"{place.member} in {place.path}" if place.member else place.path
        try:
            with Image.open(io.BytesIO(place.read())) as image:
                image.draft("RGB", (_DRAFT_PX, _DRAFT_PX))
                if image.width * image.height > _MOST_PIXELS:
                    raise ValueError(f"it has {image.width} x {image.height} pixels")
                return Image.fromarray(upright_rgb(image))
        except Exception as error:  # over damaged files Pillow raises nearly anything, down to AssertionError
            expected = f"expected a whole picture file of at most {_MOST_PIXELS // 1_000_000} million pixels"
            raise GroundingError(f"image {name} cannot be read ({error}): {expected}") from error


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


def _entries(source: Path, columns: tuple[str, str], skipped: Counter[str]) -> Iterator[_Entry]:
    """The pictures of one source."""
    if source.is_dir():
        files = sorted(source.rglob("*"), key=str)
        return _pairs(((file.relative_to(source).as_posix(), _Place(str(file))) for file in files), skipped)
    if not source.is_file():
        raise GroundingError(f"{source} does not exist: {_EXPECTED}")
    kind = source.suffix.lower()
    if kind == ".tar":
        return _pairs(_members(source, skipped), skipped)
    if kind not in TABLES:
        raise GroundingError(f"{source} is of a kind that is not known: {_EXPECTED}")
    return _joined(source.parent, TABLES[kind](source, columns, skipped), skipped)


def _members(shard: Path, skipped: Counter[str]) -> Iterator[tuple[str, _Place]]:
    """Names and places of the files in a tar, up to where it is damaged."""
    end, reason = 0, ""
    with shard.open("rb") as file:
        length = file.seek(0, os.SEEK_END)
        file.seek(0)
        try:
            with tarfile.open(fileobj=file, mode="r:") as tar:
                for member in tar:
                    size = member.size if member.isfile() else 0
                    end = member.offset_data + -(-size // _BLOCK) * _BLOCK
                    if member.isfile() and member.offset_data + size <= length:
                        yield member.name, _Place(str(shard), member.name, member.offset_data, size)
        except (tarfile.TarError, OSError, ValueError) as error:
            reason = str(error)
        file.seek(end)
        if reason and end == 0:
            raise GroundingError(f"{shard} cannot be read ({reason}): expected an uncompressed tar")
        if file.read(_BLOCK) != bytes(_BLOCK):
            skipped[f"rest of {shard.name}, cut short or damaged"] += 1


def _pairs(files: Iterable[tuple[str, _Place]], skipped: Counter[str]) -> Iterator[_Entry]:
    """Pictures joined with the `.json` and `.txt` files of the same name."""
    pictures: dict[str, _Place] = {}
    notes: dict[str, dict[str, _Place]] = {}
    for name, place in files:
        key, _, ending = name.rpartition(".")
        ending = ending.lower()
        if ending in ("json", "txt"):
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
        except (OSError, ValueError, RecursionError):  # ValueError: no JSON, UTF-8 or text; RecursionError: too deep
            skipped["unreadable text"] += 1
        else:
            yield _Entry(key, picture, texts)


def _noted(notes: Mapping[str, _Place]) -> list[str]:
    """The captions in the files of a picture: of its JSON file, or else of its text file."""
    if "json" in notes:
        content = json.loads(notes["json"].read())
        for name in ("captions", "caption"):
            if isinstance(content, dict) and name in content:
                return _texts(content[name])
    if "txt" in notes:
        return _texts(notes["txt"].read().decode("utf-8-sig").strip())
    return []


def _texts(value: object) -> list[str]:
    """A text or a list of texts as a list; None becomes an empty text.

    Raises:
        ValueError: another type, or a text that UTF-8 cannot encode.
    """
    texts = []
    for text in value if isinstance(value, list) else [value]:
        if not isinstance(text, str | None):
            raise ValueError("expected a text")
        texts.append(text or "")
        texts[-1].encode()
    return texts


def _joined(folder: Path, rows: Iterable[Row], skipped: Counter[str]) -> Iterator[_Entry]:
    """Join the rows of a table that name the same picture."""
    entries: dict[str, _Entry] = {}
    for picture, caption in rows:
        try:
            (name,), texts = _texts(picture), _texts(caption)
        except ValueError:
            skipped["unreadable text"] += 1
            continue
        if not name.strip():
            skipped["row without a picture"] += 1
            continue
        path = os.path.normpath(folder / name)
        entries.setdefault(path, _Entry(name, _Place(path), [])).texts.extend(texts)
    yield from entries.values()
