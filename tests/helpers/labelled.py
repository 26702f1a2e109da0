"""Tiny labelled data sets, written by a test in their official layouts."""

import io
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from grounding.errors import GroundingError


def picture(width, height, form="JPEG", **options):
    """The bytes of a grey picture file."""
    file = io.BytesIO()
    Image.new("RGB", (width, height), "gray").save(file, form, **options)
    return file.getvalue()


def mask_file(rows, on=255):
    """The bytes of a PNG of rows of `.` and `#`."""
    file = io.BytesIO()
    Image.fromarray(drawn(rows).astype(np.uint8) * np.uint8(on)).save(file, "PNG")
    return file.getvalue()


def drawn(rows):
    """Rows of `.` and `#` as a mask."""
    return np.array([[letter == "#" for letter in row] for row in rows])


def write(folder, files):
    """Write files by path below a folder; what is None is left out."""
    for name, content in files.items():
        if content is not None:
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)
    return folder


def tarred(folder, path, top=""):
    with tarfile.open(path, "w") as archive:
        for file in sorted(Path(folder).rglob("*")):
            if file.is_file():
                archive.add(file, top + file.relative_to(folder).as_posix())
    return path


def zipped(folder, path, top=""):
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(Path(folder).rglob("*")):
            if file.is_file():
                archive.write(file, top + file.relative_to(folder).as_posix())
    return path


def facts(data):
    """Everything that a reader says but for where it lies; masks as rows of text."""
    return [
        (image.id, image.width, image.height, [_region_facts(region) for region in image.regions])
        for image in data.images
    ]


def _region_facts(region):
    mask = None if region.mask is None else ["".join(".#"[int(on)] for on in row) for row in region.mask()]
    assert region.boxes.dtype == np.float64
    return region.name, region.boxes.tolist(), mask


def refused(call, *arguments):
    """The one line with which a call is refused."""
    with pytest.raises(GroundingError) as error:
        call(*arguments)
    message = str(error.value)
    assert "\n" not in message
    return message
