"""Many pictures from a table: which rows it gives, in which order they are done and written, and the command line."""

import csv
import gzip
import json
import os
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image
from pyarrow import parquet

from grounding.config import LocalizerConfig
from grounding.datasets.columns import TableOptions
from grounding.errors import GroundingError
from grounding.images import sample_scene
from grounding.manifest import Destination, Row, Summary, ground_manifest, read_manifest
from helpers.captioned import BLUE, GREEN, RED, picture
from helpers.html import Page

# ---- rows

NO_CAPTION = "no caption: expected a sentence, or phrases"
NO_OBJECT = "no object: expected image, caption and maybe phrases"
NO_TEXT = ": expected a text or a list of texts"


def read(path, content, **options):
    """(image, caption, phrases) of each row, or what is said of it instead."""
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    rows = read_manifest(path, TableOptions(**options)).rows
    return [row.error.partition(": ")[2] or (row.image, row.caption, row.phrases) for row in rows]


@pytest.mark.parametrize(
    ("name", "content", "rows"),
    [
        # several captions of a picture
        ("m.jsonl", '{"image": "p", "caption": ["a man", "a hat"]}', [("p", "a man", None), ("p", "a hat", None)]),
        ("m.jsonl", '{"image": "p", "captions": ["a man", "a hat"]}', [("p", "a man", None), ("p", "a hat", None)]),
        ("m.jsonl", '{"image": "p", "captions": [], "caption": "a man"}', [("p", "a man", None)]),
        ("m.csv", "image,caption\np,a man\np,a hat\n", [("p", "a man", None), ("p", "a hat", None)]),
        ("m.json", '[{"image": "p", "captions": ["a", "b"]}]', [("p", "a", None), ("p", "b", None)]),
        ("m.csv", "image,captions\np,a man\n", [("p", "a man", None)]),
        # phrases
        ("m.jsonl", '{"image": "p", "caption": "c", "phrases": ["a", "b"]}', [("p", "c", ("a", "b"))]),
        ("m.jsonl", '{"image": "p", "caption": "c", "phrases": "a|b"}', [("p", "c", ("a", "b"))]),
        ("m.jsonl", '{"image": "p", "caption": "c", "phrases": []}', [("p", "c", ())]),
        ("m.jsonl", '{"image": "p", "phrases": ["a", "b"]}', [("p", "a, b", ("a", "b"))]),
        ("m.csv", "image,phrases\np,a|b\n", [("p", "a, b", ("a", "b"))]),
        ("m.csv", "image,caption,phrases\np, ,a|b\n", [("p", "a, b", ("a", "b"))]),
        ("m.csv", "image,caption,phrases\np,c,a man|\n", [("p", "c", ("a man",))]),
        ("m.csv", "image,caption,phrases\np,c, a man | a hat | | \n", [("p", "c", ("a man", "a hat"))]),
        ("m.csv", "image,caption,phrases\np,c,|\np,c,\n", [("p", "c", None)] * 2),
        # one bad row between good ones
        ("m.csv", "image,caption\np,\nq,b\n", [NO_CAPTION, ("q", "b", None)]),
        ("m.csv", "image,caption\np\nq,b\n", [NO_CAPTION, ("q", "b", None)]),
        (
            "m.csv",
            "image,caption\np,a man, a hat\nq,b\n",
            ["3 values for 2 columns: quote a value that holds ','", ("q", "b", None)],
        ),
        ("m.csv", "image,caption\n ,a\nq,b\n", ["no image: expected the path of a picture", ("q", "b", None)]),
        (
            "m.csv",
            'image,caption\np,"a man\nq,b\nr,c\n',
            ["unexpected end of data", ("q", "b", None), ("r", "c", None)],
        ),
        ("m.csv", 'image,caption\np,"a"man\nq,b\n', ["',' expected after '\"'", ("q", "b", None)]),
        (
            "m.csv",
            "image,caption,phrases\np,c,a||b\nq,b,\n",
            ["phrases are 'a||b': expected texts that are not blank", ("q", "b", None)],
        ),
        (
            "m.jsonl",
            '{"image": "p", "caption": "c", "phrases": ["a", " "]}',
            ["phrases are ['a', ' ']: expected texts that are not blank"],
        ),
        ("m.jsonl", '{"image": "p", "captions": ["a", ""]}', [("p", "a", None), NO_CAPTION]),
        ("m.jsonl", '{"image": "p", "caption": 5}', [f"caption is 5{NO_TEXT}"]),
        ("m.jsonl", '{"image": "p", "caption": [["a"]]}', [f"caption is ['a']{NO_TEXT}"]),
        ("m.jsonl", '{"image": 5, "caption": "c"}', [f"image is 5{NO_TEXT}"]),
        ("m.jsonl", '{"image": "p", "caption": NaN}', [NO_CAPTION]),
        ("m.jsonl", '{"image": "p", "caption": "c", "phrases": 3}', [f"phrases is 3{NO_TEXT}"]),
        ("m.jsonl", '{"image": "p", "caption": "c"}\n[1]\n"x"', [("p", "c", None), NO_OBJECT, NO_OBJECT]),
        (
            "m.jsonl",
            '{"image": "https://a.b/c.jpg", "caption": "c"}\n{"image": "p", "caption": "c"}',
            ["image 'https://a.b/c.jpg' is an address: download it first", ("p", "c", None)],
        ),
    ],
)
def test_rows_of_a_manifest(name, content, rows, tmp_path):
    assert read(tmp_path / name, content) == rows


def test_an_error_says_the_manifest_and_the_line(tmp_path):
    path = tmp_path / "m.csv"
    path.write_text('image,caption\n"p","a man\nwith a hat"\n\nq,\nr,c\n')
    errors = [row.error for row in read_manifest(path).rows]
    assert errors == ["", f"manifest {path}, line 5: no caption: expected a sentence, or phrases", ""]
    parquet.write_table(pa.table({"image": ["p", None], "caption": ["c", "c"]}), tmp_path / "m.parquet")
    assert ", row 2: no image" in read_manifest(tmp_path / "m.parquet").rows[1].error


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("m.csv", "", "no rows"),
        ("m.csv", "image,caption\n", "no rows"),
        ("m.jsonl", "\n", "no rows"),
        ("m.json", "[]", "no rows"),
        ("m.csv", "picture,caption\np.png,a man\n", "no column 'image': it has picture, caption; name the right one"),
        ("m.csv", "images,caption\np.png,a man\n", "no column 'image': did you mean 'images'?"),
        ("m.csv", "image,caption,caption\np,a,b\n", "2 columns 'caption': expected one; rename"),
        ("m.csv", "image caption\np a\n", "cannot be told from its first line, 'image caption'"),
        ("m.xlsx", "PK", "ends in '.xlsx': expected a table (.csv, .tsv, .jsonl, .json, .parquet"),
        ("m.parquet", "PK", "expected a Parquet file"),
        ("m.json", "{", "is no JSON"),
    ],
)
def test_bad_manifests(run, tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    status, out, err = run("--manifest", name)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert message in err


def test_a_folder_is_no_manifest(run, tmp_path):
    assert "is a folder: expected a table" in run("--manifest", tmp_path)[2]


# ---- order


class Stub:
    """A localizer that finds the first word of a caption in no time, and counts what it encodes."""

    config = LocalizerConfig()
    classifier = SimpleNamespace(name="stub", fingerprint=lambda: "stub")

    def __init__(self, until=None):
        self.encoded, self.grounded, self.until = [], [], until

    def encode(self, image):
        colour = tuple(image[0, 0].tolist())
        self.encoded.append({RED: "red", GREEN: "green", BLUE: "blue"}[colour])
        return SimpleNamespace(ground=lambda *arguments: self.ground(image, *arguments))

    def encode_batch(self, images, at_once):
        return [self.encode(image) for image in images]

    def prepare_together(self, scenes, asked):
        """Nothing costs time."""

    def ground(self, image, caption, phrases, top_k):
        if len(self.grounded) == self.until:
            raise KeyboardInterrupt
        self.grounded.append(caption)
        colour = image[0, 0].tolist()

        def to_dict(path):
            return {
                "schema_version": 1,
                "image": {"path": path, "width": image.shape[1], "height": image.shape[0]},
                "caption": caption,
                "classifier": "stub",
                "phrases": [{"text": str(colour), "status": "localized", "presence": 0.25, "words": [], "regions": []}],
            }

        return SimpleNamespace(to_dict=to_dict, overlay=lambda top_k: Image.fromarray(np.uint8(image)))


@pytest.fixture
def pictures(tmp_path):
    for name, colour in (("a.png", RED), ("b.png", GREEN), ("c d.png", BLUE)):
        (tmp_path / name).write_bytes(picture(colour))
    (tmp_path / "link.png").symlink_to(tmp_path / "a.png")
    return tmp_path


def table(folder, *images):
    """A manifest with a row for each of these pictures; captions are numbered."""
    lines = [json.dumps({"image": str(image), "caption": f"c{number}"}) for number, image in enumerate(images)]
    (folder / "m.jsonl").write_text("\n".join(lines))
    return read_manifest(folder / "m.jsonl")


def ground(manifest, localizer, folder=None, pictures=False, **how):
    """The summary, and the result lines that were shown."""
    shown = []
    destination = Destination(folder, False, pictures, shown.append)
    summary = ground_manifest(localizer, manifest, manifest.path.parent, 5, {}, destination, **how)
    return summary, [json.loads(line) for line in shown]


def lines_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("to_folder", [False, True])
def test_pictures_are_encoded_once_whatever_the_order_of_rows(pictures, to_folder):
    images = [
        "a.png",
        "b.png",
        "./a.png",
        "c d.png",
        pictures / "a.png",
        "./b.png",
        "link.png",
        "x/../c d.png",
        "a.png",
    ]
    manifest, localizer = table(pictures, *images), Stub()
    _, shown = ground(manifest, localizer, pictures / "out" if to_folder else None)
    results = lines_of(pictures / "out" / "results.jsonl") if to_folder else shown
    assert localizer.encoded == ["red", "green", "blue"]
    assert localizer.grounded == ["c0", "c2", "c4", "c6", "c8", "c1", "c5", "c3", "c7"]
    assert [(result["image"]["path"], result["caption"]) for result in results] == [
        (str(image), f"c{number}") for number, image in enumerate(images)
    ]
    expected = [RED, GREEN, RED, BLUE, RED, GREEN, RED, BLUE, RED]
    assert [result["phrases"][0]["text"] for result in results] == [str(list(colour)) for colour in expected]


def test_results_that_are_shown_wait_for_no_more_than_the_rows_before_them(pictures):
    manifest, localizer, shown = table(pictures, "a.png", "b.png", "a.png", "b.png"), Stub(until=3), []
    with pytest.raises(KeyboardInterrupt):
        ground_manifest(localizer, manifest, pictures, 5, {}, Destination(None, False, False, shown.append))
    assert [json.loads(line)["caption"] for line in shown] == ["c0", "c1", "c2"]


@pytest.mark.parametrize("until", range(7))
def test_an_interrupted_run_does_nothing_twice_and_ends_with_the_same_bytes(pictures, until):
    manifest = table(pictures, "a.png", "gone.png", "b.png", "a.png", "b.png", "a.png", "c d.png")
    whole = Stub()
    ground(manifest, whole, pictures / "whole", pictures=True)
    first, second = Stub(until), Stub()
    if until < 6:  # one of the seven rows fails without being grounded
        with pytest.raises(KeyboardInterrupt):
            ground(manifest, first, pictures / "out", pictures=True)
        assert not (pictures / "out").exists()
    summary, _ = ground(manifest, second, pictures / "out", pictures=True)
    assert first.grounded + second.grounded == whole.grounded
    files = {path.name: path.read_bytes() for path in (pictures / "out").iterdir()}
    assert files == {path.name: path.read_bytes() for path in (pictures / "whole").iterdir()}
    assert (len(summary.failed), summary.statuses.total(), len(summary.pictures)) == (1, 6, 3)


@pytest.mark.parametrize("workers", [1, 2, 3])
@pytest.mark.parametrize("at_once", [1, 2])
@pytest.mark.parametrize("until", [1, 4, 20])
def test_results_are_the_same_for_any_number_of_workers_also_after_an_interruption(pictures, workers, at_once, until):
    for number in range(7):
        (pictures / f"{number}.png").write_bytes(picture((RED, GREEN, BLUE)[number % 3]))
    names = ["0.png", "1.png", "gone.png", "0.png", "2.png", "3.png", "gone.png", "4.png", "5.png", "0.png", "6.png"]
    manifest, how = table(pictures, *names), {"workers": workers, "at_once": at_once}
    ground(manifest, Stub(), pictures / "whole")
    _, shown = ground(manifest, Stub(), **how)
    if until < 9:
        with pytest.raises(KeyboardInterrupt):
            ground(manifest, Stub(until), pictures / "out", **how)
        left = (pictures / "out.partial" / "results.jsonl").read_text().splitlines()
        assert len(left) <= until + 2  # what is there is whole, and in the order in which pictures are taken
        assert [json.loads(line)["caption"] for line in left] == ["c0", "c3", "c9", "c1", "c2", "c6", "c4"][: len(left)]
    summary, _ = ground(manifest, Stub(), pictures / "out", **how)
    assert (pictures / "out" / "results.jsonl").read_bytes() == (pictures / "whole" / "results.jsonl").read_bytes()
    assert [line["caption"] for line in shown] == [f"c{number}" for number in range(11)]
    assert (len(summary.failed), summary.statuses.total(), len(summary.pictures)) == (2, 9, 7)


def test_a_picture_with_very_many_rows_is_done_in_pieces(pictures, monkeypatch):
    monkeypatch.setattr("grounding.manifest._MOST_ROWS", 2)
    manifest, localizer = table(pictures, *["a.png"] * 5, "b.png"), Stub()
    _, shown = ground(manifest, localizer, workers=2)
    assert sorted(localizer.encoded) == ["green", "red", "red", "red"]
    assert [line["caption"] for line in shown] == [f"c{number}" for number in range(6)]


def test_another_size_of_batches_is_another_run(pictures):
    manifest = table(pictures, "a.png", "b.png")
    with pytest.raises(KeyboardInterrupt):
        ground(manifest, Stub(1), pictures / "out", workers=1)
    with pytest.raises(GroundingError, match="another batch_size"):
        ground(manifest, Stub(), pictures / "out", at_once=2)
    ground(manifest, Stub(), pictures / "out", workers=2)  # the number of workers is no setting


def test_threads_of_torch_are_as_before(pictures):
    before = torch.get_num_threads()
    for workers in (1, 2):
        ground(table(pictures, "a.png", "b.png"), Stub(), workers=workers)
        assert torch.get_num_threads() == before


def test_a_run_that_ended_while_lines_were_put_in_order_goes_on(pictures):
    manifest = table(pictures, "a.png", "b.png", "a.png")
    with pytest.raises(KeyboardInterrupt):
        ground(manifest, Stub(2), pictures / "out")
    (pictures / "out.partial" / "sorted.jsonl").write_text("cut sho")
    ground(manifest, Stub(), pictures / "out")
    assert [path.name for path in (pictures / "out").iterdir()] == ["results.jsonl"]
    assert [line["caption"] for line in lines_of(pictures / "out" / "results.jsonl")] == ["c0", "c1", "c2"]


def test_a_run_of_another_manifest_or_with_pictures_is_another(pictures):
    with pytest.raises(KeyboardInterrupt):
        ground(table(pictures, "a.png", "b.png"), Stub(1), pictures / "out")
    with pytest.raises(GroundingError, match="another manifest"):
        ground(table(pictures, "a.png", "a.png"), Stub(), pictures / "out")
    with pytest.raises(GroundingError, match="another pictures"):
        ground(table(pictures, "a.png", "b.png"), Stub(), pictures / "out", pictures=True)


def test_pictures_in_a_parquet_table(pictures):
    cells = [
        {"bytes": picture(RED), "path": "r.png"},
        {"bytes": picture(GREEN), "path": None},
        {"bytes": None, "path": "c d.png"},
        {"bytes": picture(RED), "path": "again.png"},
        {"bytes": b"no picture", "path": None},
    ]
    path = pictures / "m.parquet"
    parquet.write_table(pa.table({"image": cells, "caption": [["c0", "c1"], ["c2"], ["c3"], ["c4"], ["c5"]]}), path)
    manifest, localizer = read_manifest(path), Stub()
    summary, shown = ground(manifest, localizer)
    assert localizer.encoded == ["red", "green", "blue"]
    assert [line["image"]["path"] for line in shown] == ["r.png", "r.png", "row 2", "c d.png", "again.png", "row 5"]
    assert "row 5 in" in summary.failed[5]
    assert "no picture" in summary.failed[5]
    before = manifest.fingerprint
    cells[1]["bytes"] = picture(BLUE)
    parquet.write_table(pa.table({"image": cells, "caption": [["c0", "c1"], ["c2"], ["c3"], ["c4"], ["c5"]]}), path)
    assert read_manifest(path).fingerprint != before


# ---- summary and page


def found(*statuses):
    return {"phrases": [{"status": status} for status in statuses]}


@pytest.mark.parametrize(
    ("results", "text"),
    [
        ([found("localized")], "1 row, 1 picture, 1 phrase: 1 localized"),
        ([found()], "1 row, 1 picture, 0 phrases"),
        (
            [found("localized", "absent"), found("localized")],
            "2 rows, 2 pictures, 3 phrases: 2 localized, 1 absent",
        ),
        (
            [{"error": "broken", "phrases": []}],
            "1 row, 0 pictures, 0 phrases\n1 of 1 row failed, each says why in its 'error'; the first: broken",
        ),
        (
            [found("empty-map"), {"error": "x"}, {"error": "y"}],
            "3 rows, 1 picture, 1 phrase: 1 empty-map\n2 of 3 rows failed, each says why in its 'error'; the first: x",
        ),
    ],
)
def test_the_summary(results, text):
    summary = Summary([Row(str(number), (str(number), "", 0, -1), "") for number in range(len(results))])
    for index in reversed(range(len(results))):
        summary.add(index, results[index])
    assert str(summary) == text


def test_the_page_shows_every_row_and_obeys_none(pictures):
    (pictures / "m<i>.csv").write_text('image,caption\na.png,<script>alert(1)</script>\n"<b>.png",a & b\nb.png,c\n')
    manifest = read_manifest(pictures / "m<i>.csv")
    ground(manifest, Stub(), pictures / "out", pictures=True)
    names = sorted(path.name for path in (pictures / "out").iterdir())
    assert names == ["index.html", "overlay-000001.jpg", "overlay-000003.jpg", "results.jsonl"]
    page = Page((pictures / "out" / "index.html").read_text())
    assert len(page.all("article")) == 3
    assert not page.all("script")
    assert not page.all("b")
    assert not page.all("i")
    assert [image["src"].partition(",")[0] for image in page.all("img")] == ["data:image/jpeg;base64"] * 2
    assert [link["href"] for link in page.all("a")] == ["overlay-000001.jpg", "overlay-000003.jpg"]
    for text in (
        "<script>alert(1)</script>",
        "a & b",
        "<b>.png cannot be read",
        "3 rows, 2 pictures",
        str(list(GREEN)),
    ):
        assert text in page.text
    assert ["[250, 0, 0]", "localized", "0.25", "", "", ""] in [[cell.strip() for cell in row] for row in page.rows]


def test_a_page_has_a_bound(pictures, monkeypatch):
    monkeypatch.setattr("grounding.manifest_page.MOST_ROWS", 2)
    ground(table(pictures, *["a.png"] * 3), Stub(), pictures / "out", pictures=True)
    page = Page((pictures / "out" / "index.html").read_text())
    assert len(page.all("article")) == 2
    assert "The first 2 of 3 rows; all of them are in results.jsonl." in page.text


# ---- the command line


@pytest.fixture
def photograph(tmp_path):
    path = tmp_path / "p.png"
    Image.fromarray(sample_scene()[:, :400]).save(path)
    return path


def write_csv(path, rows):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)


def test_manifest_results_equal_single_ones_and_bad_pictures_are_reported(run, photograph, tmp_path):
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    rows = [
        ["image", "caption", "phrases"],
        ["p.png", "a man with a camera", ""],
        ["broken.jpg", "a dog", ""],
        ["p.png", "a man with a camera", "camera|a man"],
    ]
    write_csv(tmp_path / "m.csv", rows)
    status, out, err = run("--manifest", "m.csv")
    results = [json.loads(line) for line in out.splitlines()]
    assert status == 1
    assert "1 of 3 rows failed" in err
    assert "3 rows, 1 picture, 4 phrases: 4 localized" in err
    assert "no picture" in results[1]["error"]
    assert results[1]["phrases"] == []
    _, alone, _ = run("--caption", "a man with a camera", "--image", "p.png", "--json")
    assert results[0] == json.loads(alone)
    assert [phrase["text"] for phrase in results[2]["phrases"]] == ["camera", "a man"]
    assert results[2]["phrases"][1]["regions"] == results[0]["phrases"][0]["regions"]


def test_options_of_the_table(run, photograph, tmp_path):
    (tmp_path / "t").mkdir()
    with gzip.open(tmp_path / "t" / "M.CSV.GZ", "wt") as file:
        file.write("File|Text|which\np.png|a man, standing|a man\n")
    options = ("--delimiter", "|", "--image-column", "file", "--caption-column", "text", "--phrases-column", "which")
    status, out, _ = run("--manifest", "t/M.CSV.GZ", *options, "--image-folder", tmp_path)
    result = json.loads(out)
    assert (status, result["image"]["path"], result["caption"]) == (0, "p.png", "a man, standing")
    assert [phrase["text"] for phrase in result["phrases"]] == ["a man"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--manifest", "m.csv", "--pictures"], "--pictures needs a folder to write to: add --output DIR"),
        (["--caption", "a man", "--pictures"], "--pictures goes with --manifest FILE"),
        (["--caption", "a man", "--batch-size", "2"], "--batch-size goes with --manifest FILE"),
        (["--manifest", "m.csv", "--batch-size", "0"], "argument --batch-size: is '0': expected a whole number from 1"),
        (["--manifest", "m.csv", "--batch-size", "-1"], "argument --batch-size: is '-1': expected a whole number"),
        (["--manifest", "m.csv", "--batch-size", "x"], "argument --batch-size: is 'x': expected a whole number"),
        (["--caption", "a man", "--image-column", "x"], "--image-column goes with --manifest FILE"),
        (["--manifest", "m.csv", "--caption-column", "x"], "no column 'x'"),
        (["--manifest", "m.csv", "--phrases-column", "captoin"], "no column 'captoin': did you mean 'caption'?"),
        (["--manifest", "m.csv", "--delimiter", "ab"], "the delimiter is 'ab': expected one character, or tab"),
        (["--manifest", "m.csv", "--delimiter", ";"], "no column 'image'"),
    ],
)
def test_bad_options(run, tmp_path, arguments, message):
    (tmp_path / "m.csv").write_text("image,caption\np.png,a man\n")
    status, out, err = run(*arguments)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert message in err


def test_a_folder_with_results_and_pictures_is_replaced(run, photograph, tmp_path):
    (tmp_path / "m.csv").write_text("image;caption\np.png;a man, a camera\n")
    command = ("--manifest", "m.csv", "--output", "out", "--pictures")
    assert run(*command)[0] == 0
    assert run(*command)[0] == 2
    assert run(*command[:-1], "--overwrite")[0] == 0
    assert os.listdir(tmp_path / "out") == ["results.jsonl"]  # noqa: PTH208


@pytest.mark.slow
def test_manifest_with_output_continues_after_an_interruption(run, photograph, tmp_path, monkeypatch):
    rows = [("none.png", "a cat"), ("p.png", "a man"), ("p.png", "a hat"), ("p.png", "grass"), ("p.png", "a camera")]
    lines = [json.dumps({"image": image, "caption": caption}) for image, caption in rows]
    (tmp_path / "m.jsonl").write_text("\n".join(lines) + "\n")
    assert run("--manifest", "m.jsonl", "--output", "whole")[0] == 1
    import grounding.pipeline

    ground, calls = grounding.pipeline.Scene.ground, []

    def interrupted(self, *arguments):
        calls.append(arguments)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return ground(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(grounding.pipeline.Scene, "ground", interrupted)
        status, _, err = run("--manifest", "m.jsonl", "--output", "out")
    assert status == 130
    assert "run the same command again" in err
    partial = tmp_path / "out.partial" / "results.jsonl"
    assert len(partial.read_text().splitlines()) in (1, 3)  # of several workers, one writes all rows of a picture
    with partial.open("a") as file:
        file.write('{"cut sho')
    status, _, err = run("--manifest", "m.jsonl", "--output", "out", "--top-k", "3")
    assert (status, "another, interrupted run, with another top_k (3, was 5)" in err) == (2, True)
    status, _, err = run("--manifest", "m.jsonl", "--output", "out", "--method", "mwp")
    assert (status, "another, interrupted run, with another method (mwp" in err) == (2, True)
    assert "method" not in json.loads((tmp_path / "out.partial" / "settings.json").read_text())  # as in older runs
    status, _, err = run("--manifest", "m.jsonl", "--output", "out")
    assert (status, "1 of 5 rows failed" in err) == (1, True)  # the one that failed before the interruption counts
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["results.jsonl"]
    assert (tmp_path / "out" / "results.jsonl").read_text() == (tmp_path / "whole" / "results.jsonl").read_text()
    assert not partial.parent.exists()
    assert run("--manifest", "m.jsonl", "--output", "out")[0] == 2


@pytest.mark.slow
def test_a_terminated_manifest_says_so_and_goes_on(run, photograph, tmp_path):
    rows = [["image", "caption"], *[["p.png", f"a man number {n}"] for n in range(400)]]
    write_csv(tmp_path / "m.csv", rows)
    command = [sys.executable, "-m", "grounding.localize", "--manifest", "m.csv", "--output", "out"]
    lines = tmp_path / "out.partial" / "results.jsonl"
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    while process.poll() is None and not (lines.is_file() and lines.stat().st_size):
        time.sleep(0.01)
    process.terminate()
    _, err = process.communicate(timeout=60)
    assert process.returncode == 143, err
    assert err.endswith("run the same command again to continue\nterminated\n")
    assert "Traceback" not in err
    done = [json.loads(line) for line in lines.read_text().splitlines()]
    assert 0 < len(done) < 400
    assert [result["caption"] for result in done] == [row[1] for row in rows[1 : len(done) + 1]]
