"""Where the parts of a data set lie, and the lines of its lists."""

import pytest

from grounding.datasets.files import Files
from grounding.datasets.layout import find_base, keyed, listed, rows, text, value_of
from helpers.labelled import refused, tarred, write


def test_no_names_are_nothing_and_many_are_cut():
    assert listed([]) == "nothing"
    assert listed("abcdefgh") == "a, b, c, d, e, f, g, h"
    assert listed("abcdefghi") == "a, b, c, d, e, f, g, h, ..."


def test_the_first_base_that_holds_what_is_needed(tmp_path):
    root = write(tmp_path / "d", {"two/part/a.txt": "", "three/part/b.txt": "", "three/list.txt": ""})
    files = Files(root)
    bases = ("", "one/", "two/", "three/")
    assert find_base(files, bases, "part", "it") == "two/"
    assert find_base(files, bases, "list.txt", "it") == "three/"
    assert find_base(Files(root / "two"), bases, "part", "it") == ""


def test_the_place_one_folder_off_is_named(tmp_path):
    root = write(tmp_path / "d", {"part/a.txt": "", "other/x/y/z.txt": ""})
    bases = ("", "d/")

    def found(place):
        return refused(find_base, Files(place), bases, "part", "the layout")

    assert found(root / "part") == f"{root / 'part'} has no part: expected the layout; did you mean {root}?"
    assert found(root / "other/x").endswith(f"did you mean {root}?")  # two above
    assert found(root / "other/x/y").endswith("; it holds z.txt")
    assert found(tarred(root / "other", tmp_path / "a.tar")).endswith(f"did you mean {tmp_path}?")
    away = write(tmp_path / "1/2/3", {"z.txt": ""})
    assert found(tarred(away, away / "a.tar")).endswith("has no part: expected the layout")
    above = write(tmp_path / "4/5/6", {"d/part/a.txt": ""}).parent
    assert found(above).endswith(f"did you mean {above / '6'}?")


def test_a_folder_that_may_not_be_looked_into_gives_no_advice(tmp_path, monkeypatch):
    root = write(tmp_path / "d", {"a.txt": ""})

    def refuse(_):
        raise PermissionError("not allowed")

    monkeypatch.setattr("pathlib.Path.iterdir", refuse)
    assert refused(find_base, Files(root), ("",), "part", "it") == f"{root} has no part: expected it"


def test_rows_are_numbered_and_blank_lines_left_out(tmp_path):
    files = Files(write(tmp_path, {"empty.txt": "", "a.txt": "\ufeff1  x\r\n\n \n2\ty\n", "b.csv": "a b, 1\nc,2"}))
    assert list(rows(files, "empty.txt", "id name")) == []
    assert [(row.line, row.values) for row in rows(files, "a.txt", "id name")] == [(1, ["1", "x"]), (4, ["2", "y"])]
    assert [row.values for row in rows(files, "b.csv", "path,label", ",")] == [["a b", "1"], ["c", "2"]]


@pytest.mark.parametrize("line", ["1", "1 2 3", "only"])
def test_a_line_of_another_form_is_named(tmp_path, line):
    files = Files(write(tmp_path, {"a.txt": f"1 x\n{line}\n"}))
    said = refused(list, rows(files, "a.txt", "id name"))
    assert said == f"{tmp_path}: a.txt, line 2: '{line}' is not of the form 'id name'"


def test_an_empty_value_and_a_very_long_line(tmp_path):
    files = Files(write(tmp_path, {"a.csv": "a,\n", "b.csv": "x" * 1000}))
    assert "line 1: 'a,' is not of the form 'path,label'" in refused(list, rows(files, "a.csv", "path,label", ","))
    assert len(refused(list, rows(files, "b.csv", "path,label", ","))) < 200 + len(str(tmp_path))


def test_rows_by_their_first_value(tmp_path):
    files = Files(write(tmp_path, {"a.txt": "2 x\n1 y\n", "b.txt": "2 x\n1 y\n\n2 z\n"}))
    table = keyed(rows(files, "a.txt", "id name"))
    assert {key: row.values[1] for key, row in table.items()} == {"2": "x", "1": "y"}
    assert value_of(table, "1", files, "a.txt").line == 2
    assert refused(value_of, table, "3", files, "a.txt") == f"{tmp_path}: a.txt has no line for 3: is the copy whole?"
    said = refused(keyed, rows(files, "b.txt", "id name"))
    assert said == f"{tmp_path}: b.txt, line 4: 2 stands in line 1 already: expected it once"


def test_text_that_is_missing_or_no_utf_8(tmp_path):
    files = Files(write(tmp_path, {"a.txt": b"caf\xe9"}))
    assert "a.txt is not UTF-8 text (" in refused(text, files, "a.txt")
    assert "has no b.txt: is the copy whole?" in refused(text, files, "b.txt")
