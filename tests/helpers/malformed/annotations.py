"""Annotations of boxes: Flickr30k Entities, VOC, COCO and lists, in folders and zips."""

import functools
import io
import json
import random
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path

from grounding.datasets.coco import read_coco
from grounding.datasets.flickr30k import Flickr30kEntities
from grounding.datasets.labelled_folder import read_folder
from grounding.datasets.voc import read_voc
from helpers.entities import IMAGES, annotation, write_entities
from helpers.malformed.judge import EITHER, READ, Case, cut, flipped
from helpers.malformed.pictures import picture

BOMB = '<!DOCTYPE a [<!ENTITY a0 "ha">{}]>'.format(
    "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 10))
)
OUTSIDE = '<!DOCTYPE a [<!ENTITY a SYSTEM "file:///etc/passwd">]>'
WHOLE = annotation("1001", IMAGES["1001"])
XML = {
    "empty": "",
    "cut": WHOLE[: len(WHOLE) // 2],
    "nul": WHOLE.replace("<size>", "<size>\0"),
    "no-size": WHOLE.replace("size>", "sighs>"),
    "bomb": BOMB + WHOLE.replace("<size>", "<size>&a9;"),
    "entity": OUTSIDE + WHOLE.replace("<width>", "<width>&a;"),
    "unknown-entity": WHOLE.replace("<width>", "<width>&nothing;"),
    "outside": WHOLE.replace("<xmax>40<", "<xmax>4000<"),
    "negative": WHOLE.replace("<xmin>1<", "<xmin>-1<"),
    "nan": WHOLE.replace("<xmin>1<", "<xmin>nan<"),
    "fraction": WHOLE.replace("<xmin>1<", "<xmin>1.5<"),
    "upside-down": WHOLE.replace("<xmin>1<", "<xmin>41<"),
    "no-corner": WHOLE.replace("xmin>", "left>"),
    "no-name": WHOLE.replace("<name>1<", "<name><"),
    "digits": WHOLE.replace("<width>200<", f"<width>{'9' * 5000}<"),
    "vast": WHOLE.replace("<width>200<", f"<width>1{'0' * 400}<").replace("<xmax>40<", f"<xmax>1{'0' * 399}<"),
    "encoding": f'<?xml version="1.0" encoding="martian"?>{WHOLE}',
    "multibyte": f'<?xml version="1.0" encoding="shift_jis"?>{WHOLE}',
    "utf-16-said": f'<?xml version="1.0" encoding="utf-16"?>{WHOLE}',
    "deep": "<a>" * 20_000,
    "two-roots": WHOLE + WHOLE,
    "html": "<!DOCTYPE html><html><br></html>",
}
SENTENCES = {
    "open-mark": "[/EN#1/people Two men in shirts",
    "no-number": "[/EN#/people Two men] wave",
    "type": "[/EN#1/martians Two men] wave",
    "nested": "[/EN#1/people [/EN#2/people Two] men] wave",
    "digits": f"[/EN#{'9' * 6000}/people Two men] wave [",
    "many-marks": "[/EN#1/people " * 20_000,
    "latin-1": b"[/EN#1/people Zwei M\xe4nner] winken",
}
LISTS = {
    "test.txt": {"twice": "1001\n1001\n", "elsewhere": "../../etc/passwd\n", "absolute": "/etc/passwd\n"},
    "val.txt": {"nul": "10\x0001\n", "long": "9" * 100_000 + "\n", "bytes": b"\xff\xfe\0\1"},
    "UNRELATED_CAPTIONS": {"words": "1001 two\n", "zero": "1001 0\n", "digits": f"1001 {'9' * 5000}\n"},
}


def read(path: Path) -> None:
    entities = Flickr30kEntities(path)
    for split in entities.splits:
        list(entities.read(split))


def cases(folder: Path, chance: random.Random) -> Iterator[Case]:
    whole = write_entities(folder / "whole")
    changes = {f"xml {name}": ("Annotations/1001.xml", content) for name, content in XML.items()}
    changes |= {f"sentences {name}": ("Sentences/1001.txt", content) for name, content in SENTENCES.items()}
    for name, contents in LISTS.items():
        changes |= {f"{name} {what}": (name, content) for what, content in contents.items()}
    for place, (name, (file, content)) in enumerate(changes.items()):
        copy = Path(shutil.copytree(whole, folder / f"changed-{place}"))
        (copy / file).write_bytes(content if isinstance(content, bytes) else content.encode())
        yield Case(f"entities {name}", functools.partial(read, copy))
    for name in ("Sentences", "Annotations", "UNRELATED_CAPTIONS", "Annotations/1001.xml", "Sentences/1002.txt"):
        copy = Path(shutil.copytree(whole, folder / f"without-{name.replace('/', '-')}"))
        shutil.rmtree(copy / name) if (copy / name).is_dir() else (copy / name).unlink()
        yield Case(f"entities without {name}", functools.partial(read, copy))
    yield from _zips(folder, whole, chance)
    yield from _others(folder)


def zipped(source: Path, **extra: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(source.rglob("*")):
            if path.is_file():
                archive.write(path, path.relative_to(source).as_posix())
        for name, content in extra.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def _zips(folder: Path, whole: Path, chance: random.Random) -> Iterator[Case]:
    content = zipped(whole)
    link = zipfile.ZipInfo("Annotations/1001.xml")
    link.external_attr = 0o120777 << 16
    linked = io.BytesIO()
    with zipfile.ZipFile(linked, "w") as archive:
        archive.writestr(link, "/etc/passwd")
        for path in sorted(whole.rglob("*.*")):
            if path.name != "1001.xml":
                archive.write(path, path.relative_to(whole).as_posix())
        archive.write(whole / "UNRELATED_CAPTIONS", "UNRELATED_CAPTIONS")
    start = content.index(b"PK\1\2")
    encrypted = bytearray(content)
    for at in range(len(content)):  # the flag of every member, here and in the directory
        if content[at : at + 4] == b"PK\3\4":
            encrypted[at + 6] |= 1
        elif content[at : at + 4] == b"PK\1\2":
            encrypted[at + 8] |= 1
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for path in sorted(whole.rglob("*")):
            if path.is_file() and path.name != "1001.xml":
                archive.write(path, path.relative_to(whole).as_posix())
        with archive.open("Annotations/1001.xml", "w") as file:
            file.write(bytes(1 << 26))
    given = {
        "outside-name": (zipped(whole, **{"../../evil.txt": b"x", "/etc/evil": b"x"}), READ),
        "dot-name": (zipped(whole, **{".": b"x"}), EITHER),
        "link": (linked.getvalue(), None),
        "encrypted": (bytes(encrypted), None),
        "cut": (cut(content, chance), None),
        "no-directory": (content[:start], None),
        "bomb": (bomb.getvalue(), None),
        "text": (b"PK no zip", None),
        "version": (content.replace(b"PK\1\2\x14\3\x14\0", b"PK\1\2\x14\3\xff\0"), None),
        "method": (
            content[:8] + b"\x63\0" + content[10:start] + content[start:].replace(b"\0\0\x08\0", b"\0\0\x63\0"),
            None,
        ),
    }
    given |= {f"flipped-{n}": (flipped(content, chance, 20), EITHER) for n in range(4)}
    for name, (zip_, expected) in given.items():
        (folder / f"{name}.zip").write_bytes(zip_)
        yield Case(f"entities {name}.zip", functools.partial(read, folder / f"{name}.zip"), expected or "refused")


def _coco(**changes: object) -> dict[str, object]:
    box = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 4, 4], "segmentation": [[1, 1, 5, 1, 5, 5, 1, 5]]}
    return {
        "images": [{"id": 1, "file_name": "a.png", "width": 24, "height": 16} | changes.pop("image", {})],
        "annotations": [box | changes.pop("box", {})],
        "categories": [{"id": 1, "name": "dog"}],
        **changes,
    }


def _others(folder: Path) -> Iterator[Case]:
    """COCO with its masks, VOC, and folders with a list."""
    contents = {
        "lists": [],
        "null": None,
        "no-images": {"annotations": []},
        "words": _coco(images=["a"]),
        "id": _coco(image={"id": [1]}),
        "size": _coco(image={"width": 10**9, "height": 10**9}),
        "box": _coco(box={"bbox": ["a", 1, 1, 1]}),
        "box-nan": _coco(box={"bbox": [float("nan"), 1, 1, 1]}),
        "image_id": _coco(box={"image_id": {}}),
        "file": _coco(image={"file_name": "../../../etc/passwd"}),
        "file-list": _coco(image={"file_name": ["a"]}),
        "runs": _coco(box={"segmentation": {"size": [16, 24], "counts": [-1]}}),
        "polygon": _coco(box={"segmentation": [[1e30] * 8]}),
        "polygon-text": _coco(box={"segmentation": [["a"] * 8]}),
        "vast-run": _coco(box={"segmentation": {"size": [16, 24], "counts": [10**30]}}),
        "run-text": _coco(box={"segmentation": {"size": [16, 24], "counts": "~~~"}}),
    }
    for name, content in contents.items():
        root = folder / f"coco-{name}"
        for part in ("annotations", "val2014"):
            (root / part).mkdir(parents=True)
        (root / "val2014" / "a.png").write_bytes(picture())
        (root / "annotations" / "instances_val2014.json").write_text(json.dumps(content))
        yield Case(f"coco {name}", functools.partial(_with_masks, read_coco, root))
    xml = (
        "<annotation><size><width>24</width><height>16</height></size><object><name>dog</name><bndbox><xmin>1</xmin>"
        "<ymin>1</ymin><xmax>9</xmax><ymax>9</ymax></bndbox></object></annotation>"
    )
    changes = {
        "encoding": f'<?xml version="1.0" encoding="shift_jis"?>{xml}',
        "bomb": BOMB + xml.replace("dog", "&a9;"),
    }
    changes |= {"class": xml.replace("dog", "unicorn" * 10_000), "number": xml.replace(">9<", f">{'9' * 5000}<", 1)}
    changes |= {"vast": xml.replace("24", "1" + "0" * 300), "deep": "<a>" * 20_000}
    for name, content in changes.items():
        root = folder / f"voc-{name}"
        for part, file, text in (("Annotations", "1.xml", content), ("ImageSets/Main", "test.txt", "1\n")):
            (root / part).mkdir(parents=True)
            (root / part / file).write_text(text)
        (root / "JPEGImages").mkdir()
        (root / "JPEGImages" / "1.jpg").write_bytes(picture("JPEG"))
        yield Case(f"voc {name}", functools.partial(read_voc, root))
    rows = {"quote": '1.jpg,"dog', "edges": "1.jpg,dog,1,1,nan,9", "out": "../../etc/passwd,dog,1,1,9,9"}
    rows |= {
        "field": f"1.jpg,{'d' * 200_000},1,1,9,9",
        "nul": "1.jpg,d\0g,1,1,-9,9",
        "digits": f"1.jpg,dog,1,1,{'9' * 5000},9",
    }
    for name, row in rows.items():
        root = folder / f"list-{name}"
        root.mkdir()
        (root / "1.jpg").write_bytes(picture("JPEG"))
        (root / "labels.csv").write_text(f"image,class,x0,y0,x1,y1\n{row}\n")
        yield Case(f"list {name}", functools.partial(read_folder, root), EITHER if name == "field" else "refused")


def _with_masks(read_, root: Path) -> None:
    for image in read_(root).images:
        for region in image.regions:
            if region.mask:
                region.mask()
