"""ImageNet localization: XML files and lists in their layouts, worked by hand, and broken copies of them."""

import pytest

from grounding.datasets.imagenet import read_imagenet
from helpers.labelled import facts, picture, refused, tarred, write, zipped


def xml(width, height, *objects):
    things = "".join(
        f"<object><name>{name}</name><bndbox><xmin>{x0}</xmin><ymin>{y0}</ymin><xmax>{x1}</xmax><ymax>{y1}</ymax>"
        "</bndbox></object>\n"
        for name, x0, y0, x1, y1 in objects
    )
    return f"<annotation>\n<size><width>{width}</width><height>{height}</height></size>\n{things}</annotation>\n"


XML = {
    "v_1": xml(50, 40, ("n02007558", 0, 0, 49, 39), ("n02007558", 10, 20, 10, 29)),
    "v_2": xml(30, 20, ("n01440764", 5, 5, 30, 19)),  # one px beyond the right edge: 31 of 30
    "v_3": xml(30, 20),
}
PICTURES = {"v_1": picture(50, 40), "v_2": picture(30, 20), "v_3": picture(30, 20), "v_4": picture(9, 9)}
# Corners from 0, inclusive: x1 + 1 and y1 + 1.
FROM_XML = [
    ("v_1", 50, 40, [("n02007558", [[0, 0, 50, 40], [10, 20, 11, 30]], None)]),
    ("v_2", 30, 20, [("n01440764", [[5, 5, 30, 20]], None)]),
]
LAYOUTS = {  # where the XML files and the pictures are
    "official": ("ILSVRC/Annotations/CLS-LOC/val", "ILSVRC/Data/CLS-LOC/val"),
    "inside": ("Annotations/CLS-LOC/val", "Data/CLS-LOC/val"),
    "short": ("Annotations/val", "Data/val"),
    "one folder": ("val", "val"),
    "side by side": ("Annotations/val", "val"),
    "by class": ("ILSVRC/Annotations/CLS-LOC/val", "ILSVRC/Data/CLS-LOC/val/n01440764"),
}


def write_xml(folder, layout):
    annotations, pictures = LAYOUTS[layout]
    files = {f"{annotations}/{name}.xml": text for name, text in XML.items()}
    return write(folder, files | {f"{pictures}/{name}.JPEG": content for name, content in PICTURES.items()})


@pytest.mark.parametrize("layout", LAYOUTS)
def test_xml_files_in_every_layout(tmp_path, layout):
    root = write_xml(tmp_path / "imagenet", layout)
    for place in (root, tarred(root, tmp_path / "a.tar"), zipped(root, tmp_path / "b.zip")):
        data = read_imagenet(place)
        assert facts(data) == FROM_XML
        assert (data.name, data.classes) == ("ImageNet val", ("n01440764", "n02007558"))
        assert data.left_out == {"pictures without objects": 1, "boxes reaching outside, clipped": 1}
        assert data.read("v_2") == PICTURES["v_2"]
    assert data.sources == (tmp_path / "b.zip",)
    annotations, pictures = LAYOUTS[layout]
    expected = dict.fromkeys((root / annotations, root / pictures.removesuffix("/n01440764")))
    assert read_imagenet(root).sources == tuple(expected)


def test_all_1000_classes_are_in_the_order_of_the_outputs(tmp_path):
    names = [f"n{number:08}" for number in range(1_000_000, 1_001_000)]
    files = {f"val/{n}.xml": xml(9, 9, (name, 1, 1, 2, 2)) for n, name in enumerate(reversed(names))}
    root = write(tmp_path, files | {f"val/{n}.JPEG": b"" for n in range(1000)})
    assert read_imagenet(root).classes == tuple(names)


def test_broken_xml_files(tmp_path):
    root = write_xml(tmp_path, "official")
    path = root / "ILSVRC/Annotations/CLS-LOC/val/v_2.xml"
    for old, new, said in (
        ("</size>", "</siz>", "v_2.xml, line 2: broken XML"),
        ("<xmin>5<", "<xmin><", "v_2.xml: object 1 has no bndbox/xmin"),
        ("<xmax>30<", "<xmax>3O<", "v_2.xml: object 1: '3O' is no number"),
        ("<width>30<", "<width>-30<", "v_2.xml: size: the size is -30 x 20"),
    ):
        path.write_text(XML["v_2"].replace(old, new))
        assert said in refused(read_imagenet, root)
    write(root, {"ILSVRC/Annotations/CLS-LOC/val/again/v_1.xml": XML["v_1"]})
    assert "has two files v_1.xml: expected one a picture" in refused(read_imagenet, root)


def test_pictures_missing_from_the_disk(tmp_path):
    root = write_xml(tmp_path, "official")
    folder = root / "ILSVRC/Data/CLS-LOC/val"
    (folder / "v_1.JPEG").unlink()
    message = refused(read_imagenet, root)
    assert "has no ILSVRC/Data/CLS-LOC/val/v_1.JPEG (1 of 2 pictures are missing): is the copy whole?" in message
    for file in folder.iterdir():
        file.unlink()
    assert "(2 of 2 pictures are missing)" in refused(read_imagenet, root)


@pytest.mark.parametrize("lists", [False, True], ids=["XML files", "lists"])
def test_a_split_that_is_not_there_names_those_that_are(tmp_path, lists):
    root = write_lists(tmp_path) if lists else write_xml(tmp_path, "official")
    message = refused(read_imagenet, root, "train")
    assert "has no annotations of the split 'train': " in message
    assert message.endswith(f"; it has the splits {'test' if lists else 'val'}")


def test_a_root_one_folder_off(tmp_path):
    root = write_xml(tmp_path / "a/b", "official")
    assert refused(read_imagenet, tmp_path / "a").endswith(f"; did you mean {root}?")
    assert refused(read_imagenet, root / "ILSVRC/Data").endswith(f"; did you mean {root / 'ILSVRC'}?")
    listed = write_lists(tmp_path / "c/d")
    assert refused(read_imagenet, listed / "dataset").endswith(f"; did you mean {listed}?")


@pytest.mark.parametrize("name", [None, "val/a.JPEG", "ILSVRC/Data/CLS-LOC/val/a.JPEG"])
def test_a_root_without_annotations(tmp_path, name):
    (tmp_path / "a/b/c").mkdir(parents=True)
    message = refused(read_imagenet, write(tmp_path / "a/b/c", {name: b""} if name else {}))
    assert "has no annotations of the split 'val': expected ILSVRC/Annotations/CLS-LOC/val with " in message
    assert "image_ids.txt, class_labels.txt, localization.txt and image_sizes.txt" in message


def test_xml_files_without_objects(tmp_path):
    root = write(tmp_path, {"val/a.xml": xml(9, 9), "val/a.JPEG": b""})
    assert "has no picture with an object that counts" in refused(read_imagenet, root)


LISTS = {
    "image_ids.txt": "val/v_2.JPEG\nval/v_1.JPEG\nval/v_3.JPEG\n",
    "class_labels.txt": "val/v_1.JPEG,999\nval/v_2.JPEG,0\nval/v_3.JPEG,7\n",
    "image_sizes.txt": "val/v_1.JPEG,50,40\nval/v_2.JPEG,30,20\nval/v_3.JPEG,30,20\n",
    "localization.txt": "val/v_1.JPEG,0,0,49,39\nval/v_2.JPEG,5,5,30,19\nval/v_1.JPEG,10,20,10,29\n",
}
FROM_LISTS = [
    ("val/v_2.JPEG", 30, 20, [("0", [[5, 5, 30, 20]], None)]),
    ("val/v_1.JPEG", 50, 40, [("999", [[0, 0, 50, 40], [10, 20, 11, 30]], None)]),
]


def write_lists(folder, lists="metadata/ILSVRC/test", pictures="dataset/ILSVRC", **changes):
    files = {f"{lists}/{name}": text for name, text in (LISTS | changes).items()}
    return write(folder, files | {f"{pictures}/val/{name}.JPEG": content for name, content in PICTURES.items()})


@pytest.mark.parametrize(
    ("lists", "pictures"),
    [("metadata/ILSVRC/test", "dataset/ILSVRC"), ("test", "ILSVRC"), (".", "."), ("metadata/ILSVRC/test", ".")],
)
def test_lists_in_every_layout(tmp_path, lists, pictures):
    root = write_lists(tmp_path / "imagenet", lists, pictures)
    for place in (root, tarred(root, tmp_path / "a.tar")):
        data = read_imagenet(place, "test")
        assert facts(data) == FROM_LISTS
        assert data.name == "ImageNet test"
        assert data.classes == tuple(str(number) for number in range(1000))
        assert data.left_out == {"pictures without objects": 1, "boxes reaching outside, clipped": 1}
        assert data.read("val/v_1.JPEG") == PICTURES["v_1"]
    assert data.sources == (tmp_path / "a.tar",)
    assert read_imagenet(root, "test").sources[0] == root / lists


@pytest.mark.parametrize(
    ("name", "old", "new", "said"),
    [
        ("image_ids.txt", "val/v_2.JPEG", "val/v_1.JPEG", "image_ids.txt, line 2: val/v_1.JPEG stands in line 1 alre"),
        ("image_ids.txt", "val/v_3.JPEG", "val/v_9.JPEG", "class_labels.txt has no line for val/v_9.JPEG"),
        ("class_labels.txt", "val/v_2.JPEG,0", "val/v_1.JPEG,0", "class_labels.txt, line 2: val/v_1.JPEG stands in l"),
        ("class_labels.txt", ",999", ",1000", "class_labels.txt, line 1: label '1000' is not known: expected 0 to 999"),
        ("class_labels.txt", ",999", ",tench", "class_labels.txt, line 1: label 'tench' is not known"),
        ("class_labels.txt", ",999", "", "class_labels.txt, line 1: 'val/v_1.JPEG' is not of the form 'path,label'"),
        ("image_sizes.txt", "val/v_3.JPEG,30,20\n", "", "image_sizes.txt has no line for val/v_3.JPEG"),
        ("image_sizes.txt", ",50,40", ",50,0", "image_sizes.txt, line 1: the size is 50 x 0"),
        ("image_sizes.txt", ",50,40", ",50", "image_sizes.txt, line 1: 'val/v_1.JPEG,50' is not of the form 'path,w"),
        ("localization.txt", "5,5,30,19", "5,5,30", "localization.txt, line 2: 'val/v_2.JPEG,5,5,30' is not of the"),
        ("localization.txt", "5,5,30,19", "5,5,30,x", "localization.txt, line 2: 'x' is no number"),
        ("localization.txt", "val/v_2", "val/v_4", "line 2: val/v_4.JPEG is not in metadata/ILSVRC/test/image_ids.txt"),
    ],
)  # fmt: skip
def test_broken_lists_are_named_with_their_line(tmp_path, name, old, new, said):
    assert old in LISTS[name]
    root = write_lists(tmp_path, **{name: LISTS[name].replace(old, new)})
    assert said in refused(read_imagenet, root, "test")


@pytest.mark.parametrize("name", ["class_labels.txt", "localization.txt", "image_sizes.txt"])
def test_a_list_that_is_missing(tmp_path, name):
    root = write_lists(tmp_path, **{name: None})
    assert f"has no metadata/ILSVRC/test/{name}: is the copy whole?" in refused(read_imagenet, root, "test")


def test_listed_pictures_missing_from_the_disk(tmp_path):
    root = write_lists(tmp_path)
    (root / "dataset/ILSVRC/val/v_2.JPEG").unlink()
    message = refused(read_imagenet, root, "test")
    assert "has no dataset/ILSVRC/val/v_2.JPEG (1 of 2 pictures are missing)" in message
    assert "has no annotations of the split 'val'" in refused(read_imagenet, root)


def test_lists_of_nothing(tmp_path):
    root = write_lists(tmp_path, **{"image_ids.txt": "", "localization.txt": ""})
    assert "has no picture with an object that counts" in refused(read_imagenet, root, "test")
