"""Clicks of ClickMe 2.0 as CSV: rows by hand, what is left out, and every error."""

import bz2
import gzip

import numpy as np
import pytest

from grounding.datasets.clickme_tables import is_clickme
from grounding.datasets.human_maps import Spread
from helpers.human_maps import cells_of, read
from helpers.labelled import refused

HEADER = "image_path,clicks,user_id\n"
LINE = [(x, 3) for x in range(11)]  # 11 clicks, the fewest that count


def write(tmp_path, *rows, name="clicks.csv", header=HEADER):
    """A table of rows (path, clicks, user); clicks as a list, or as the text that stands there."""
    path = tmp_path / name
    text = header + "".join(
        f'{image},"{str(clicks).replace(chr(34), chr(34) * 2)}",{user}\n' for image, clicks, user in rows
    )
    pack = {".gz": gzip.compress, ".bz2": bz2.compress}.get(path.suffix, bytes)
    path.write_bytes(pack(text.encode()))
    return path


@pytest.mark.parametrize(
    ("rows", "counts"),
    [
        ([], "it has no row"),
        ([("a", [], 1), ("a", "", 2), ("a", "[ ]", 3)], "rows without a click: 3"),
        (
            [("a", [(1, 1)], 1), ("a", LINE[:10], 2), ("b", [], 2)],
            "rows of at most 10 clicks: 2, rows without a click: 1",
        ),
    ],
    ids=["no row", "no click", "few"],
)
def test_no_map(tmp_path, rows, counts):
    path = write(tmp_path, *rows)
    assert f"{path} has no map of more than 10 clicks ({counts}): is it ClickMe's?" in refused(
        read, path, {"a": (64, 64)}
    )


def test_a_map_is_the_mean_of_binary_maps(tmp_path):
    # User 1 clicks 11 pixels, the first of them three times: 11 ones all the same. User 2 clicks 12, of which 11 are
    # the same. Of 23 ones 22 are twice there: 2/23 each, and 1/23.
    path = write(
        tmp_path, ("val/a.JPEG", [LINE[0], LINE[0], *LINE], 1), ("val/a.JPEG", [*LINE, (40, 50)], 2), ("b", LINE, 1)
    )
    found = read(path, {"val/a": (64, 64), "c": (64, 64)})
    expected = dict.fromkeys(LINE, 2 / 23) | {(40, 50): 1 / 23}
    assert set(found.maps) == {"val/a"}
    assert cells_of(found.maps["val/a"]) == pytest.approx(expected)
    assert found.left_out == {"maps of other pictures": 1}


def test_what_is_left_out(tmp_path):
    rows = [
        ("a", LINE, 1),
        ("a", [(x, 9) for x in range(12)], 1),  # the same participant again
        ("b", LINE, 1),
        ("a", LINE[:10], 2),  # one too few
        ("a", [], 3),
        ("a", [(5, 5)], 4),
    ]
    found = read(write(tmp_path, *rows), {"a": (64, 64)})
    assert cells_of(found.maps["a"]) == pytest.approx(dict.fromkeys(LINE, 1 / 11))
    assert found.left_out == {
        "rows of a participant who saw the picture before": 1,
        "rows of at most 10 clicks": 2,
        "rows without a click": 1,
        "maps of other pictures": 1,
    }


def test_the_first_75_clicks_count(tmp_path):
    clicks = [(place % 64, place // 64) for place in range(80)]
    found = read(write(tmp_path, ("a", clicks, 1)), {"a": (64, 64)})
    assert cells_of(found.maps["a"]) == pytest.approx(dict.fromkeys(clicks[:75], 1 / 75))


@pytest.mark.parametrize(
    "text",
    [
        str(LINE),
        str(tuple(LINE)),
        str([list(click) for click in LINE]),
        str([(x + 0.9, y + 0.5) for x, y in LINE]),  # pixel 3 reaches from 3 to 4
        '{"' + ",".join(f"({x},{y})" for x, y in LINE) + '"}',  # as the lab's files have it
        ",".join(f"({x},{y})" for x, y in LINE),
    ],
    ids=["list", "tuple", "lists", "fractions", "braces", "bare"],
)
@pytest.mark.parametrize("name", ["c.csv", "c.csv.gz", "C.CSV.BZ2"])
def test_ways_to_write_clicks(tmp_path, text, name):
    path = write(tmp_path, ("a", text, 1), name=name.lower() if name.startswith("c") else "c.csv.bz2")
    assert cells_of(read(path, {"a": (64, 64)}).maps["a"]) == pytest.approx(dict.fromkeys(LINE, 1 / 11))


def test_columns_in_any_order_and_a_mark_of_utf8(tmp_path):
    path = tmp_path / "c.csv"
    path.write_text(f'image_path,time,user_id, clicks \r\n\r\nü,9,1,"{LINE}"\r\n', encoding="utf-8-sig")
    assert cells_of(read(path, {"ü": (64, 64)}).maps["ü"]) == pytest.approx(dict.fromkeys(LINE, 1 / 11))


def test_clicks_on_the_far_edges_count_as_inside(tmp_path):
    path = write(tmp_path, ("a", [*LINE[:10], (64, 32)], 1))
    found = cells_of(read(path, {"a": (64, 32)}).maps["a"])  # cells are half a px high
    assert [found[63, y] for y in (62, 63)] == pytest.approx([1 / 22, 1 / 22])
    assert cells_of(read(path, {"a": (64, 64)}).maps["a"])[63, 32] == pytest.approx(1 / 11)


def test_clicks_are_spread(tmp_path):
    path = write(tmp_path, ("a", LINE, 1))
    plain, wide = (read(path, {"a": (64, 64)}, spread).maps["a"] for spread in (Spread("none"), Spread("discs", 0.1)))
    assert np.count_nonzero(plain) == 11
    assert np.count_nonzero(wide > 1e-9) > 100


@pytest.mark.parametrize("click", [(65, 1), (1, 33), (-1, 1), (1, -0.5)])
def test_a_click_outside(tmp_path, click):
    path = write(tmp_path, ("b", [*LINE, (99, 99)], 1), ("a", LINE, 1), ("a", [*LINE, click], 2))
    said = refused(read, path, {"a": (64, 32)})  # b is not asked for
    assert f"{path}, line 4: the click ({click[0]:g}, {click[1]:g}) is outside of a, which has 64 x 32 px" in said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[(1, 2)", "line 3: clicks are '[(1, 2)': expected [(x, y), (x, y), ...] in px"),
        ("[(1, 2, 3)]", "line 3: clicks are '[(1, 2, 3)]'"),
        ("[1, 2]", "line 3: clicks are '[1, 2]'"),
        ("[('a', 1)]", "line 3: clicks are"),
        ("[(1e999, 1)]", "line 3: clicks are"),
        ("5", "line 3: clicks are '5'"),
        ("__import__('os').abort()", "line 3: clicks are"),
        ("(" * 3000, "line 3: clicks are"),
    ],
    ids=["cut", "three", "flat", "text", "infinite", "number", "code", "deep"],
)
def test_damaged_clicks(tmp_path, text, said):
    path = write(tmp_path, ("b", LINE, 1), ("a", text, 2))
    assert said in refused(read, path, {"b": (64, 64)})


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"image_path,clicks\na,[]\n", "c.csv has no column user_id: expected image_path, clicks, user_id"),
        (f'{HEADER}a,"{LINE}",1\na,2\n'.encode(), "c.csv, line 3: 'a,2' is no row of image_path, clicks, user_id"),
        (f'{HEADER}a,"{LINE}",1,9\n'.encode(), "c.csv, line 2: "),
        (f'{HEADER},"{LINE}",1\n'.encode(), "c.csv, line 2: "),
        (f'{HEADER}a,"{LINE}",1\na,"[(1,'.encode(), "c.csv, line 3: unexpected end of data: is the file whole?"),
        (f"{HEADER}a,\xff,1\n".encode("latin-1"), "c.csv cannot be read ("),
        (gzip.compress((HEADER + "a,[],1\n" * 999).encode())[:-12], "c.csv cannot be read ("),
    ],
    ids=["no user", "few values", "more values", "no path", "quote", "latin", "gzip"],
)
def test_damaged_files(tmp_path, content, said):
    (tmp_path / "c.csv").write_bytes(content)
    assert said in refused(read, tmp_path / "c.csv", {"a": (64, 64)})


def test_what_is_clickme(tmp_path):
    assert is_clickme(write(tmp_path))
    for content in (b"", b"1,7,64,64,1,1,60\n", b"image_path,user_id\n", b"\xff\xfe\n", gzip.compress(b"")[:5]):
        (tmp_path / "other.csv").write_bytes(content)
        assert not is_clickme(tmp_path / "other.csv")
