"""Manifests of every kind of table. A row that cannot be used is set aside; its error is what a case raises."""

import bz2
import functools
import gzip
import io
import json
import lzma
import os
import random
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
from pyarrow import parquet

from grounding.errors import GroundingError
from grounding.manifest import read_manifest
from helpers.malformed.judge import EITHER, READ, REFUSED, Case, blanked, cut, flipped

CSV = b"image,caption\na.jpg,a man\nb.jpg,a dog\n"
JSONL = b'{"image": "a.jpg", "caption": "a man"}\n{"image": "b.jpg", "caption": "a dog"}\n'
COCO = {"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": [{"image_id": 1, "caption": "a man"}]}


def read(path: Path) -> None:
    for row in read_manifest(path).rows:
        if row.error:
            raise GroundingError(row.error)


def _wrong() -> dict[str, bytes]:
    name = "very long " * 20_000
    return {
        "empty.csv": b"",
        "blank.csv": b"\n\n \n",
        "names-only.csv": b"image,caption\n",
        "other-names.csv": b"a,b\nx,y\n",
        "nul-names.csv": b"image\0,caption\nx,y\n",
        "long-name.csv": f'image,caption,"{name}"\nx,y,z\n'.encode(),
        "long-names.csv": f"{name},b\nx,y\n".encode(),
        "binary.csv": bytes(range(256)) * 40,
        "utf-16-be-unmarked.csv": CSV.decode().encode("utf-16-be"),
        "utf-16-odd.csv": b"\xff\xfe" + CSV.decode().encode("utf-16-le")[:-1],
        "utf-16-half.csv": b"\xff\xfe" + "image,caption\n".encode("utf-16-le") + b"\0\xd8\0\0",
        "open-quote.csv": CSV + b'c.jpg,"a cat\n' * 3,
        "latin-1.csv": b"image,caption\na.jpg,ein M\xe4dchen\n",
        "big-field.csv": b'image,caption\na.jpg,"' + b"x" * 10_000_000 + b'"\n',
        "big-caption.jsonl": b'{"image": "", "caption": "' + b"x" * 5_000_000 + b'"}\n',
        "too-many.csv": CSV + b"c.jpg,a,b,c,d\n",
        "no-picture.csv": CSV + b",a man\n",
        "address.csv": CSV + b"https://example.org/" + b"x" * 1_000_000 + b",a man\n",
        "not-gzip.csv.gz": CSV[:0] + b"\x1f\x8b" + CSV,
        "cut.csv.gz": gzip.compress(CSV)[:-9],
        "cut.csv.bz2": bz2.compress(CSV)[:-9],
        "cut.csv.xz": lzma.compress(CSV)[:-9],
        "bomb.csv.gz": _bomb(),
        "bomb.jsonl.gz": _bomb(),
        "bomb.token.gz": _bomb(),
        "bomb.json.gz": _bomb(),
        "empty.jsonl": b"",
        "text.jsonl": b"not JSON\n",
        "numbers.jsonl": b"1\n2\n",
        "lists.jsonl": b"[]\n[1]\n",
        "deep.jsonl": b"[" * 100_000 + b"\n",
        "deep-value.jsonl": b'{"image": "a.jpg", "caption": ' + b"[" * 100_000 + b"]" * 100_000 + b"}\n",
        "twice.jsonl": b'{"image": "a.jpg", "image": "b.jpg", "caption": "a man"}\n',
        "nan.jsonl": b'{"image": NaN, "caption": "a man"}\n',
        "infinity.jsonl": b'{"image": "a.jpg", "caption": -Infinity}\n',
        "number.jsonl": b'{"image": 5, "caption": "a man"}\n',
        "digits.jsonl": b'{"image": "a.jpg", "caption": ' + b"9" * 5000 + b"}\n",
        "object.jsonl": b'{"image": {"a": 1}, "caption": "a man"}\n',
        "captions-objects.jsonl": b'{"image": "a.jpg", "captions": [{"a": 1}]}\n',
        "phrases.jsonl": json.dumps({"image": "a.jpg", "phrases": ["x " * 100_000, " "]}).encode() + b"\n",
        "half-pair.jsonl": b'{"image": "a.jpg", "caption": "\\ud800"}\n',
        "half-pair-name.jsonl": b'{"image": "\\ud800.jpg", "caption": "a man"}\n',
        "half-pair-key.jsonl": b'{"\\ud800": 1, "caption": "a man"}\n',
        "latin-1.jsonl": b'{"image": "a.jpg", "caption": "M\xe4dchen"}\n',
        "nul.jsonl": b'{"image": "a.jpg", "caption": "\0"}\n',
        "empty.json": b"",
        "cut.json": json.dumps(COCO).encode()[:-20],
        "null.json": b"null",
        "text.json": b'"text"',
        "no-lists.json": b'{"images": 3, "annotations": 4}',
        "ids.json": json.dumps({"images": [{"id": [1]}], "annotations": []}).encode(),
        "annotations-numbers.json": json.dumps(COCO | {"annotations": [1, 2]}).encode(),
        "annotations-null.json": json.dumps(COCO | {"annotations": [None, {"caption": "a"}]}).encode(),
        "annotations-id.json": json.dumps(COCO | {"annotations": [{"image_id": [1], "caption": "a"}]}).encode(),
        "annotations-object.json": json.dumps(COCO | {"annotations": {"caption": 1}}).encode(),
        "no-annotations.json": json.dumps(COCO | {"annotations": []}).encode(),
        "caption-object.json": json.dumps(COCO | {"annotations": [{"image_id": 1, "caption": {"a": 1}}]}).encode(),
        "file-list.json": json.dumps(COCO | {"images": [{"id": 1, "file_name": ["a"]}]}).encode(),
        "deep.json": b'{"a":' * 100_000,
        "list-of-lists.json": b"[[1], [2]]",
        "text.token": b"1.jpg a man\n",
        "text.parquet": b"PAR1 no table PAR1",
        "empty.parquet": b"",
        "unknown.xlsx": b"PK\3\4",
    }


def _bomb() -> bytes:
    """160 MiB of one line."""
    return gzip.compress(b"x" * (1 << 20)) * 160


def _right() -> dict[str, bytes]:
    return {
        "windows.csv": b"\xef\xbb\xbfimage;caption\r\na.jpg;a man\r\n",
        "utf-16.csv": CSV.decode().encode("utf-16"),
        "gzip.csv.gz": gzip.compress(CSV),
        "lines.jsonl": JSONL,
        "lines.json": JSONL,
        "coco.json": json.dumps(COCO).encode(),
        "line-breaks.csv": b'image,caption\na.jpg,"a\nman"\n',
    }


def cases(folder: Path, chance: random.Random) -> Iterator[Case]:
    for expected, group in ((REFUSED, _wrong()), (READ, _right())):
        for name, content in group.items():
            yield _case(folder / name, content, expected)
    whole = _parquet({"image": ["a.jpg", "b.jpg"], "caption": ["a man", "a dog"]})
    for name, content in (("csv", CSV), ("jsonl", JSONL), ("json", json.dumps(COCO).encode()), ("parquet", whole)):
        for damage in (cut, flipped, blanked):
            yield _case(folder / f"{damage.__name__}.{name}", damage(content, chance), EITHER)
    for name, columns in _columns().items():
        yield _case(folder / f"{name}.parquet", _parquet(columns))
    (folder / "folder.csv").mkdir()
    os.mkfifo(folder / "fifo.csv")
    (folder / "loop.csv").symlink_to("loop.csv")
    (folder / "endless.csv").symlink_to("/dev/zero")
    (folder / "endless.parquet").symlink_to("/dev/zero")
    names = (
        "folder.csv",
        "fifo.csv",
        "loop.csv",
        "endless.csv",
        "endless.parquet",
        "missing.csv",
        "nul\0.csv",
        "x" * 9000,
    )
    for name in (*names, "x" * 9000 + ".csv"):
        yield Case(f"manifest {name[:30]!r}", functools.partial(read, folder / name))


def _columns() -> dict[str, dict[str, object]]:
    """Columns of Parquet tables with something wrong."""
    texts = ["a man", None]
    late = pa.array([2**62, 1], pa.timestamp("us"))
    return {
        "null-image": {"image": ["a.jpg", None], "caption": texts},
        "all-null": {"image": pa.nulls(2), "caption": pa.nulls(2)},
        "image-number": {"image": [1, 2], "caption": texts},
        "image-list": {"image": [["a"], ["b"]], "caption": texts},
        "image-bytes": {"image": [b"no picture", b""], "caption": texts},
        "image-struct": {"image": [{"a": 1}, {"a": 2}], "caption": texts},
        "image-date": {"image": late, "caption": texts},
        "caption-date": {"image": ["a.jpg", "b.jpg"], "caption": late},
        "caption-map": {"image": ["a", "b"], "caption": pa.array([[("a", 1)], None], pa.map_(pa.string(), pa.int8()))},
        "caption-binary": {"image": ["a", "b"], "caption": [b"\xff", None]},
        "caption-no-utf-8": {"image": ["a", "b"], "caption": _not_utf8()},
        "image-no-utf-8": {"image": _not_utf8(), "caption": texts},
        "caption-decimal": {"image": ["a", "b"], "caption": pa.array([1, 2], pa.decimal128(38))},
        "caption-duration": {"image": ["a", "b"], "caption": pa.array([2**62, 2], pa.duration("us"))},
        "no-rows": {"image": pa.array([], pa.string()), "caption": pa.array([], pa.string())},
        "no-caption": {"image": ["a", "b"]},
    }


def _not_utf8() -> pa.Array:
    return pa.Array.from_buffers(
        pa.string(), 2, [None, pa.py_buffer(b"\0\0\0\0\2\0\0\0\4\0\0\0"), pa.py_buffer(b"\xff\xfe\xff\xfe")]
    )


def _parquet(columns: dict[str, object]) -> bytes:
    buffer = io.BytesIO()
    parquet.write_table(pa.table(columns), buffer)
    return buffer.getvalue()


def _case(path: Path, content: bytes, expected=REFUSED) -> Case:
    path.write_bytes(content)
    return Case(f"manifest {path.name}", functools.partial(read, path), expected)
