"""CSV and its kin: which delimiter, which rows, and what a damaged row costs."""

import csv
import re

import pytest

from grounding.datasets.columns import TableOptions
from grounding.datasets.places import Spool
from grounding.datasets.tables import read_table
from helpers.captioned import refused

DAMAGED = object()


def rows(path, content, **options):
    """(image, caption) of each row, DAMAGED for one that is."""
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    found = read_table(path, TableOptions(**options), Spool())
    return [DAMAGED if row.fault == "damaged row" else (row.image, *row.captions) for row in found]


@pytest.mark.parametrize("name", ["t.csv", "T.CSV", "t.tsv", "t.TXT"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize(
    "names", ["image{0}caption", "caption{0}image", "n{0}Image{0}size{0}CAPTION", "{0}image{0}caption"]
)
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_the_delimiter_is_told_from_the_names(name, delimiter, names, end, tmp_path):
    header = names.format(delimiter)
    others = [each for each in ",;\t" if each != delimiter]
    values = {"image": "p.png", "caption": f"a man{others[0]} a hat{others[1]} x{others[0]}"}
    row = delimiter.join(values.get(each.strip().lower(), "7") for each in header.split(delimiter))
    assert rows(tmp_path / name, header + end + row + end) == [("p.png", values["caption"])]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ('image,caption\np,"a man\nwith ""a"" hat"\nq,b\n', [("p", 'a man\nwith "a" hat'), ("q", "b")]),
        ('image,caption\np,"a man\r\nwith a hat"\r\n', [("p", "a man\r\nwith a hat")]),
        (" image , caption \np , a man \n", [("p", "a man ")]),
        ('"image", "caption"\n"p", "a man, a hat"\n', [("p", "a man, a hat")]),
        ("image,caption\np,  as it is \n", [("p", "  as it is ")]),
        ("sep=;\nimage;caption\np;a,b\n", [("p", "a,b")]),
        ("\n \nimage,caption\n\np,a\n,\n , \nq,b", [("p", "a"), ("q", "b")]),
        ("image,caption\np,a\n" * 2, [("p", "a"), ("image", "caption"), ("p", "a")]),
        ("image;caption;a,b\np;c;1,2\n", [("p", "c")]),
        ("image,caption,,\np,c,,\n", [("p", "c")]),
        ("Ünïcode,image,caption\n1,p ä.png,ねこ\n", [("p ä.png", "ねこ")]),
        ("image,caption,Caption\np,a,b\n", [("p", "a")]),  # exactly this name
        # lists as JSON and Python write them
        ('image;caption\np;["a", "b\'s"]\n', [("p", "a", "b's")]),
        ('image,caption\np,"[""a man"",""a hat""]"\n', [("p", "a man", "a hat")]),
        ("image,caption\np,\"['a', 'b']\"\n", [("p", "a", "b")]),
        ('image,caption\np,"[\'a\', ""b\'s""]"\n', [("p", "a", "b's")]),
        ("image,caption\np,['a' 'b']\nq,['\\d'\nr,[a man]\ns,['a']!\nt,[]\n", None),
        ("image;caption\np;['a', 5]\n", None),
        # damaged rows
        ("image,caption\np,a,b\nq,b\n", [DAMAGED, ("q", "b")]),
        ("image;caption\np;a;b\nq;b\n", [DAMAGED, ("q", "b")]),
        ("image\tcaption\np\ta\tb\nq\tb\n", [DAMAGED, ("q", "b")]),
        ("image,caption\np,a,\nq,b\n", [DAMAGED, ("q", "b")]),
        ('image,caption\np,"a\nq,b\nr,"c"\n', [DAMAGED, ("q", "b"), ("r", "c")]),
        ('image,caption\np,"a\nq,"b\nr,c\n', [DAMAGED, DAMAGED, ("r", "c")]),
        ('image,caption\np,"a"b\nq,b\n', [DAMAGED, ("q", "b")]),
        ("image,caption\np," + "x" * 200_000 + "\nq,b\n", [DAMAGED, ("q", "b")]),
        # a TSV often does not quote
        ('image\tcaption\np\t"Stop" says a sign\nq\t"b"\n', [("p", '"Stop" says a sign'), ("q", "b")]),
        ('image\tcaption\np\t"no end\nq\tb\n', [("p", '"no end'), ("q", "b")]),
    ],
)
def test_rows(content, expected, tmp_path):
    unchanged = [tuple(re.split("[,;]", line, maxsplit=1)) for line in content.splitlines()[1:]]
    assert rows(tmp_path / "t.csv", content) == (expected or unchanged)


def test_a_quote_that_is_not_closed_costs_its_row_in_a_long_table_too(tmp_path):
    content = 'image,caption\np,"a man\n' + "".join(f"{number},b\n" for number in range(5000))
    found = rows(tmp_path / "t.csv", content)
    assert found == [DAMAGED, *((str(number), "b") for number in range(5000))]
    numbers = [row.number for row in read_table(tmp_path / "t.csv", TableOptions(), Spool())]
    assert numbers == list(range(2, 5003))


def test_a_quote_far_below_does_not_close_it(tmp_path):
    between = [(str(number), "b") for number in range(150)]
    content = "".join(f"{name},{caption}\n" for name, caption in between)
    found = rows(tmp_path / "t.csv", f'image,caption\np,"a man\n{content}z,27"\n')
    assert found == [DAMAGED, *between, ("z", '27"')]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("\ufeffimage,caption\np,ä\n".encode(), ("p", "ä")),
        ("image,caption\np,ä\n".encode("utf-16"), ("p", "ä")),
        ("\ufeffimage,caption\np,ä\n".encode("utf-16-be"), ("p", "ä")),
    ],
)
def test_marks_of_the_encoding(content, expected, tmp_path):
    assert rows(tmp_path / "t.csv", content) == [expected]


@pytest.mark.parametrize(
    ("delimiter", "given"),
    [("|", "|"), ("\t", "tab"), ("\t", "\\t"), ("\t", "\t"), (",", "comma"), ("|", "pipe"), (":", ":"), (" ", " ")],
)
def test_a_delimiter_that_is_named(delimiter, given, tmp_path):
    content = f"image{delimiter}caption\np{delimiter}a;b\n"
    assert rows(tmp_path / "t.csv", content, delimiter=given) == [("p", "a;b")]


def test_the_table_of_captions_that_kaggle_has_of_flickr30k(tmp_path):
    content = "image_name| comment_number| comment\n1.jpg| 0| Two young guys , outside .\n"
    options = {"delimiter": "|", "image_column": "image_name", "caption_column": "comment"}
    assert rows(tmp_path / "results.csv", content, **options) == [("1.jpg", "Two young guys , outside .")]


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        ("image\np\n", {}, "the delimiter of {} cannot be told from its first line, 'image'"),
        ("image caption\np a\n", {}, "expected names such as image and caption with ',', ';' or a tab between them"),
        ("image|caption\np|a\n", {}, "--delimiter (of a training data.delimiter) names another"),
        ("pic,capt;x\np,a\n", {}, "cannot be told"),
        ("image,caption\np,a\n", {"delimiter": "ab"}, "the delimiter is 'ab': expected one character, or tab"),
        ("image,caption\np,a\n", {"delimiter": '"'}, "expected one character, or tab"),
        ("image,caption\np,a\n".encode("utf-16-le"), {}, "no text that can be read: save it as UTF-8"),
        (b"PK\x03\x04\0\0\0", {}, "no text that can be read: save it as UTF-8"),
        ("image,caption\np,ä\n".encode("utf-16")[:-1], {}, "no text that can be read"),
        ("image,caption,caption\np,a,b\n", {}, "{} has 2 columns 'caption': expected one"),
        ("image,Caption, caption \np,a,b\n", {}, "{} has 2 columns 'caption': expected one"),
        ("image,image,caption\np,a,b\n", {}, "{} has 2 columns 'image': expected one"),
    ],
)
def test_tables_that_cannot_be_read(content, options, message, tmp_path):
    assert message.format(tmp_path / "t.csv") in refused(rows, tmp_path / "t.csv", content, **options)


def test_what_the_library_writes_is_read(tmp_path):
    texts = ['a "b" c', "a,b;c\td", "a\nb", "", " x ", '"', "é\u2028ü", "=1+1"]
    for delimiter in (",", ";", "\t"):
        with (tmp_path / "t.csv").open("w", newline="") as file:
            csv.writer(file, delimiter=delimiter).writerows([("image", "caption"), *(("p", text) for text in texts)])
        assert rows(tmp_path / "t.csv", (tmp_path / "t.csv").read_bytes()) == [("p", text) for text in texts]
