"""Any folder of pictures: a tiny one worked by hand, and broken copies of it."""

import io

import numpy as np
import pytest
from PIL import Image

from grounding.datasets.labelled_folder import read_folder
from helpers.labelled import facts, mask_file, picture, refused, tarred, write, zipped

LIST = """image,class,x0,y0,x1,y1
b.png,dog,1,1,3,2
birds/one.jpg,heron,0,0,4,3.5
b.png,ant,0,0,4,3
b.png,dog,2,0,9,1
masked.png,dog,,,,
both.png,ant,0,0,1,1
both.png,ant,3,2,4,3
nowhere.png,cat,,,,
empty.png,dog,,,,
"""
SHAPE = ["....", ".##.", "..#."]
FILES = {
    "labels.csv": LIST,
    **{f"{name}.png": picture(4, 3, "PNG") for name in ("b", "masked", "both", "nowhere", "empty", "unlisted")},
    "birds/one.jpg": picture(4, 4),
    "masks/masked.png": mask_file(SHAPE),
    "masks/both.png": mask_file(SHAPE, on=1),
    "masks/empty.png": mask_file(["...."] * 3),
    "notes.txt": "no picture",
}
# The dog of masked.png has the box round its mask: columns 1 and 2, rows 1 and 2.
FOUND = [
    ("b.png", 4, 3, [("ant", [[0, 0, 4, 3]], None), ("dog", [[1, 1, 3, 2], [2, 0, 4, 1]], None)]),
    ("birds/one.jpg", 4, 4, [("heron", [[0, 0, 4, 3.5]], None)]),
    ("masked.png", 4, 3, [("dog", [[1, 1, 3, 3]], SHAPE)]),
    ("both.png", 4, 3, [("ant", [[0, 0, 1, 1], [3, 2, 4, 3]], SHAPE)]),
]


@pytest.fixture
def root(tmp_path):
    return write(tmp_path / "things", FILES)


def test_what_is_read(root):
    data = read_folder(root)
    assert facts(data) == FOUND
    assert (data.name, data.classes) == ("things", ("ant", "cat", "dog", "heron"))
    # Left out: nowhere.png (no place), empty.png (an empty mask) and unlisted.png.
    assert data.left_out == {"pictures without objects": 3, "boxes reaching outside, clipped": 1}
    assert data.read("birds/one.jpg") == FILES["birds/one.jpg"]
    assert data.sources == (root,)


def test_every_packing_reads_the_same(root, tmp_path):
    for place in (tarred(root, tmp_path / "a.tar", "things/"), zipped(root, tmp_path / "b.zip")):
        data = read_folder(place)
        assert facts(data) == FOUND
        assert data.left_out["pictures without objects"] == 3


def test_masks_alone_with_a_list_of_two_columns(root):
    write(root, {"labels.csv": '\ufeffclass , image,remark\r\ndog, masked.png,"a, b"\r\n'})
    assert facts(read_folder(root)) == [FOUND[2]]


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA", "I;16"])
def test_a_mask_is_what_is_not_0_in_any_form(root, mode):
    shape = np.array([[letter == "#" for letter in row] for row in SHAPE])
    if mode == "I;16":
        image = Image.fromarray(shape.astype(np.uint16) * np.uint16(300))
    elif mode == "P":
        image = Image.fromarray(shape.astype(np.uint8), "P")
        image.putpalette([255, 255, 255, 0, 0, 0])  # white is 0: the entries count, not their colours
    elif mode == "1":
        image = Image.fromarray(shape)
    else:
        values = np.zeros((3, 4, len(mode)), np.uint8)
        values[..., 0] = shape  # 1 of 255
        values[..., -1] = 255 if mode in ("RGBA", "LA") else values[..., -1]
        image = Image.fromarray(values.squeeze(-1) if mode == "L" else values, mode)
    file = io.BytesIO()
    image.save(file, "PNG")
    write(root, {"masks/masked.png": file.getvalue()})
    assert facts(read_folder(root))[2] == FOUND[2]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("image,class,x0", "picture,class,x0", "labels.csv, line 1 has 0 columns 'image': expected image,class or ima"),
        ("x0,y0,x1,y1", "x0,y0,x1,y2", "labels.csv, line 1 has 0 columns 'y1'"),
        ("x0,y0,x1,y1", "x0,y0,x1,y1,x0", "labels.csv, line 1 has 2 columns 'x0'"),
        ("b.png,dog,1,1,3,2", "b.png,dog,1,1,3", "labels.csv, line 2: there are 5 values: expected 6, as"),
        ("b.png,dog,1,1,3,2", "b.png,dog,1,1,3,2,4", "labels.csv, line 2: there are 7 values: expected 6"),
        ("b.png,dog,1,1,3,2", "b.png,dog,1,1,3,", "labels.csv, line 2: '' is no number"),
        ("b.png,dog,1,1,3,2", "b.png,dog,1,1,3,inf", "labels.csv, line 2: 'inf' is no number"),
        ("b.png,dog,1,1,3,2", "b.png,,1,1,3,2", "labels.csv, line 2: 'class' is empty"),
        ("b.png,dog,1,1,3,2", ",dog,1,1,3,2", "labels.csv, line 2: 'image' is empty"),
        ("b.png,ant,0,0,4,3", '"b.png"x,ant,0,0,4,3', "labels.csv, line 4: broken CSV"),
        ("both.png,ant,0,0,1,1", '"both.png,ant,0,0,1,1', "labels.csv, line 7: broken CSV"),
        ("empty.png,dog,,,,", '"empty.png,dog,,,,', "labels.csv, line 10: broken CSV"),
        ("birds/one.jpg", "birds/two.jpg", "labels.csv, line 3: there is no picture birds/two.jpg in "),
        ("birds/one.jpg", "notes.txt", "notes.txt cannot be read ("),
        ("both.png,ant,3,2,4,3", "both.png,dog,3,2,4,3", "line 7: both.png has a mask, but the classes ant and dog"),
    ],
)  # fmt: skip
def test_a_broken_list_is_named_with_its_line(root, old, new, said):
    assert LIST.count(old) == 1
    write(root, {"labels.csv": LIST.replace(old, new)})
    assert said in refused(read_folder, root)


def test_blank_lines_and_values_over_two_lines(root):
    start = 'image,class,remark\n\n,,\nmasked.png,dog,"one\ntwo"\n'
    write(root, {"labels.csv": start})
    assert facts(read_folder(root)) == [FOUND[2]]
    for end, said in (
        ("none.png,dog,\n", "line 6: there is no picture none.png"),
        ('b.png,"dog', "line 6: broken CSV"),
    ):
        write(root, {"labels.csv": start + end})
        assert f"labels.csv, {said}" in refused(read_folder, root)


def test_masks_that_are_broken_or_of_another_size(root):
    write(root, {"masks/masked.png": mask_file(["##", "##"])})
    assert "the mask masks/masked.png has 2 x 2 px: expected the 4 x 3 px of its picture" in refused(read_folder, root)
    write(root, {"masks/masked.png": b"no picture"})
    assert "masks/masked.png cannot be read (" in refused(read_folder, root)
    write(root, {"masks/masked.png": mask_file(SHAPE), "masks/both.png": mask_file(["##", "##"])})
    assert "masks/both.png has 2 x 2 px" in refused(read_folder(root).images[3].regions[0].mask)


def test_folders_without_a_list_or_without_objects(root, tmp_path):
    assert refused(read_folder, root / "birds").endswith(f"did you mean {root}?")
    assert refused(read_folder, tmp_path).endswith(f"did you mean {root}?")
    (tmp_path / "a/b/empty").mkdir(parents=True)
    message = refused(read_folder, tmp_path / "a/b/empty")
    assert (
        "has no labels.csv: expected a folder of pictures with a list labels.csv (image,class,x0,y0,x1,y1)" in message
    )
    assert "nowhere does not exist" in refused(read_folder, tmp_path / "nowhere")
    write(root, {"labels.csv": "image,class\n"})
    assert "has no picture with an object that counts" in refused(read_folder, root)
    write(root, {"labels.csv": ""})
    assert "labels.csv, line 1 has 0 columns 'image'" in refused(read_folder, root)
