"""Pictures: what cameras, downloads, full disks and jokers make of them."""

import functools
import io
import os
import random
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from grounding.images import read_image
from helpers.malformed.judge import EITHER, READ, REFUSED, Case, blanked, cut, flipped

FORMATS = ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "PPM")
EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\n(never run) print\n%%EOF\n"


def picture(kind="PNG", mode="RGB", size=(24, 16), **options) -> bytes:
    """A file with a picture of noise."""
    noise = np.random.default_rng(1).integers(0, 256, (size[1], size[0], 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).convert(mode).save(buffer, kind, **options)
    return buffer.getvalue()


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png(width: int, height: int, depth=8, colour=2, rows=b"", extra=b"") -> bytes:
    """A PNG with whatever header; `rows` are what its data unpack to."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + extra + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def _tiff(width: int, height: int) -> bytes:
    """The header of a TIFF without any data."""
    entries = ((256, 4, width), (257, 4, height), (258, 3, 8), (259, 3, 1), (262, 3, 1), (273, 4, 8), (279, 4, 8))
    table = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in entries)
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + table + bytes(4)


def _frames(kind: str, count: int) -> bytes:
    buffer = io.BytesIO()
    frames = [Image.new("RGB", (8, 6), (40 * at, 0, 0)) for at in range(count)]
    frames[0].save(buffer, kind, save_all=True, append_images=frames[1:])
    return buffer.getvalue()


def _exif(content: bytes) -> bytes:
    return picture("JPEG", exif=b"Exif\0\0" + content)


def _wrong() -> dict[str, bytes]:
    """What must be refused."""
    webp = picture("WEBP")
    return {
        "empty": b"",
        "one-byte": b"\xff",
        "text": b"no picture, but a text that is called one\n",
        "html": b"<!DOCTYPE html><html><body>404 Not Found</body></html>",
        "zeros": bytes(5000),
        "pdf": b"%PDF-1.7\n1 0 obj << >> endobj",
        "svg": b'<svg xmlns="http://www.w3.org/2000/svg" width="8" height="8"/>',
        "eps": EPS,
        "0x0.png": png(0, 0),
        "0x9.png": png(0, 9),
        "huge.png": png(2**31 - 1, 2**31 - 1),
        "bomb.png": png(14_000, 13_000, rows=bytes(1 << 20)),
        "no-data.png": png(24, 16),
        "few-rows.png": png(24, 16, rows=bytes(100)),
        "depth.png": png(24, 16, depth=77, rows=bytes(5000)),
        "bomb.gif": b"GIF89a" + struct.pack("<HH", 65535, 65535) + picture("GIF")[10:],
        "bomb.tif": _tiff(200_000, 200_000),
        "0x0.tif": _tiff(0, 0),
        "no-data.tif": _tiff(24, 16),
        "bomb.bmp": picture("BMP")[:18] + struct.pack("<ii", 60_000, 60_000) + picture("BMP")[26:],
        "0x0.bmp": picture("BMP")[:18] + struct.pack("<ii", 0, 0) + picture("BMP")[26:],
        "bomb.ppm": b"P6 100000 100000 255\n" + bytes(100),
        "words.ppm": b"P6 many more 255\n" + bytes(100),
        "vp8.webp": webp[:12] + b"VP8 " + bytes(len(webp) - 16),
        "riff.webp": webp[:12],
        "values.tif": _float_tiff(np.nan),
    }


def _float_tiff(value: float) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.full((4, 4), value, np.float32)).save(buffer, "TIFF")
    return buffer.getvalue()


def _right() -> dict[str, bytes]:
    """What is odd and yet a picture."""
    mpo = io.BytesIO()
    Image.new("RGB", (8, 6)).save(mpo, "MPO", save_all=True, append_images=[Image.new("RGB", (8, 6))])
    return {
        "1x1.png": picture(size=(1, 1)),
        "1x20000.png": picture(size=(1, 20_000)),
        "20000x1.jpg": picture("JPEG", size=(20_000, 1)),
        "cmyk.jpg": picture("JPEG", "CMYK"),
        "16-bit.png": picture(mode="I;16"),
        "1-bit.png": picture(mode="1"),
        "grey-alpha.png": picture(mode="LA"),
        "palette.png": picture(mode="P"),
        "animated.gif": _frames("GIF", 3),
        "animated.png": _frames("PNG", 3),
        "animated.webp": _frames("WEBP", 3),
        "mpo.jpg": mpo.getvalue(),
        "png-called.jpg": picture("PNG"),
        "float.tif": _float_tiff(0.5),
        "exif-broken.jpg": _exif(b"MM\0*\0\0\0\x08\xff\xff" + bytes(30)),
        "exif-cut.jpg": _exif(b"MM\0*"),
        "exif-text.jpg": _exif(b"no exif at all"),
        "exif-orientation-99.jpg": _exif(b"MM\0*\0\0\0\x08\0\1\1\x12\0\3\0\0\0\1\0\x63\0\0\0\0\0\0"),
        "exif-text-orientation.png": picture()[:33] + chunk(b"eXIf", b"II*\0\x08\0\0\0\xff\x7f") + picture()[33:],
        "profile-broken.jpg": picture("JPEG", icc_profile=b"no profile"),
        "comment-bomb.png": png(
            4, 4, colour=0, rows=bytes(20), extra=chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(10_000)))
        ),
    }


def _by_chance() -> dict[str, bytes]:
    """What is read or refused, as it happens."""
    text = b"a\0\0" + zlib.compress(bytes(80_000_000), 9)
    return {
        "palette-too-short.png": png(4, 4, colour=3, rows=bytes([0, 9, 250, 8, 7] * 4), extra=chunk(b"PLTE", bytes(6))),
        "no-palette.png": png(4, 4, colour=3, rows=bytes(20)),
        "text-bomb.png": png(4, 4, colour=0, rows=bytes(20), extra=chunk(b"zTXt", text)),
        "too-many-rows.png": png(4, 4, colour=0, rows=bytes(1 << 24)),
    }


def cases(folder: Path, chance: random.Random) -> Iterator[Case]:
    for expected, group in ((REFUSED, _wrong()), (READ, _right()), (EITHER, _by_chance())):
        for name, content in group.items():
            yield _case(folder / (name if "." in name else f"{name}.jpg"), content, expected)
    for kind in FORMATS:
        whole = picture(kind)
        for damage in (cut, flipped, blanked):
            yield _case(folder / f"{damage.__name__}.{kind.lower()}", damage(whole, chance), EITHER)
        yield _case(folder / f"magic.{kind.lower()}", b"\0\1\2\3" + whole[4:], REFUSED)
    yield from _places(folder)


def _case(path: Path, content: bytes, expected=REFUSED) -> Case:
    path.write_bytes(content)
    return Case(f"picture {path.name}", functools.partial(read_image, path), expected)


def _places(folder: Path) -> Iterator[Case]:
    """What has the name of a picture and is no file, or none that can be read."""
    (folder / "folder.jpg").mkdir()
    os.mkfifo(folder / "fifo.jpg")
    (folder / "unreadable.jpg").write_bytes(picture())
    (folder / "unreadable.jpg").chmod(0)
    (folder / "broken-link.jpg").symlink_to("nowhere.jpg")
    (folder / "loop.jpg").symlink_to("loop.jpg")
    (folder / "endless.jpg").symlink_to("/dev/zero")
    names = ("folder.jpg", "fifo.jpg", "broken-link.jpg", "loop.jpg", "endless.jpg", "missing.jpg")
    for name in (*names, "nul\0.jpg", "long" * 100 + ".jpg", "surrogate\udc80.jpg", "x" * 100_000):
        yield Case(f"picture {name[:40]!r}", functools.partial(read_image, folder / name))
    yield Case("picture unreadable", functools.partial(read_image, folder / "unreadable.jpg"), EITHER)  # root may
    yield Case("picture /dev/null", functools.partial(read_image, "/dev/null"))
