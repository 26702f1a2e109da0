"""Pictures of ClickMe unpacked: every release in its published layout, what is written, and every error."""

import io
import json
import os

import numpy as np
import pytest
import torch
from PIL import Image

from grounding.datasets.clickme_unpack import total_bytes, unpack
from grounding.datasets.columns import TableOptions
from grounding.datasets.webimages import CaptionedImages
from helpers.human_maps import cells_of, read
from helpers.labelled import refused
from helpers.tfrecord_files import example, framed

RGB = np.linspace(0, 1, 256 * 256 * 3).reshape(256, 256, 3).round(3)  # shares of white
CLICKS = np.zeros((256, 256, 1))
CLICKS[40:44, 80:84] = 2.5  # one cell, (20, 10)


def raw(values):
    return values.astype("<f4").tobytes()


def jpeg(values, form="JPEG", **options):
    file = io.BytesIO()
    Image.fromarray(values).save(file, form, **options)
    return file.getvalue()


PICTURE = jpeg(np.full((256, 256, 3), 90, np.uint8))
GREY = jpeg((CLICKS[:, :, 0] * 100).astype(np.uint8), quality=95)


def lines(folder):
    return [json.loads(line) for line in (folder / "table.jsonl").read_text().splitlines()]


def files(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("scale", [1, 255])
def test_clickme_1(tmp_path, scale):
    records = [
        example(label=5, image=raw(scale * RGB), heatmap=raw(CLICKS), click_count=12, file_path=b"n01/x.JPEG"),
        example(label=999, image=raw(scale * RGB), heatmap=raw(0 * CLICKS), click_count=0),
        example(label=0, image=raw(scale * RGB), heatmap=raw(CLICKS), click_count=0),  # the count says so
        # GALA's variant
        example(label=1000, image=raw(scale * RGB), heatmap=b"", click_count=3, bbox=[0, 0, 0, 0]),
        example(label=7, image=raw(scale * RGB), click_count=0, bbox=[1, 2, 3, 4]),
        example(label=7, image=raw(scale * RGB), heatmap=raw(np.where(CLICKS > 0, np.nan, 0)), click_count=3),
        example(label=7, image=raw(scale * RGB), heatmap=raw(-CLICKS), click_count=3),
    ]
    (tmp_path / "clickme_train.tfrecords").write_bytes(framed(*records))
    told = []
    count, without = unpack([tmp_path / "clickme_train.tfrecords"], tmp_path / "out", told.append)
    assert count == 7
    assert without == {"pictures without a click": 4, "maps with NaN, infinite values or values below 0": 2}
    assert sum(told) == total_bytes([tmp_path / "clickme_train.tfrecords"]) == sum(len(each) + 16 for each in records)
    names = [f"clickme_train-{number:06d}" for number in range(1, 8)]
    assert files(tmp_path / "out") == [
        f"maps/{names[0]}.npy",
        *[f"pictures/{name}.png" for name in names],
        "table.jsonl",
    ]
    labels = ["5", "999", "0", "1000", "7", "7", "7"]
    assert lines(tmp_path / "out") == [
        {"image": f"pictures/{name}.png", "labels": [label], "id": name}
        for name, label in zip(names, labels, strict=True)
    ]
    map_ = np.load(tmp_path / "out" / "maps" / f"{names[0]}.npy")
    assert map_.dtype == np.float32
    np.testing.assert_array_equal(map_, CLICKS[:, :, 0].astype(np.float32))
    with Image.open(tmp_path / "out" / "pictures" / f"{names[0]}.png") as image:
        assert image.mode == "RGB"
        np.testing.assert_allclose(np.asarray(image), 255 * RGB, atol=0.5001)


def test_harmonization(tmp_path):
    for number in range(2):
        records = [example(image=PICTURE, heatmap=GREY, label=number), example(packed=False, image=PICTURE, label=9)]
        (tmp_path / f"train-{number}.tfrecords").write_bytes(framed(*records))
    count, without = unpack([str(tmp_path / "train-*.tfrecords")], tmp_path / "out")
    assert (count, without) == (4, {"pictures without a click": 2})
    assert files(tmp_path / "out") == [
        "maps/train-0-000001.npy",
        "maps/train-1-000001.npy",
        *[f"pictures/train-{shard}-00000{number}.jpg" for shard in (0, 1) for number in (1, 2)],
        "table.jsonl",
    ]
    assert (tmp_path / "out" / "pictures" / "train-0-000001.jpg").read_bytes() == PICTURE  # as it was
    assert [line["labels"] for line in lines(tmp_path / "out")] == [["0"], ["9"], ["1"], ["9"]]
    map_ = np.load(tmp_path / "out" / "maps" / "train-0-000001.npy")
    assert map_.dtype == np.uint8
    with Image.open(io.BytesIO(GREY)) as image:
        np.testing.assert_array_equal(map_, np.asarray(image))


def test_pseudo_clickme(tmp_path):
    pixels = torch.arange(3 * 4 * 6, dtype=torch.uint8).reshape(3, 4, 6)
    map_ = torch.zeros(1, 4, 6, dtype=torch.uint8)
    for name, value in (("a.b", 200), ("none", 0)):
        map_[0, 1, 2] = value
        found = {"image": pixels, "heatmap": map_, "label": torch.tensor([31], dtype=torch.int32)}
        torch.save(found, tmp_path / f"{name}.pth")
    count, without = unpack([tmp_path / "a.b.pth", tmp_path / "none.pth"], tmp_path / "out")
    assert (count, without) == (2, {"pictures without a click": 1})
    assert files(tmp_path / "out") == ["maps/a.b.npy", "pictures/a.b.png", "pictures/none.png", "table.jsonl"]
    assert lines(tmp_path / "out")[0] == {"image": "pictures/a.b.png", "labels": ["31"], "id": "a.b"}
    with Image.open(tmp_path / "out" / "pictures" / "a.b.png") as image:
        np.testing.assert_array_equal(np.asarray(image), pixels.permute(1, 2, 0).numpy())
    assert np.load(tmp_path / "out" / "maps" / "a.b.npy")[1, 2] == 200


def test_a_training_finds_the_maps(tmp_path):
    records = [example(label=5, image=raw(RGB), heatmap=raw(CLICKS), click_count=12), example(label=6, image=raw(RGB))]
    (tmp_path / "t.tfrecords").write_bytes(framed(*records))
    unpack([tmp_path / "t.tfrecords"], tmp_path / "out")
    table = tmp_path / "out" / "table.jsonl"
    images = CaptionedImages([table], TableOptions(caption_column="labels", phrases_column=""))
    assert images.ids == ("t-000001", "t-000002")
    assert images.captions == (("5",), ("6",))
    found = read(tmp_path / "out" / "maps", {id_: images.size_of(place) for place, id_ in enumerate(images.ids)})
    assert {id_: cells_of(map_) for id_, map_ in found.maps.items()} == {"t-000001": {(20, 10): 1}}


WHOLE = example(label=5, image=PICTURE, heatmap=GREY)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "t.tfrecords is empty: expected TFRecord"),
        (framed(WHOLE)[:-1], "t.tfrecords, record 1 is cut short"),
        (framed(WHOLE, WHOLE)[:-900], "t.tfrecords, record 2 is cut short"),
        (framed(WHOLE, b"\x0a"), "t.tfrecords, record 2 is no tf.train.Example (a number is cut short)"),
        (framed(example()), "t.tfrecords, record 1 has 0 values of image: expected one; it has nothing"),
        (framed(WHOLE, example(image=PICTURE)), "record 2 has 0 values of label: expected one; it has image"),
        (framed(example(image=[PICTURE, PICTURE], label=1)), "record 1 has 2 values of image"),
        (framed(example(image=PICTURE, label=b"5")), "record 1: image and label are of other types"),
        (framed(example(image=5, label=5)), "record 1: image and label are of other types"),
        (framed(example(image=PICTURE[:700], label=5)), "image of "),
        (
            framed(example(image=b"GIF89a", label=5)),
            "record 1: image has 6 bytes: expected a JPEG or PNG file, or 786,432",
        ),
        (framed(example(image=raw(RGB), label=5, heatmap=b"x")), "record 1: heatmap has 1 bytes: expected a JPEG"),
        (framed(example(image=raw(RGB * 1.5), label=5)), "record 1: the values of the image go from 0 to 1.5"),
        (framed(example(image=raw(RGB * np.nan), label=5)), "record 1: the values of the image go from nan"),
        (framed(example(image=PICTURE, label=5, heatmap=GREY[:50])), "record 1: heatmap cannot be read ("),
        (
            framed(example(image=PICTURE, label=5, heatmap=jpeg(np.ones((4, 8), np.uint8)))),
            "record 1: the map is 8 x 4 px and the picture 256 x 256: expected the same size",
        ),
    ],
    ids=[
        "empty",
        "cut",
        "second cut",
        "no example",
        "nothing",
        "no label",
        "two",
        "text label",
        "number image",
        "jpeg cut",
        "gif",
        "raw map",
        "range",
        "nan",
        "map cut",
        "sizes",
    ],
)
def test_damaged_records(tmp_path, content, said):
    (tmp_path / "t.tfrecords").write_bytes(content)
    assert said in refused(unpack, [tmp_path / "t.tfrecords"], tmp_path / "out")
    assert files(tmp_path) == ["t.tfrecords"]  # nothing is written by halves
    assert sorted(path.name for path in tmp_path.iterdir()) == ["t.tfrecords"]


class Opener:
    def __reduce__(self):
        return os.mkdir, ("opened",)


@pytest.mark.parametrize(
    "found",
    [
        Opener(),
        {"image": Opener()},
        [1],
        {"image": torch.zeros(3, 2, 2, dtype=torch.uint8)},
        {"image": torch.zeros(3, 2, 2), "heatmap": torch.zeros(1, 2, 2), "label": torch.tensor([1])},
        {
            "image": torch.zeros(2, 2, 3, dtype=torch.uint8),
            "heatmap": torch.zeros(1, 2, 2, dtype=torch.uint8),
            "label": torch.tensor([1]),
        },
        {
            "image": torch.zeros(3, 2, 2, dtype=torch.uint8),
            "heatmap": torch.zeros(1, 2, 2, dtype=torch.uint8),
            "label": torch.tensor([1, 2]),
        },
        {
            "image": torch.zeros(3, 2, 2, dtype=torch.uint8),
            "heatmap": torch.zeros(1, 2, 3, dtype=torch.uint8),
            "label": torch.tensor([1]),
        },
    ],
    ids=["code", "code inside", "list", "keys", "floats", "channels last", "labels", "sizes"],
)
def test_damaged_pth(tmp_path, monkeypatch, found):
    monkeypatch.chdir(tmp_path)
    torch.save(found, tmp_path / "p.pth")
    said = refused(unpack, [tmp_path / "p.pth"], tmp_path / "out")
    assert str(tmp_path / "p.pth") in said
    assert "expected" in said
    assert files(tmp_path) == ["p.pth"]
    assert not (tmp_path / "opened").exists()


def test_what_is_no_shard(tmp_path):
    for name in ("c.npz", "s/a.tfrecords", "t/a.tfrecords"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(framed(WHOLE))
    out = tmp_path / "out"
    assert "c.npz: the raw release of ClickMe 2.0 (.npz) holds pickled" in refused(unpack, [tmp_path / "c.npz"], out)
    assert "none is no file: expected TFRecord shards" in refused(unpack, [tmp_path / "none"], out)
    assert "s is no file" in refused(unpack, [tmp_path / "s"], out)
    same = refused(unpack, [tmp_path / "s" / "a.tfrecords", tmp_path / "t" / "a.tfrecords"], out)
    assert "would give pictures of one name" in same
    assert "no file matches" in refused(unpack, [str(tmp_path / "*.tfrecords")], out)
    assert not out.exists()


def test_the_command(train, tmp_path):
    with_map, without = example(image=PICTURE, heatmap=GREY, label=5), example(image=PICTURE, label=6)
    (tmp_path / "a.tfrecords").write_bytes(framed(with_map, without))
    (tmp_path / "b.tfrecords").write_bytes(framed(with_map)[:-3])
    done = train("human-maps", "a.tfrecords", "--output", "out")
    assert done == (0, "2 pictures: out/table.jsonl; 1 map: out/maps; 1 pictures without a click\n", [])
    before = {name: (tmp_path / "out" / name).read_bytes() for name in files(tmp_path / "out")}
    status, out, err = train("human-maps", "a.tfrecords", "--output", "out")  # nothing is overwritten
    assert (status, out, len(err)) == (2, "", 1)
    assert "output folder" in err[0]
    assert before == {name: (tmp_path / "out" / name).read_bytes() for name in files(tmp_path / "out")}
    status, out, err = train("human-maps", "a.tfrecords", "b.tfrecords", "--output", "new")
    assert (status, out) == (2, "")
    assert err[-1].startswith("error: b.tfrecords, record 1 is cut short")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tfrecords", "b.tfrecords", "out"]


@pytest.mark.parametrize(
    "arguments", [[], ["a.tfrecords"], ["--output", "out"]], ids=["nothing", "no output", "no shard"]
)
def test_bad_arguments(train, arguments):
    status, out, err = train("human-maps", *arguments)
    assert (status, out, len(err)) == (2, "", 1)
