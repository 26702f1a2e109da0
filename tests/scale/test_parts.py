"""The two files of a partition, and what their footers say when something is wrong with them."""

import json

import pytest
from pyarrow import parquet

from grounding.scale.partitions import Partition
from grounding.scale.parts import Answer, Tally, part_name, read_tally, write_part
from grounding.scale.storage import Storage

PARTITION = Partition(3, 0, 20, 4, 0)


def result(caption, *statuses):
    said = {"image": {"path": "p.jpg"}, "caption": caption, "phrases": [{"status": status} for status in statuses]}
    return {**said, "error": "why not"} if statuses == ("bad",) else said


ANSWERS = [
    Answer(22, 0, result("c", "bad"), "p"),
    Answer(21, 1, result("b", "localized", "absent"), "p"),
    Answer(21, 0, result("a \ud800", "localized"), "p"),
    Answer(24, 0, result("e"), "q"),
    Answer(23, 0, result("d", "bad"), ""),
]


@pytest.fixture
def storage(tmp_path):
    storage = Storage(str(tmp_path))
    write_part(storage, "run", PARTITION, ANSWERS)
    return storage


def table(storage, name):
    return parquet.read_table(storage.place(f"{name}/part-000003.parquet")).to_pylist()


def test_answers_are_in_the_order_of_the_rows_in_two_tables(storage):
    good = table(storage, "results")
    assert [(row["row"], row["caption_number"], row["phrases"], row["localized"]) for row in good] == [
        (21, 0, 1, 1),
        (21, 1, 2, 1),
        (24, 0, 0, 0),
    ]
    assert good[0]["caption"] == "a \\ud800"  # as results.jsonl has it
    assert json.loads(good[1]["result"]) == result("b", "localized", "absent")
    assert table(storage, "failed") == [
        {"row": row, "caption_number": 0, "image": "p.jpg", "caption": caption, "error": "why not"}
        for row, caption in ((22, "c"), (23, "d"))
    ]


def test_the_tally_counts_what_was_written(storage):
    assert read_tally(storage, "run", PARTITION) == Tally(4, 3, 2, 2, {"localized": 2, "absent": 1}, "why not")


def test_any_order_of_answers_gives_the_same_bytes(storage, tmp_path):
    other = Storage(str(tmp_path / "other"))
    write_part(other, "run", PARTITION, ANSWERS[::-1])
    for name in ("results", "failed"):
        assert storage.read(part_name(name, 3)) == other.read(part_name(name, 3))


def test_a_partition_of_nothing_has_two_tables_with_columns(tmp_path):
    storage = Storage(str(tmp_path))
    write_part(storage, "run", PARTITION, [])
    for name, last in (("results", "result"), ("failed", "error")):
        assert parquet.read_schema(storage.place(part_name(name, 3))).names[-1] == last


@pytest.mark.parametrize("name", ["results", "failed"])
@pytest.mark.parametrize(
    "harm",
    [
        lambda path: path.unlink(),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(path.read_bytes()[:-20]),
        lambda path: path.write_bytes(path.read_bytes()[: len(path.read_bytes()) // 2]),
        lambda path: parquet.write_table(parquet.read_table(path).slice(1), path),  # a row less
        lambda path: parquet.write_table(parquet.read_table(path).replace_schema_metadata({}), path),
    ],
    ids=["missing", "empty", "cut short", "half", "a row less", "no facts"],
)
def test_a_part_that_is_not_whole_is_not_done(storage, tmp_path, name, harm):
    harm(tmp_path / part_name(name, 3))
    assert read_tally(storage, "run", PARTITION) is None


@pytest.mark.parametrize(("run", "partition"), [("other", PARTITION), ("run", PARTITION._replace(rows=5))])
def test_a_part_of_another_run_is_not_done(storage, run, partition):
    assert read_tally(storage, run, partition) is None


def test_two_parts_that_do_not_belong_together_are_not_done(storage, tmp_path):
    other = Storage(str(tmp_path / "other"))
    write_part(other, "run", PARTITION, ANSWERS[:2])
    storage.write(part_name("failed", 3), other.read(part_name("failed", 3)))
    assert read_tally(storage, "run", PARTITION) is None


def test_tallies_add_up():
    total = Tally()
    total.add(Tally(4, 3, 0, 2, {"localized": 2}))
    total.add(Tally(4, 2, 2, 1, {"localized": 1, "absent": 1}, "the first"))
    total.add(Tally(1, 0, 1, 0, {}, "the second"))
    assert total.to_dict() == {
        "rows": 9,
        "results": 5,
        "failed": 3,
        "pictures": 3,
        "statuses": {"localized": 3, "absent": 1},
        "failure": "the first",
    }
