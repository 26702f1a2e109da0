"""Tars: webdataset shards and collections of photographs."""

import functools
import gzip
import random
import tarfile
from collections.abc import Iterator
from pathlib import Path

from grounding.datasets.files import Files, Photographs
from grounding.datasets.webimages import CaptionedImages
from helpers.malformed.judge import EITHER, READ, REFUSED, Case, cut, flipped
from helpers.malformed.pictures import picture

JPEG = picture("JPEG")
CAPTION = b'{"caption": "a man"}'


def member(name: str, content: bytes = b"", **fields: object) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for key, value in fields.items():
        setattr(info, key, value)
    return info, content


def tar(*members: tuple[tarfile.TarInfo, bytes], format_: int = tarfile.GNU_FORMAT) -> bytes:
    """The bytes of a tar, whatever its headers say."""
    content = b"".join(
        info.tobuf(format_, "utf-8", "surrogateescape") + data + bytes(-len(data) % 512) for info, data in members
    )
    return content + bytes(10_240)


def negative(content: bytes, size: int) -> bytes:
    """The first member with another size, which may be below 0, in base 256."""
    header = bytearray(content[:512])
    header[124:136] = (256**12 + size if size < 0 else (128 << 88) + size).to_bytes(12, "big")
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header) + content[512:]


GOOD = (member("1.jpg", JPEG), member("1.json", CAPTION))
SPARSE = {
    "GNU.sparse.major": "1",
    "GNU.sparse.minor": "0",
    "GNU.sparse.name": "2.jpg",
    "GNU.sparse.realsize": str(10**12),
}


def _tars() -> dict[str, tuple[bytes, str]]:
    """The bytes of each, and what becomes of its captioned pictures: one that is good is read beside what is not."""
    link = {"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"}
    hard = {"type": tarfile.LNKTYPE, "linkname": "../../../etc/passwd"}
    return {
        "outside": (tar(*GOOD, member("../../evil.jpg", JPEG), member("../../evil.json", CAPTION)), READ),
        "absolute": (tar(*GOOD, member("/etc/evil.jpg", JPEG), member("/etc/evil.json", CAPTION)), READ),
        "dot": (tar(*GOOD, member(".", b"x"), member("", b"x"), member("./", b"x")), READ),
        "link": (tar(*GOOD, member("2.jpg", **link), member("2.json", CAPTION)), READ),
        "hard-link": (tar(*GOOD, member("2.jpg", **hard), member("2.json", CAPTION)), READ),
        "device": (
            tar(*GOOD, member("2.jpg", type=tarfile.CHRTYPE, devmajor=1, devminor=5), member("2.json", CAPTION)),
            READ,
        ),
        "fifo": (tar(*GOOD, member("2.jpg", type=tarfile.FIFOTYPE), member("2.json", CAPTION)), READ),
        "sparse": (tar(*GOOD, member("2.jpg", JPEG, pax_headers=SPARSE), format_=tarfile.PAX_FORMAT), READ),
        "only-link": (tar(member("2.jpg", **link), member("2.json", CAPTION)), REFUSED),
        "negative": (negative(tar(*GOOD), -512), EITHER),
        "negative-back": (negative(tar(*GOOD), -(2**60)), EITHER),
        "vast": (negative(tar(*GOOD), 2**60), EITHER),
        "cut": (tar(*GOOD)[:1500], EITHER),
        "half-block": (tar(*GOOD)[:700], REFUSED),
        "empty": (bytes(10_240), REFUSED),
        "nothing": (b"", REFUSED),
        "text": (b"no tar at all" * 100, REFUSED),
        "pax-size": (tar(*GOOD, member("2.jpg", JPEG, pax_headers={"size": "-5"}), format_=tarfile.PAX_FORMAT), EITHER),
        "pax-text": (tar(member("1.jpg", JPEG, pax_headers={"mtime": "never", "path": "é" * 9000}), format_=1), EITHER),
        "name-bytes": (tar(*GOOD, member("\udcff\udcfe.jpg", JPEG), member("\udcff\udcfe.json", CAPTION)), READ),
        "json-deep": (tar(member("1.jpg", JPEG), member("1.json", b"[" * 100_000)), REFUSED),
        "json-digits": (tar(member("1.jpg", JPEG), member("1.json", b'{"caption": ' + b"9" * 5000 + b"}")), REFUSED),
        "json-number": (tar(member("1.jpg", JPEG), member("1.json", b'{"caption": 5}')), REFUSED),
        "json-list": (tar(member("1.jpg", JPEG), member("1.json", b"[1]")), REFUSED),
        "txt-latin-1": (tar(member("1.jpg", JPEG), member("1.txt", b"M\xe4dchen")), REFUSED),
        "no-picture": (tar(member("1.jpg", b"text"), member("1.txt", b"a man")), REFUSED),
        "compressed": (gzip.compress(tar(*GOOD)), READ),
        "compressed-cut": (gzip.compress(tar(*GOOD))[:-200], EITHER),
        "gzip-bytes": (b"\x1f\x8b\x08\0" + bytes(range(200)), REFUSED),
    }


def _read(path: Path) -> None:
    images = CaptionedImages([path])
    for index in range(len(images)):
        images.size_of(index)
        images.read(index)


def _photographs(path: Path) -> None:
    photographs = Photographs([path])
    for name in ("1", "2"):
        if name in photographs:
            photographs.picture(name)


def _files(path: Path) -> None:
    files = Files(path)
    for name in list(files.below("")):
        files.read(name)
    assert "../../evil.jpg" not in files or len(files.read("../../evil.jpg")) == len(JPEG), (
        "it is in the archive itself"
    )


def cases(folder: Path, chance: random.Random) -> Iterator[Case]:
    contents = _tars()
    whole = tar(*GOOD)
    contents |= {f"flipped-{n}": (flipped(whole, chance, 8), EITHER) for n in range(4)}
    contents |= {f"cut-{n}": (cut(whole[:3000], chance), EITHER) for n in range(2)}
    for name, (content, expected) in contents.items():
        path = folder / f"{name}.tar"
        path.write_bytes(content)
        yield Case(f"shard {name}", functools.partial(_read, path), expected)
        yield Case(f"photographs {name}", functools.partial(_photographs, path), EITHER)
        yield Case(f"files {name}", functools.partial(_files, path), EITHER)
    for source in (
        "nowhere.tar",
        "{1..99999999}.tar",
        "*.nothing",
        "https://example.org/1.tar",
        "",
        "nul\0.tar",
        "{" * 5000,
    ):
        yield Case(f"shard {source[:30]!r}", functools.partial(_read, Path(source) if "://" not in source else source))
