"""People's gaze: rows worked by hand, damaged ones, and the real ones of CUB."""

import csv
import gzip
from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from grounding.datasets.cub import read_cub
from grounding.datasets.gaze import read_gaze
from grounding.datasets.labelled import LabelledImage
from helpers.labelled import refused
from helpers.paths import SHARED

REAL, PICTURES = SHARED / "data" / "cub_gaze_50classes.csv.gz", SHARED / "data" / "cub_200_2011_50classes.tar"
IMAGES = [LabelledImage("7", 50, 40, ()), LabelledImage("8", 10, 10, ()), LabelledImage("9", 10, 10, ())]
HEADER = "# run,image_id,width,height,(x,y,duration_ms)*\n"


def gaze_of(tmp_path, text, packed=False):
    path = tmp_path / "gaze.csv"
    path.write_bytes(gzip.compress(text.encode()) if packed else text.encode())
    return read_gaze(path, IMAGES)


def plain(gaze):
    assert all(viewer.dtype == np.float64 for viewers in gaze.fixations.values() for viewer in viewers)
    return {image: [viewer.tolist() for viewer in viewers] for image, viewers in gaze.fixations.items()}


@pytest.mark.parametrize("packed", [False, True])
def test_what_is_read(tmp_path, packed):
    # Picture 7 is 50 x 40 px; a row of 100 x 160 is scaled by 1/2 and 1/4.
    rows = "2,8,10,10,1,2,60\n10,7,50,40,3,4,100\n2,7,100,160,20,40,200,99,159,300\n"
    gaze = gaze_of(tmp_path, HEADER + rows, packed)
    assert plain(gaze) == {"7": [[[10, 10, 200], [49.5, 39.75, 300]], [[3, 4, 100]]], "8": [[[1, 2, 60]]]}
    assert list(gaze.fixations) == ["7", "8"]  # as the pictures; viewer 2 before 10
    assert gaze.left_out == {}


def test_a_viewer_who_looked_again_has_the_fixations_of_both(tmp_path):
    gaze = gaze_of(tmp_path, "1,7,50,40,1,1,60\n2,7,50,40,2,2,60\n1,7,50,40,3,3,60\n1,7,50,40,1,1,60\n")
    assert plain(gaze) == {"7": [[[1, 1, 60], [3, 3, 60]], [[2, 2, 60]]]}
    assert gaze.left_out == {"rows given twice": 1}


THREE = "".join(f"{viewer},{image},50,40,{viewer},{viewer},60\n" for viewer in (1, 2, 4) for image in (7, 8))


def test_some_viewers_alone(tmp_path):
    path = tmp_path / "gaze.csv"
    path.write_text(THREE + "4,5,50,40,1,1,60\n")
    gaze = read_gaze(path, IMAGES[:1], (4, 1, 4))
    assert plain(gaze) == {"7": [[[1, 1, 60]], [[4, 4, 60]]]}
    assert gaze.left_out == {"rows of other pictures": 4, "rows of other viewers": 1}


@pytest.mark.parametrize(
    ("viewers", "said"), [((3,), "has no viewer 3 of the pictures: expected some of 1, 2, 4"), ((4, 9, 8), "viewer 8")]
)
def test_a_viewer_who_is_not_there(tmp_path, viewers, said):
    path = tmp_path / "gaze.csv"
    path.write_text(THREE)
    assert said in refused(read_gaze, path, IMAGES, viewers)
    assert "is it theirs?" in refused(read_gaze, path, IMAGES[2:], viewers)  # nobody looked at these pictures


def test_what_is_left_out_is_counted(tmp_path):
    rows = [
        "1,5,50,40,1,1,60",  # of no picture
        "1,7,50,40,0,0,60,50,1,60,1,40,60,-1,1,60,1,-0.5,60",  # one inside, on the very edge; four outside
        "2,7,50,40,50,40,60",  # nothing inside: also one outside
        "3,7,50,40",  # nothing at all
        "4,7,50,40,1,1",  # no duration
        "4,7,50,40,1,1,-60",
        "4,7,50,40,1,x,60",
        "4,7,50,40,nan,1,60",
        "4,7,0,40,1,1,60",
        "4,7,50",
        "4",
        "four,7,50,40,1,1,60",
        "4,,50,40,1,1,60",
        "",
        "# a remark",
    ]
    gaze = gaze_of(tmp_path, "\n".join(rows))
    assert plain(gaze) == {"7": [[[0, 0, 60]]]}
    assert gaze.left_out == {
        "rows of other pictures": 1,
        "fixations outside the picture": 5,
        "rows without a fixation in the picture": 2,
        "damaged rows": 9,
    }


@given(st.floats(0, 1, exclude_max=True), st.floats(0.01, 1e4), st.integers(1, 2000))
def test_what_is_inside_stays_inside(tmp_path_factory, share, size, annotated):
    at = np.nextafter(size, 0) if share > 0.5 else share * size
    if at >= size:
        return
    path = tmp_path_factory.getbasetemp() / "gaze.csv"
    path.write_text(f"1,7,{size!r},1,{float(at)!r},0,60\n")
    ((fixations,),) = read_gaze(path, [LabelledImage("7", annotated, 1, ())]).fixations.values()
    assert 0 <= fixations[0, 0] < annotated
    assert np.isclose(fixations[0, 0], at / size * annotated, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "has no fixation in any of the 3 pictures (it is empty): is it theirs?"),
        (HEADER, "(it is empty)"),
        ("1,5,50,40,1,1,60\n1,6,50,40,1,1,60\n", "(rows of other pictures: 2)"),
        ("1,7,50,40,1,1\n", "(damaged rows: 1)"),
        ("1,7,50,40,99,1,60\n", "(fixations outside the picture: 1, rows without a fixation in the picture: 1)"),
    ],
    ids=["empty", "header", "others", "damaged", "outside"],
)
def test_a_file_without_any_fixation_in_the_pictures(tmp_path, text, said):
    assert said in refused(gaze_of, tmp_path, text)


def test_files_that_cannot_be_read(tmp_path):
    assert "nowhere.csv cannot be read (" in refused(read_gaze, tmp_path / "nowhere.csv", IMAGES)
    assert "cannot be read (" in refused(read_gaze, tmp_path, IMAGES)
    path = tmp_path / "gaze.csv.gz"
    whole = gzip.compress((HEADER + "1,7,50,40,1,1,60\n" * 50).encode())
    for content in (whole[:-9], whole[:12], whole[:15] + b"xxxx" + whole[19:], b"\xff\xfe1,7"):
        path.write_bytes(content)
        assert "gaze.csv.gz cannot be read (" in refused(read_gaze, path, IMAGES)


@pytest.mark.skipif(not (REAL.is_file() and PICTURES.is_file()), reason="needs ../shared: gaze and pictures of CUB")
def test_the_real_rows_by_another_way():
    images = read_cub(PICTURES, "all").images
    gaze = read_gaze(REAL, images)
    with gzip.open(REAL, "rt") as file:
        rows = [row for row in csv.reader(file) if not row[0].startswith("#")]
    assert len(rows) == 14_365
    assert len(images) == len(gaze.fixations) == 2889
    assert gaze.left_out == {}
    assert sum(map(len, gaze.fixations.values())) == len({(row[0], row[1]) for row in rows}) == 14_095
    assert max(map(len, gaze.fixations.values())) == 5
    groups = defaultdict(list)
    for row in rows:
        groups[row[1]].append(row)
    inside = total = 0
    for image in images:
        wanted = {}
        for run, _, width, height, *values in groups[image.id]:
            for x, y, duration in zip(*[iter(map(float, values))] * 3, strict=True):
                at = (x * image.width / float(width), y * image.height / float(height), duration)
                wanted.setdefault(run, []).append(at)
        found = gaze.fixations[image.id]
        assert [viewer.tolist() for viewer in found] == [list(map(list, wanted[run])) for run in sorted(wanted)]
        x0, y0, x1, y1 = image.regions[0].boxes[0]
        x, y = np.concatenate(found)[:, :2].T
        inside += ((x >= x0) & (x < x1) & (y >= y0) & (y < y1)).sum()
        total += len(x)
    assert total == 106_164
    assert inside / total > 0.99  # the scales agree with the boxes
