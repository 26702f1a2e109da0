"""The captions of Flickr30k and COCO as a table, through the command line that writes it."""

import json

import pytest

from grounding.datasets.webimages import CaptionedImages
from helpers.training import draw_shapes


def test_the_table_of_flickr30k(train, tmp_path):
    rows = [json.loads(line) for line in draw_shapes(tmp_path / "shapes", 3).read_text().splitlines()]
    lines = [f"{row['image']}#{number}\t{text}\n" for row in rows for number, text in enumerate(row["caption"])]
    (tmp_path / "results.token").write_text("".join(lines))
    (tmp_path / "val.txt").write_text("001.jpg\n")
    (tmp_path / "shapes" / "001.png").rename(tmp_path / "shapes" / "001.jpg")
    (tmp_path / "results.token").write_text("".join(lines).replace("001.png", "001.jpg"))
    (tmp_path / "other").mkdir()
    table = tmp_path / "other" / "t.jsonl"
    arguments = ("captions", "flickr30k", tmp_path / "results.token", tmp_path / "shapes", "--output", table)
    assert train(*arguments, "--without", tmp_path / "val.txt") == (0, f"2 photographs: {table}\n", [])
    images = CaptionedImages([table])
    assert images.ids == ("../shapes/000.png", "../shapes/002.png")
    assert images.captions == (tuple(rows[0]["caption"]), tuple(rows[2]["caption"]))
    assert not images.skipped
    assert images.read(1).size == (64, 64)
    assert train(*arguments)[:2] == (0, f"3 photographs: {table}\n")


def test_the_table_of_coco(train, tmp_path):
    images = [{"id": 7, "file_name": "b.jpg"}, {"id": 3, "file_name": "a.jpg"}]
    annotations = [
        {"image_id": number, "caption": text} for number, text in ((3, "a cat\n"), (7, "ein Hüne"), (3, "b"))
    ]
    (tmp_path / "c.json").write_text(json.dumps({"images": images, "annotations": annotations}))
    assert train("captions", "coco", "c.json", "photos", "--output", "t.jsonl")[0] == 0
    assert [json.loads(line) for line in (tmp_path / "t.jsonl").read_text().splitlines()] == [
        {"image": "photos/a.jpg", "caption": ["a cat", "b"]},
        {"image": "photos/b.jpg", "caption": ["ein Hüne"]},
    ]


@pytest.mark.parametrize(
    ("style", "content", "facts"),
    [
        ("flickr30k", b"a.jpg#0\ta\nb.jpg#0 no tab\n", ["line 2", "name.jpg#0", "tab"]),
        ("flickr30k", b"a.jpg#0\t\xff", ["UTF-8", "line 1"]),
        ("coco", b"{", ["no JSON", "expected COCO captions"]),
        (
            "coco",
            b'{"images": [], "annotations": [{"image_id": 1, "caption": "a"}]}',
            ["line 1", "annotation of no image"],
        ),
        ("coco", b"[]", ["no captions", "coco"]),
        ("coco", b"{}", ["no COCO captions file", "KeyError: 'images'"]),
        ("coco", b'{"images": [{"id": 1}], "annotations": [{"image_id": 1}]}', ["without a caption"]),
        ("coco", b"\xff", ["no JSON", "expected COCO captions"]),
    ],
)
def test_files_that_hold_no_captions(train, tmp_path, style, content, facts):
    (tmp_path / "c").write_bytes(content)
    status, out, lines = train("captions", style, tmp_path / "c", tmp_path, "--output", "t.jsonl")
    assert (status, out, len(lines)) == (2, "", 1)
    assert all(fact in lines[0] for fact in [str(tmp_path / "c"), *facts])
    assert not (tmp_path / "t.jsonl").exists()


@pytest.mark.parametrize(
    ("arguments", "facts"),
    [
        ([], ["format", "--output", "--help"]),
        (["voc", "c", "p", "--output", "t"], ["'voc'", "flickr30k", "coco"]),
        (["coco", "none", "p", "--output", "t"], ["none", "No such file"]),
        (["coco", "none", "p"], ["--output"]),
    ],
)
def test_bad_arguments(train, arguments, facts):
    status, out, lines = train("captions", *arguments)
    assert (status, out, len(lines)) == (2, "", 1)
    assert all(fact in lines[0] for fact in facts)
