"""Human maps: TFRecord, HDF5, arrays, tables of clicks, gaze and boxes."""

import functools
import gzip
import io
import random
import zipfile
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import torch

from grounding.datasets.clickme_unpack import unpack
from grounding.datasets.human_maps import read_human_maps
from grounding.datasets.map_cells import Spread
from helpers.malformed.judge import EITHER, READ, REFUSED, Case, blanked, cut, flipped
from helpers.malformed.pictures import EPS, picture, png
from helpers.tfrecord_files import example, field, framed, varint

GOOD = example(image=picture("JPEG"), heatmap=picture("JPEG"), label=3)


def _records() -> dict[str, bytes]:
    whole = framed(GOOD)
    return {
        "empty": b"",
        "text": b"no records, but a long enough text",
        "cut": whole[:-50],
        "vast": framed(b"")[:0] + _frame(2**63) + b"x" * 50,
        "checksum": whole[:-1] + bytes([whole[-1] ^ 1]),
        "no-example": framed(b"\xff" * 100),
        "deep": framed(functools.reduce(lambda content, _: field(1, content), range(300), b"")),
        "length": framed(b"\x0a" + varint(2**62) + b"x"),
        "name": framed(field(1, field(1, field(1, b"\xff\xfe") + field(2, b"")))),
        "no-image": framed(example(label=1)),
        "image-number": framed(example(image=5, label=1)),
        "label-bytes": framed(example(image=picture("JPEG"), label=b"x")),
        "two-images": framed(example(image=[b"a", b"b"], label=1)),
        "no-picture": framed(example(image=b"\xff\xd8\xff no", label=1)),
        "raw-size": framed(example(image=bytes(100), label=1)),
        "raw-nan": framed(example(image=np.full(256 * 256 * 3, np.nan, "<f4").tobytes(), label=1)),
        "map-size": framed(example(image=picture("JPEG"), heatmap=picture("JPEG", size=(8, 8)), label=1)),
        "map-text": framed(example(image=picture("JPEG"), heatmap=b"no picture", label=1)),
        "map-eps": framed(example(image=picture("JPEG"), heatmap=EPS, label=1)),
        "map-bomb": framed(example(image=picture("JPEG"), heatmap=png(14_000, 13_000), label=1)),
    }


def _frame(length: int) -> bytes:
    """The head of a record of this length, with the right checksum."""
    from helpers.tfrecord_files import masked

    head = length.to_bytes(8, "little")
    return head + masked(head)


def cases(folder: Path, chance: random.Random) -> Iterator[Case]:
    for name, content in _records().items():
        yield _unpacked(folder / f"{name}.tfrecords", content)
    for damage in (cut, flipped, blanked):
        yield _unpacked(folder / f"{damage.__name__}.tfrecords", damage(framed(GOOD), chance), EITHER)
    image, heatmap = torch.zeros(3, 8, 8, dtype=torch.uint8), torch.ones(1, 8, 8, dtype=torch.uint8)
    tensors = {
        "list": [1],
        "none": {"image": None, "heatmap": None, "label": 1},
        "float": {"image": image.float(), "heatmap": heatmap, "label": 1},
        "vast": {
            "image": torch.zeros(1, dtype=torch.uint8).expand(3, 10**5, 10**5),
            "heatmap": torch.zeros(1, dtype=torch.uint8).expand(1, 10**5, 10**5),
            "label": 1,
        },
        "sparse": {"image": image.to_sparse(), "heatmap": heatmap, "label": 1},
        "label": {"image": image, "heatmap": heatmap, "label": "x"},
        "meta": {"image": image.to("meta"), "heatmap": heatmap, "label": 1},
        "no-pixel": {"image": image[:, :0], "heatmap": heatmap[:, :0], "label": 1},
    }
    for name, value in tensors.items():
        buffer = io.BytesIO()
        torch.save(value, buffer)
        yield _unpacked(folder / f"{name}.pth", buffer.getvalue())
    yield _unpacked(folder / "text.pth", b"no tensors")
    yield from _sources(folder, chance)


def _unpacked(path: Path, content: bytes, expected=REFUSED) -> Case:
    path.write_bytes(content)
    output = path.with_name(f"{path.name}-out")
    return Case(f"clickme {path.name}", functools.partial(unpack, [path], output), expected, absent=output)


def read(path: Path) -> None:
    read_human_maps(path, ["a"], lambda id_: (24, 16), Spread())


def _npy(array: object, **how: object) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, **how)
    return buffer.getvalue()


def _header(text: str) -> bytes:
    """A `.npy` with whatever header, and no data."""
    padded = text.encode() + b" " * (-(len(text) + 11) % 64) + b"\n"
    return b"\x93NUMPY\1\0" + len(padded).to_bytes(2, "little") + padded


def _sources(folder: Path, chance: random.Random) -> Iterator[Case]:
    whole = _npy(np.ones((16, 24)))
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("a.npy", whole)
    arrays = {
        "objects": _npy(np.array([{}, 1], object)),
        "text": b"no array",
        "empty": b"",
        "archive": archive.getvalue(),
        "vast": _header("{'descr': '<f8', 'fortran_order': False, 'shape': (1000000, 1000000)}"),
        "vast-bytes": _header("{'descr': '|u1', 'fortran_order': False, 'shape': (100000, 30000)}"),
        "negative": _header("{'descr': '<f8', 'fortran_order': False, 'shape': (-4, 4)}"),
        "deep": _header("(" * 5000),
        "code": _header("{'descr': __import__('os').system('touch evil'), 'fortran_order': False, 'shape': (4, 4)}"),
        "nan": _npy(np.full((16, 24), np.nan)),
        "below-0": _npy(-np.ones((16, 24))),
        "complex": _npy(np.ones((16, 24), complex)),
        "texts": _npy(np.array([["a"] * 24] * 16)),
        "records": _npy(np.zeros((16, 24), "i4,f4")),
        "3-d": _npy(np.ones((2, 16, 24))),
        "zero": _npy(np.zeros((16, 24))),
        "none": _npy(np.zeros((0, 24))),
        "cut": whole[:-100],
        "dates": _npy(np.zeros((16, 24), "M8[s]")),
    }
    for name, content in arrays.items():
        yield _map(folder / f"npy-{name}" / "a.npy", content)
    pictures = {
        "colour": picture(),
        "eps": EPS,
        "text": b"text",
        "bomb": png(14_000, 13_000, colour=0),
        "0x0": png(0, 0),
    }
    for name, content in pictures.items():
        yield _map(folder / f"png-{name}" / "a.png", content)
    yield from _hdf5(folder, chance)
    tables = {
        "empty.csv": b"",
        "blank.csv": b"\n\n",
        "names.csv": b"image_path,clicks,user_id\n",
        "nul.csv": b"image_path\0,clicks\n",
        "bytes.csv": bytes(range(256)),
        "no-user.csv": b"image_path,clicks\na,b\n",
        "latin.csv": b"image_path,clicks,user_id\n\xe4,[],1\n",
        "code.csv": b"image_path,clicks,user_id\na,\"[(__import__('os').system('touch evil'), 1)]\",1\n",
        "deep.csv": b'image_path,clicks,user_id\na,"' + b"[" * 5000 + b'",1\n',
        "field.csv": b"image_path,clicks,user_id\na," + b"1" * 200_000 + b",1\n",
        "digits.csv": b'image_path,clicks,user_id\na,"[(' + b"9" * 5000 + b', 1)]",1\n',
        "quote.csv": b'image_path,clicks,user_id\na,"[(1,1)]\n',
        "gaze-nan.csv": b"1,a,nan,16,1,1,1\n",
        "gaze-digits.csv": b"9" * 5000 + b",a,24,16,1,1,1\n",
        "gaze-cut.csv.gz": gzip.compress(b"1,a,24,16,1,1,1\n")[:-5],
        "gaze-outside.csv": b"1,a,24,16,100,1,1\n",
        "gaze-vast.csv": b"1,a,1e300,1e300,1e299,1e299,1e300\n",
        "boxes-text.jsonl": b"no\n",
        "boxes-deep.jsonl": b"[" * 100_000,
        "boxes-keys.jsonl": b"{}\n",
        "boxes-list.jsonl": b"[1]\n",
        "boxes-nan.jsonl": b'{"id": "a", "boxes": [[0, 0, NaN, 1]], "width": 24, "height": 16}\n',
        "boxes-empty.jsonl": b"",
        "boxes-digits.jsonl": b'{"id": "a", "boxes": [[0, 0, 1, ' + b"9" * 400 + b']], "width": 24, "height": 16}\n',
        "boxes-ragged.jsonl": b'{"id": "a", "boxes": [[0, 0], [1]], "width": 24, "height": 16}\n',
        "raw.npz": b"PK",
        "unknown.xyz": b"x",
        "boxes-cut.jsonl.gz": gzip.compress(b"{}")[:-5],
        "boxes-text-width.jsonl": b'{"id": "a", "boxes": [], "width": {}, "height": 1}\n',
    }
    for name, content in tables.items():
        yield _map(folder / name, content, EITHER if name in ("gaze-vast.csv", "field.csv") else REFUSED)


def _hdf5(folder: Path, chance: random.Random) -> Iterator[Case]:
    def written(make) -> bytes:
        buffer = io.BytesIO()
        with h5py.File(buffer, "w") as file:
            make(file)
        return buffer.getvalue()

    def with_map(data=None, name="clickmaps/a/clickmap", **how: object) -> bytes:
        return written(lambda file: file.create_dataset(name, data=data, **how))

    def link(file) -> None:
        file["clickmaps/a/clickmap"] = h5py.ExternalLink("/etc/passwd", "/x")

    def soft(file) -> None:
        file["clickmaps/a/clickmap"] = h5py.SoftLink("/clickmaps/a/clickmap")

    (folder / "secret.bin").write_bytes(b"\1" * 24 * 16)
    outside = [(str(folder / "secret.bin"), 0, 24 * 16)]
    whole = with_map(np.ones((16, 24), np.float32))
    contents = {
        "empty": b"",
        "text": b"no HDF5",
        "no-group": written(lambda file: None),
        "group": written(lambda file: file.create_group("clickmaps/a/clickmap")),
        "not-group": with_map(np.ones(3), "clickmaps"),
        "vast": with_map(shape=(10**6, 10**6), dtype="f8", chunks=(100, 100)),
        "texts": with_map([["a"] * 24] * 16),
        "scalar": with_map(5),
        "nan": with_map(np.full((16, 24), np.nan)),
        "link": written(link),
        "soft-link": written(soft),
        "outside": with_map(shape=(16, 24), dtype="u1", external=outside),
        "references": with_map(shape=(4, 4), dtype=h5py.ref_dtype),
        "record": with_map(np.zeros((16, 24), "i4,f4")),
        "null": with_map(h5py.Empty("f")),
        "4-d": with_map(np.ones((2, 2, 16, 24))),
        "cut": whole[: len(whole) // 2],
    }
    for name, content in contents.items():
        yield _map(folder / f"{name}.h5", content)
    for number in range(3):
        yield _map(folder / f"flipped-{number}.h5", flipped(whole, chance, 20), EITHER)
    yield _map(folder / "whole.h5", whole, READ)


def _map(path: Path, content: bytes, expected=REFUSED) -> Case:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    return Case(
        f"map {path.parent.name}/{path.name}",
        functools.partial(read, path if path.suffix not in (".npy", ".png") else path.parent),
        expected,
    )
