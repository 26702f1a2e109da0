"""TFRecord and tf.train.Example: against a writer that follows the formats, and published checksums."""

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grounding.datasets.tfrecords import Record, read_example, read_records
from helpers.labelled import refused
from helpers.tfrecord_files import crc32c, example, field, framed, varint


def contents(path):
    return [record.content for record in read_records(path)]


def parsed(content):
    return read_example(Record(3, "f, record 3", content))


def test_the_checksum_of_the_tests_is_that_of_the_standard():
    assert crc32c(b"123456789") == 0xE3069283  # the check value of CRC-32C
    assert crc32c(bytes(32)) == 0x8A9136AA  # RFC 3720, B.4
    assert crc32c(b"\xff" * 32) == 0x62A8AB43


def test_an_empty_file(tmp_path):
    (tmp_path / "f").write_bytes(b"")
    assert f"{tmp_path / 'f'} is empty: expected TFRecord" in refused(contents, tmp_path / "f")


@given(st.lists(st.binary(max_size=40), min_size=1, max_size=4))
def test_records(tmp_path_factory, records):
    path = tmp_path_factory.getbasetemp() / "f"
    path.write_bytes(framed(*records))
    assert contents(path) == records


def test_records_have_numbers(tmp_path):
    (tmp_path / "f").write_bytes(framed(b"a", b"", b"bc"))
    assert [(record.number, record.where) for record in read_records(tmp_path / "f")] == [
        (number, f"{tmp_path / 'f'}, record {number}") for number in (1, 2, 3)
    ]


FILE = framed(b"first", b"the second")  # 12 + 5 + 4 = 21 bytes, and 26


@pytest.mark.parametrize("length", range(1, len(FILE)))
def test_a_file_cut_short(tmp_path, length):
    (tmp_path / "f").write_bytes(FILE[:length])
    if length == 21:
        assert contents(tmp_path / "f") == [b"first"]  # nothing says how many records there should be
        return
    said = refused(contents, tmp_path / "f")
    assert f"f, record {1 if length < 21 else 2} is cut short" in said


@pytest.mark.parametrize("place", range(len(FILE)))
def test_a_byte_that_is_not_as_it_was(tmp_path, place):
    (tmp_path / "f").write_bytes(FILE[:place] + bytes([FILE[place] ^ 4]) + FILE[place + 1 :])
    said = refused(contents, tmp_path / "f")
    if place < 12:
        assert "f is no TFRecord (a wrong checksum): expected TFRecord, not compressed" in said
    elif 21 <= place < 33:
        assert "f is damaged in record 2 (a wrong checksum)" in said
    else:
        assert f"f, record {1 if place < 21 else 2} is damaged (a wrong checksum)" in said


def test_records_before_the_damage_are_given(tmp_path):
    (tmp_path / "f").write_bytes(FILE[:-1])
    records = read_records(tmp_path / "f")
    assert next(records).content == b"first"


def test_other_files(tmp_path):
    assert "cannot be read (" in refused(contents, tmp_path / "none")
    assert "cannot be read (" in refused(contents, tmp_path)
    (tmp_path / "f").write_bytes(b"this is a text, and no TFRecord")
    assert "is no TFRecord" in refused(contents, tmp_path / "f")


def test_without_the_checksums(tmp_path, monkeypatch):
    (tmp_path / "f").write_bytes(FILE)
    monkeypatch.setitem(sys.modules, "google_crc32c", None)
    assert "needs google-crc32c: install it with pip install 'grounding[human-maps]'" in refused(
        contents, tmp_path / "f"
    )


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize(
    "features",
    [
        {},
        {"a": [b"x"]},
        {"a": [b""]},
        {"a": [b"x", b"y" * 300]},
        {"n": [0]},
        {"n": [1, 127, 128, 300, 2**31, 2**63 - 1, -1, -(2**63)]},
        {"image": [bytes(range(256))], "label": [7], "é": [b"z"]},
    ],
    ids=["empty", "bytes", "no bytes", "two", "zero", "numbers", "several"],
)
def test_examples(features, packed):
    assert parsed(example(packed, **features)) == features


@given(
    st.dictionaries(st.text(max_size=5), st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=5), max_size=4)
)
def test_any_numbers(features):
    entries = b""
    for name, values in features.items():
        numbers = field(1, b"".join(map(varint, values)))
        entries += field(1, field(1, name.encode()) + field(2, field(3, numbers)))
    assert parsed(field(1, entries)) == features


def test_what_is_not_needed_is_passed_over():
    content = example(score=0.5, label=3)
    unknown = (
        varint(9 * 8) + varint(5) + varint(10 * 8 + 1) + bytes(8) + varint(11 * 8 + 5) + bytes(4) + field(12, b"x")
    )
    assert parsed(unknown + content + unknown) == {"label": [3]}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"\x0a", "a number is cut short"),
        (b"\x0a\x05abc", "field 1 is cut short"),
        (b"\x80" * 11, "a number is too long"),
        (b"\x0b", "field 1 is of kind 3"),
        (b"\x09abc", "field 1 is cut short"),
        (field(1, field(1, field(1, b"\xff") + field(2, field(3, field(1, b"\x01"))))), "codec can't decode"),
    ],
    ids=["tag", "bytes", "long", "kind", "fixed", "name"],
)
def test_what_is_no_example(content, reason):
    said = refused(parsed, content)
    assert "f, record 3 is no tf.train.Example (" in said
    assert reason in said
