"""Which partitions a manifest has, and which rows a worker reads of one."""

import pyarrow as pa
import pytest
from pyarrow import parquet

from grounding.datasets.columns import TableOptions
from grounding.scale.lines import write_lines
from grounding.scale.partitions import ManifestFiles, open_manifest
from helpers.captioned import refused
from helpers.scale import write_manifest

OPTIONS = TableOptions()


def manifest(*rows):
    return ManifestFiles(tuple("abc"[: len(rows)]), rows, "", "m")


@pytest.mark.parametrize(
    ("files", "sizes"),
    [
        ((1,), [1]),
        ((10,), [10]),
        ((25,), [10, 10, 5]),
        ((2000,), [20] * 100),
        ((2001,), [21] * 95 + [6]),
        ((100_000,), [1000] * 100),
        ((1_000_500,), [1000] * 1000 + [500]),
        ((15, 0, 12), [10, 5, 10, 2]),
    ],
)
def test_partitions_have_a_hundredth_of_the_rows_within_bounds(files, sizes):
    assert [partition.rows for partition in manifest(*files).partitions()] == sizes


def test_partitions_hold_each_row_of_each_file_once():
    found = manifest(15, 31, 12).partitions()
    rows = [(each.file, each.first + row) for each in found for row in range(each.rows)]
    assert rows == [(file, row) for file, count in enumerate((15, 31, 12)) for row in range(count)]
    assert [each.number for each in found] == list(range(len(found)))
    assert [each.start for each in found] == [0, 0, 15, 15, 15, 15, 46, 46]


@pytest.mark.parametrize("group", [1, 3, 7, 10, 16, 300, 1000])
def test_a_worker_reads_the_rows_of_its_partition_wherever_row_groups_end(tmp_path, group):
    rows = 733
    table = pa.table({"image": [f"{row}.jpg" for row in range(rows)], "caption": ["c"] * rows, "other": [0] * rows})
    parquet.write_table(table, tmp_path / "m.parquet", row_group_size=group)
    files = open_manifest(str(tmp_path / "m.parquet"), OPTIONS)
    found = [record for each in files.partitions() for record in files.records(each, OPTIONS)]
    assert [record.number for record in found] == list(range(1, rows + 1))
    assert [record.values for record in found] == [{"image": f"{row}.jpg", "caption": "c"} for row in range(rows)]


@pytest.mark.parametrize("name", ["", "*.parquet", "p*"])
def test_several_files_are_one_manifest_with_numbers_that_go_on(tmp_path, name):
    for file, rows in (("part-1", 12), ("part-0", 3)):
        parquet.write_table(pa.table({"image": [file] * rows, "caption": ["c"] * rows}), tmp_path / f"{file}.parquet")
    files = open_manifest(str(tmp_path / name), OPTIONS)
    found = [
        (record.number, record.values["image"])
        for each in files.partitions()
        for record in files.records(each, OPTIONS)
    ]
    assert found == [(n, "part-0") for n in (1, 2, 3)] + [(n, "part-1") for n in range(4, 16)]


def test_a_fingerprint_is_of_the_content(tmp_path):
    prints = set()
    for caption in ("a man", "a hat"):
        parquet.write_table(pa.table({"image": ["a"], "caption": [caption]}), tmp_path / "m.parquet")
        prints.add(open_manifest(str(tmp_path / "m.parquet"), OPTIONS).fingerprint)
        parquet.write_table(pa.table({"image": ["a"], "caption": [caption]}), tmp_path / "copy.parquet")
        prints.add(open_manifest(str(tmp_path / "copy.parquet"), OPTIONS).fingerprint)
    assert len(prints) == 2


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("m.parquet", None, ["m.parquet does not exist", "expected a Parquet file"]),
        ("folder", {}, ["folder does not exist", "*.parquet"]),
        ("m.parquet", b"no parquet", ["m.parquet cannot be read", "expected a Parquet file"]),
        (
            "m.parquet",
            {"picture": ["a"], "caption": ["c"]},
            ["has no column 'image'", "picture, caption", "--image-column"],
        ),
        ("m.parquet", {"image": ["a"], "other": ["c"]}, ["has no column 'caption'"]),
        ("m.parquet", {"image": pa.array([], pa.string()), "caption": pa.array([], pa.string())}, ["no rows"]),
        ("nowhere://m.parquet", None, ["nowhere://m.parquet cannot be opened", "Protocol not known"]),
    ],
)
def test_what_is_no_manifest_is_said(tmp_path, name, content, said):
    if isinstance(content, bytes):
        (tmp_path / name).write_bytes(content)
    elif content:
        parquet.write_table(pa.table(content), tmp_path / name)
    message = refused(open_manifest, name if "://" in name else str(tmp_path / name), OPTIONS)
    assert all(each in message for each in said), message


def test_a_table_of_text_keeps_lines_values_and_damage(tmp_path):
    lines = ['{"image": "a", "captions": ["x", "y"]}', "", "no json", '{"image": "\\ud800", "phrases": ["p", null]}']
    (tmp_path / "m.jsonl").write_text("\n".join(lines))
    write_lines(tmp_path / "m.jsonl", OPTIONS, tmp_path / "lines.parquet")
    files = open_manifest(str(tmp_path / "lines.parquet"), OPTIONS)
    found = [record for each in files.partitions() for record in files.records(each, OPTIONS)]
    assert [(record.number, record.values) for record in found] == [
        (1, {"image": "a", "captions": ["x", "y"]}),
        (3, {}),
        (4, {"image": "\ud800", "phrases": ["p", None]}),
    ]
    assert found[1].damage.startswith("not JSON")
    assert not found[0].damage


def test_a_manifest_may_be_at_an_address(tmp_path):
    import fsspec

    memory = fsspec.filesystem("memory")
    memory.pipe_file("/manifests/m.parquet", write_manifest(tmp_path, 12).read_bytes())
    files = open_manifest("memory://manifests", OPTIONS)
    assert files.rows == (12,)
    assert [len(list(files.records(each, OPTIONS))) for each in files.partitions()] == [10, 2]
