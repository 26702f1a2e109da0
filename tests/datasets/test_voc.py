"""PASCAL VOC: a tiny data set in its layout, worked by hand, and broken copies of it."""

import pytest

from grounding.datasets.voc import CLASSES, read_voc
from helpers.labelled import facts, picture, refused, tarred, write, zipped

VOC = "VOCdevkit/VOC2007"


def xml(width, height, *objects):
    """An annotation of objects (name, xmin, ymin, xmax, ymax, difficult)."""
    things = "".join(
        f"<object>\n<name>{name}</name><difficult>{difficult}</difficult>\n"
        f"<part><name>head</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></bndbox></part>\n"
        f"<bndbox><xmax>{x1}</xmax><xmin>{x0}</xmin><ymax>{y1}</ymax><ymin>{y0}</ymin></bndbox>\n</object>\n"
        for name, x0, y0, x1, y1, difficult in objects
    )
    return f"<annotation>\n<size><width>{width}</width><height>{height}</height></size>\n{things}</annotation>\n"


FILES = {
    f"{VOC}/ImageSets/Main/test.txt": "000002\n000001\n000003\n000004\n",
    f"{VOC}/ImageSets/Main/train.txt": "000005\n",
    f"{VOC}/ImageSets/Main/dog_train.txt": "000005  1\n",
    f"{VOC}/Annotations/000001.xml": xml(
        40,
        30,
        ("person", 1, 1, 40, 30, 0),
        ("dog", 11, 6, 20, 15, 0),
        ("person", 5, 5, 5, 5, 0),
        ("cat", 1, 1, 9, 9, 1),
    ),
    f"{VOC}/Annotations/000002.xml": xml(20, 10, ("dog", 3, 2, 21, 10, 0), ("dog", 2, 2, 4, 4, 1)),
    f"{VOC}/Annotations/000003.xml": xml(20, 10, ("dog", 3, 2, 10, 10, 1)),  # only a difficult one
    f"{VOC}/Annotations/000004.xml": xml(20, 10),  # nothing
    f"{VOC}/Annotations/000005.xml": xml(20, 10, ("sofa", 45.7, 2, 46, 4, 0), ("sofa", 1.5, 2, 10.25, 4, 0)),
    f"{VOC}/JPEGImages/000001.jpg": picture(40, 30),
    f"{VOC}/JPEGImages/000002.jpg": picture(20, 10),
    f"{VOC}/JPEGImages/000005.jpg": picture(20, 10),
}
# xmin - 1, ymin - 1, xmax, ymax; 21 is beyond the width of 20 and clipped; classes in the order of VOC: dog, person.
TEST = [
    ("000002", 20, 10, [("dog", [[2, 1, 20, 10]], None)]),
    ("000001", 40, 30, [("dog", [[10, 5, 20, 15]], None), ("person", [[0, 0, 40, 30], [4, 4, 5, 5]], None)]),
]


@pytest.fixture
def root(tmp_path):
    return write(tmp_path / "data", FILES)


def test_what_is_read(root):
    data = read_voc(root)
    assert facts(data) == TEST
    assert (data.name, data.classes) == ("VOC07 test", CLASSES)
    assert len(CLASSES) == 20
    assert list(CLASSES) == sorted(CLASSES)
    assert data.left_out == {
        "difficult objects": 3,
        "pictures without objects": 2,
        "boxes reaching outside, clipped": 1,
    }
    assert data.read("000001") == FILES[f"{VOC}/JPEGImages/000001.jpg"]
    assert "no image '9'" in refused(data.read, "9")
    assert [path.relative_to(root / VOC).as_posix() for path in data.sources] == [
        "Annotations",
        "ImageSets/Main/test.txt",
        "JPEGImages",
    ]


def test_another_split_with_edges_that_are_no_whole_numbers(root):
    data = read_voc(root, "train")
    assert facts(data) == [("000005", 20, 10, [("sofa", [[0.5, 1, 10.25, 4]], None)])]
    assert data.left_out == {"boxes with nothing inside the picture": 1}
    assert data.name == "VOC07 train"


def test_every_place_and_packing_reads_the_same(root, tmp_path):
    places = [
        root / "VOCdevkit",
        root / VOC,
        tarred(root, tmp_path / "a.tar"),
        tarred(root / VOC, tmp_path / "b.tar"),
        zipped(root, tmp_path / "c.zip"),
        zipped(root / VOC, tmp_path / "d.zip", "VOC2007/"),
    ]
    for place in places:
        data = read_voc(place)
        assert facts(data) == TEST, place
        assert data.read("000002") == FILES[f"{VOC}/JPEGImages/000002.jpg"]
    assert read_voc(places[2]).sources == (places[2],)


def test_another_year(root):
    (root / VOC).rename(root / "VOCdevkit/VOC2012")
    assert read_voc(root, year="2012").name == "VOC12 test"
    message = refused(read_voc, root)
    assert "has no ImageSets/Main: expected VOC2007/{Annotations,ImageSets,JPEGImages}" in message


@pytest.mark.parametrize("given", [f"{VOC}/Annotations", f"{VOC}/ImageSets", f"{VOC}/ImageSets/Main"])
def test_a_root_that_lies_too_deep(root, given):
    message = refused(read_voc, root / given)
    assert message.endswith(f"did you mean {root / VOC}?")


def test_a_root_that_is_one_too_high(root):
    message = refused(read_voc, root.parent)
    assert message.endswith(f"did you mean {root}?")


def test_a_root_that_is_something_else(tmp_path):
    write(tmp_path / "a" / "b" / "c", {"notes.txt": "", "more/x.txt": ""})
    message = refused(read_voc, tmp_path / "a" / "b" / "c")
    assert message.endswith("; it holds more, notes.txt")
    (tmp_path / "a" / "b" / "c" / "empty").mkdir()
    assert refused(read_voc, tmp_path / "a" / "b" / "c" / "empty").endswith("; it holds nothing")
    assert "nowhere does not exist" in refused(read_voc, tmp_path / "nowhere")


def test_a_split_that_is_not_there_names_those_that_are(root):
    message = refused(read_voc, root, "val")
    assert message.endswith("has no VOCdevkit/VOC2007/ImageSets/Main/val.txt: expected a split of test, train")


def annotation(name):
    return f"{VOC}/Annotations/{name}.xml"


@pytest.mark.parametrize(
    ("name", "old", "new", "said"),
    [
        (f"{VOC}/ImageSets/Main/test.txt", "000003", "000001", "Main/test.txt, line 3: 000001 stands in line 2 alr"),
        (f"{VOC}/ImageSets/Main/test.txt", "000003", "000003 1", "test.txt, line 3: '000003 1' is not of the form 'im"),
        (f"{VOC}/ImageSets/Main/test.txt", "000003", "000009", "has no VOCdevkit/VOC2007/Annotations/000009.xml: is t"),
        (annotation("000002"), "</size>", "</siz>", "000002.xml, line 2: broken XML"),
        (annotation("000002"), "</annotation>", "", "broken XML"),
        (annotation("000002"), "<width>20<", "<width>0<", "000002.xml: size: the size is 0 x 10: expected whole num"),
        (annotation("000002"), "<width>20</width>", "", "000002.xml: size has no size/width"),
        (annotation("000002"), "<xmin>3<", "<xmin>three<", "000002.xml: object 1: 'three' is no number"),
        (annotation("000002"), "<xmin>3<", "<xmin>nan<", "000002.xml: object 1: 'nan' is no number"),
        (annotation("000002"), "<xmax>21</xmax>", "", "000002.xml: object 1 has no bndbox/xmax"),
        (annotation("000001"), "<name>cat</name>", "<name>cta</name>", "000001.xml: class 'cta' is not known: did y"),
        (annotation("000001"), "<name>cat</name>", "<name> </name>", "000001.xml: object 4 has no name"),
    ],
)  # fmt: skip
def test_a_broken_file_is_named(root, name, old, new, said):
    text = FILES[name]
    assert text.count(old) == 1
    (root / name).write_text(text.replace(old, new))
    assert said in refused(read_voc, root)


def test_pictures_missing_from_the_disk(root):
    (root / VOC / "JPEGImages/000001.jpg").unlink()
    message = refused(read_voc, root)
    assert "has no VOCdevkit/VOC2007/JPEGImages/000001.jpg (1 of 2 pictures are missing): is the copy whole?" in message


def test_lists_without_pictures_or_without_objects(root):
    path = root / VOC / "ImageSets/Main/test.txt"
    for content in ("", "\n\n", "000003\n000004\n"):
        path.write_text(content)
        assert "has no picture with an object that counts" in refused(read_voc, root)
    path.write_bytes(b"caf\xe9")
    assert "test.txt is not UTF-8 text" in refused(read_voc, root)


def test_windows_line_ends_and_a_byte_order_mark(root):
    path = root / VOC / "ImageSets/Main/test.txt"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert facts(read_voc(root)) == TEST


def test_a_list_that_points_out_of_the_folder(root):
    write(root / VOC, {"ImageSets/Main/test.txt": "../../secret\n"})
    write(root, {"VOCdevkit/secret.xml": xml(20, 10, ("dog", 3, 2, 10, 10, 0))})
    assert "has no VOCdevkit/VOC2007/Annotations/../../secret.xml" in refused(read_voc, root)
