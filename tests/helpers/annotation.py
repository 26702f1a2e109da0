"""An annotation folder with known drafts, made without a model."""

import contextlib
import json
import resource
import signal

from PIL import Image

from grounding.annotation.drafted import DRAFTS, Settings, draft_line, write_settings
from grounding.annotation.records import Drafted

MAN, HAT = ("man", (10.0, 20.0, 60.0, 90.0), 0.75), ("hat", (20.0, 10.0, 50.0, 30.5), 0.5)
PICTURES = (  # the second is the most uncertain one, then the third, then the first
    Drafted(0, "a.jpg", 100, 100, "A man in a hat", 0.25, (MAN, HAT)),
    Drafted(1, "birds/b.png", 120, 80, "", 1.0, ()),
    Drafted(2, "birds/c.jpg", 90, 110, "A hat", 0.5, (HAT,)),
)
LABELS = ("man", "hat")


def annotation_folder(tmp_path, pictures=PICTURES, labels=LABELS):
    """The folder, beside a folder `pictures` of plain pictures."""
    images, folder = tmp_path / "pictures", tmp_path / "annotation"
    folder.mkdir()
    images.mkdir()
    for picture in pictures:
        path = images / picture.name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (picture.width, picture.height), (40, 90, 20 + 50 * picture.id)).save(path)
    write_settings(folder, Settings(str(images), labels, len(pictures)))
    lines = [json.dumps(draft_line(picture)) + "\n" for picture in pictures]
    (folder / DRAFTS).write_text("".join(lines))
    return folder


@contextlib.contextmanager
def full_disk(path, bytes_left):
    """Lets no file grow further than this one and so many bytes, as where the disk is full."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + bytes_left, limits[1]))
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
