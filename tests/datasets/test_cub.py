"""CUB-200-2011: a tiny data set in its layout, worked by hand, broken copies of it, and real pictures."""

import io
import tarfile

import numpy as np
import pytest
from PIL import Image

from grounding.datasets.cub import read_cub
from helpers.labelled import facts, picture, refused, tarred, write, zipped
from helpers.paths import SHARED

REAL = SHARED / "data" / "cub_200_2011_50classes.tar"
CUB = "CUB_200_2011"


def share_file(shares):
    """A PNG whose grey values say which share of people took a pixel for the bird."""
    file = io.BytesIO()
    Image.fromarray(np.array(shares, np.uint8)).save(file, "PNG")
    return file.getvalue()


FILES = {
    f"{CUB}/images.txt": "1 001.Black_footed_Albatross/A_1.jpg\n2 001.Black_footed_Albatross/A_2.jpg\n"
    "3 003.Sooty_Albatross/S_1.jpg\n4 003.Sooty_Albatross/S_2.jpg\n",
    f"{CUB}/classes.txt": "1 001.Black_footed_Albatross\n2 002.Laysan_Albatross\n3 003.Sooty_Albatross\n",
    f"{CUB}/image_class_labels.txt": "1 1\n2 1\n3 3\n4 3\n",
    f"{CUB}/train_test_split.txt": "1 0\n2 1\n3 0\n4 0\n",
    f"{CUB}/bounding_boxes.txt": "1 0.5 1.0 2.0 2.0\n2 0.0 0.0 6.0 5.0\n3 3.0 1.0 5.0 2.0\n4 9.0 9.0 2.0 2.0\n",
    f"{CUB}/images/001.Black_footed_Albatross/A_1.jpg": picture(4, 3),
    f"{CUB}/images/001.Black_footed_Albatross/A_2.jpg": picture(6, 5),
    f"{CUB}/images/003.Sooty_Albatross/S_1.jpg": picture(6, 5),
    f"{CUB}/images/003.Sooty_Albatross/S_2.jpg": picture(6, 5),
    # Of five people, 51 is one: two of five are below a half, three above it.
    f"{CUB}/segmentations/001.Black_footed_Albatross/A_1.png": share_file(
        [[0, 51, 102, 153], [204, 255, 0, 0], [127, 128, 0, 0]]
    ),
}
ONE = ("1", 4, 3, [("Black footed Albatross", [[0.5, 1, 2.5, 3]], ["...#", "##..", ".#.."])])
TWO = ("2", 6, 5, [("Black footed Albatross", [[0, 0, 6, 5]], None)])
THREE = ("3", 6, 5, [("Sooty Albatross", [[3, 1, 6, 3]], None)])  # x + width is 8 of 6: clipped


@pytest.fixture
def root(tmp_path):
    return write(tmp_path / "data", FILES)


@pytest.mark.parametrize(
    ("split", "found"),
    [("test", [ONE, THREE]), ("train", [TWO]), ("all", [ONE, TWO, THREE])],
    ids=["test", "train", "all"],
)
def test_what_is_read(root, split, found):
    data = read_cub(root, split)
    assert facts(data) == found
    assert data.name == f"CUB {split}"
    assert data.classes == ("Black footed Albatross", "Laysan Albatross", "Sooty Albatross")
    if split == "train":
        assert data.left_out == {}
    else:
        assert data.left_out == {
            "boxes reaching outside, clipped": 1,
            "boxes with nothing inside the picture": 1,
            "pictures without objects": 1,
        }
    assert data.read(found[0][0]).startswith(b"\xff\xd8")
    assert "no image '4'" in refused(data.read, "4")
    assert data.sources == (root / CUB,)


def test_every_place_and_packing_reads_the_same(root, tmp_path):
    for place in (root / CUB, tarred(root, tmp_path / "a.tar"), tarred(root / CUB, tmp_path / "b.tar"),
                  zipped(root, tmp_path / "c.zip")):  # fmt: skip
        data = read_cub(place)
        assert facts(data) == [ONE, THREE]
        assert data.read("3") == picture(6, 5)
        assert data.sources == (place,)


def test_a_picture_that_lies_on_its_side_has_the_size_it_is_shown_in(root):
    exif = Image.Exif()
    exif[0x0112] = 6
    write(root, {f"{CUB}/images/001.Black_footed_Albatross/A_2.jpg": picture(5, 6, exif=exif)})
    assert facts(read_cub(root, "train")) == [TWO]


def test_a_mask_of_another_size_or_none_says_so_when_it_is_asked_for(root):
    path = root / CUB / "segmentations/001.Black_footed_Albatross/A_1.png"
    path.write_bytes(share_file([[0, 255], [0, 255]]))
    region = read_cub(root).images[0].regions[0]
    assert "A_1.png has 2 x 2 px: expected the 4 x 3 px of its picture" in refused(region.mask)
    path.write_bytes(b"no picture")
    assert "A_1.png cannot be read (" in refused(region.mask)


@pytest.mark.parametrize("given", [f"{CUB}/images", f"{CUB}/segmentations"])
def test_a_root_that_lies_too_deep(root, given):
    assert refused(read_cub, root / given).endswith(f"did you mean {root / CUB}?")


def test_a_root_that_is_one_too_high_or_empty(root, tmp_path):
    assert refused(read_cub, root.parent).endswith(f"did you mean {root}?")
    (tmp_path / "a/b/c").mkdir(parents=True)
    assert "has no images.txt: expected CUB_200_2011/images.txt" in refused(read_cub, tmp_path / "a/b/c")
    assert "split 'val' is not known: expected one of train, test, all" in refused(read_cub, root, "val")


@pytest.mark.parametrize(
    ("name", "old", "new", "said"),
    [
        ("images.txt", "2 001", "1 001", "images.txt, line 2: 1 stands in line 1 already: expected it once"),
        ("images.txt", "2 001.Black_footed_Albatross/A_2.jpg", "2", "images.txt, line 2: '2' is not of the form 'id p"),
        ("images.txt", "A_1.jpg", "A_9.jpg", "has no CUB_200_2011/images/001.Black_footed_Albatross/A_9.jpg: is the c"),
        ("classes.txt", "002.Laysan", "002.Sooty", "classes.txt has two classes of one name"),
        ("classes.txt", "3 003", "4 003", "image_class_labels.txt, line 3: class 3 is not in CUB_200_2011/classes.txt"),
        ("image_class_labels.txt", "3 3\n", "", "image_class_labels.txt has no line for 3: is the copy whole?"),
        ("image_class_labels.txt", "3 3\n", "3\n", "image_class_labels.txt, line 3: '3' is not of the form 'id class"),
        ("train_test_split.txt", "3 0\n", "", "train_test_split.txt has no line for 3"),
        ("train_test_split.txt", "3 0\n", "3 2\n", "train_test_split.txt, line 3: '2' is no flag: expected 0 or 1"),
        ("train_test_split.txt", "3 0\n", "1 0\n", "train_test_split.txt, line 3: 1 stands in line 1 already"),
        ("bounding_boxes.txt", "3 3.0", "7 3.0", "bounding_boxes.txt has no line for 3"),
        ("bounding_boxes.txt", "3 3.0", "3 three", "bounding_boxes.txt, line 3: 'three' is no number"),
        ("bounding_boxes.txt", "3 3.0", "3", "bounding_boxes.txt, line 3: '3 1.0 5.0 2.0' is not of the form 'id x y"),
        ("train_test_split.txt", " 0", " 1", "has no picture with an object that counts: is it the right split?"),
    ],
)  # fmt: skip
def test_broken_lists_are_named_with_their_line(root, name, old, new, said):
    text = FILES[f"{CUB}/{name}"]
    assert old in text
    (root / CUB / name).write_text(text.replace(old, new))
    assert said in refused(read_cub, root)


@pytest.mark.parametrize("name", ["classes", "image_class_labels", "train_test_split", "bounding_boxes"])
def test_a_list_that_is_missing(root, name):
    (root / CUB / f"{name}.txt").unlink()
    assert f"has no {CUB}/{name}.txt: is the copy whole?" in refused(read_cub, root)


def test_a_picture_that_is_damaged(root):
    write(root, {f"{CUB}/images/001.Black_footed_Albatross/A_1.jpg": picture(4, 3)[:40]})
    assert "A_1.jpg cannot be read (" in refused(read_cub, root)


@pytest.mark.skipif(not REAL.is_file(), reason="needs ../shared: CUB-200-2011, 50 classes")
def test_the_real_pictures_read_as_their_lists():
    with tarfile.open(REAL) as tar:
        lists = {
            name: [line.split() for line in tar.extractfile(f"{CUB}/{name}.txt").read().decode().splitlines()]
            for name in ("images", "train_test_split", "bounding_boxes", "image_class_labels")
        }
        sizes = {
            member.name: Image.open(io.BytesIO(tar.extractfile(member).read())).size
            for member in tar
            if member.name.endswith(".jpg")
        }
    train, test, everything = (read_cub(REAL, split) for split in ("train", "test", "all"))
    assert (len(train.images), len(test.images), len(everything.images)) == (1500, 1389, 2889)
    assert [image.id for image in everything.images] == [key for key, _ in lists["images"]]
    assert [image.id for image in test.images] == [key for key, flag in lists["train_test_split"] if flag == "0"]
    assert len(everything.classes) == 50
    assert everything.classes[0] == "Black footed Albatross"
    outside = 0
    for (_, path), (_, *edges), (_, label), image in zip(
        lists["images"], lists["bounding_boxes"], lists["image_class_labels"], everything.images, strict=True
    ):
        (region,) = image.regions
        size = sizes[f"{CUB}/images/{path}"]
        x, y, width, height = map(float, edges)
        reach = np.array([x, y, x + width, y + height])
        outside += bool((reach < -1e-6).any() or (reach[2:] > np.array(size) + 1e-6).any())
        assert (image.width, image.height) == size
        assert everything.classes.index(region.name) == int(label) - 1
        assert region.boxes.tolist() == [np.clip(reach, 0, [*size, *size]).tolist()]
    clipped = "boxes reaching outside, clipped"
    assert everything.left_out == {clipped: outside}
    assert train.left_out[clipped] + test.left_out[clipped] == outside > 0
