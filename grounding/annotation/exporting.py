"""Boxes go out in the formats of other tools: which boxes, and folders that are written whole or not at all."""

import io
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from grounding.annotation.exported import Exported, Exports
from grounding.annotation.folder import EXPORTS
from grounding.annotation.formats import write_coco, write_csv, write_cvat, write_label_studio
from grounding.annotation.history import History
from grounding.annotation.supervised import write_voc, write_yolo
from grounding.errors import GroundingError, did_you_mean
from grounding.folders import whole_folder, writing

_WRITERS: Final[Mapping[str, tuple[Callable[[Exports, Path], None], tuple[str, ...]]]] = {
    "coco": (write_coco, ("annotations",)),
    "voc": (write_voc, ("Annotations", "ImageSets")),
    "yolo": (write_yolo, ("labels", "data.yaml")),
    "label-studio": (write_label_studio, ("tasks.json", "config.xml")),
    "cvat": (write_cvat, ("annotations.xml",)),
    "csv": (write_csv, ("labels.csv",)),
}


def exports_of(history: History, drafts: bool) -> Exports:
    """What goes out.

    Args:
        drafts: all boxes that are not rejected, of all pictures that are not skipped; otherwise the accepted ones of
            pictures that are done.
    """
    found = []
    for id_, picture in history.pictures.items():
        annotated = history.now(id_)
        if annotated.state == "done" or (drafts and annotated.state == "open"):
            boxes = tuple(box for box in annotated.boxes if box.state == "accepted" or (drafts and box.state == "open"))
            found.append(Exported(picture, boxes, annotated.state == "done"))
    return Exports(tuple(history.labels), tuple(found))


def write_exports(
    folder: Path, history: History, formats: Sequence[str], drafts: bool
) -> Iterator[tuple[str, Exports, Path]]:
    """Write `exports/FORMAT` of an annotation folder for each format, in place of an earlier one.

    Yields:
        The format, what went out, and the folder.

    Raises:
        GroundingError: an unknown format, pictures that have no place in it, or the disk is full.
    """
    exports = exports_of(history, drafts)
    for name in dict.fromkeys(formats):
        write, ours = _writer(name)
        place = folder / EXPORTS / name
        with whole_folder(place, overwrite=True, ours=ours) as partial:
            write(exports, partial)
        yield name, exports, place


def _writer(name: str) -> tuple[Callable[[Exports, Path], None], tuple[str, ...]]:
    if name not in _WRITERS:
        advice = did_you_mean(name, _WRITERS, f"expected one of {', '.join(_WRITERS)}")
        raise GroundingError(f"there is no export {name[:40]!r}: {advice}")
    return _WRITERS[name]


def zipped(exports: Exports, name: str, folder: Path) -> bytes:
    """An export as a zip.

    Args:
        folder: where it may be written for a moment.

    Raises:
        GroundingError: as `write_exports`.
    """
    write, _ = _writer(name)
    content = io.BytesIO()
    with (
        writing(str(folder)),
        tempfile.TemporaryDirectory(prefix=".export-", dir=folder) as partial,
        zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive,
    ):
        root = Path(partial)
        write(exports, root)
        for path in sorted(root.rglob("*")):
            if path.is_file():
                archive.write(path, path.relative_to(root).as_posix())
    return content.getvalue()
