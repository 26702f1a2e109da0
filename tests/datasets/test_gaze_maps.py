"""Maps of gaze: rows worked by hand, and the real ones of CUB against another way to make them."""

import numpy as np
import pytest

from grounding.datasets.cub import read_cub
from grounding.datasets.gaze import read_gaze
from grounding.datasets.human_maps import Spread
from grounding.evaluation.protocols.agreement import human_map, spearman
from helpers.human_maps import cells_of, read
from helpers.labelled import refused
from helpers.paths import SHARED

REAL, PICTURES = SHARED / "data" / "cub_gaze_50classes.csv.gz", SHARED / "data" / "cub_200_2011_50classes.tar"


def write(tmp_path, *rows):
    path = tmp_path / "gaze.csv"
    path.write_text("# run,image_id,width,height,(x,y,duration_ms)*\n" + "".join(f"{row}\n" for row in rows))
    return path


@pytest.mark.parametrize("rows", [(), ("1,7,64", "x"), ("# 1,7,64,64,1,1,60",)], ids=["empty", "damaged", "remarks"])
def test_no_row(tmp_path, rows):
    path = write(tmp_path, *rows)
    assert f"{path} has no row of gaze: expected run,image_id,width,height" in refused(read, path, {"7": (64, 64)})


def test_viewers_have_the_same_weight_and_fixations_that_of_their_duration(tmp_path):
    # Viewer 1: 100 ms at (1, 2), 300 ms at (3, 4) px. Viewer 2, on a screen of twice the size: 9 ms at (60, 20) there.
    # 1/2 * 1/4, 1/2 * 3/4, 1/2 * 1.
    path = write(tmp_path, "1,7,64,64,1,2,100,3.9,4,300", "2,7,128,128,60,20,9", "1,9,64,64,1,1,1")
    found = read(path, {"photos/7.jpg": (64, 64), "8": (64, 64)})
    assert {id_: cells_of(map_) for id_, map_ in found.maps.items()} == {
        "photos/7.jpg": {(1, 2): 0.125, (3, 4): 0.375, (30, 10): 0.5}
    }
    assert found.left_out == {"maps of other pictures": 1}


def test_pictures_that_are_not_square(tmp_path):
    # Of 640 x 320 px a picture is 128 x 64: (110, 70) is (22, 14) there, and a cell is 2 px wide and 1 px high.
    assert cells_of(read(write(tmp_path, "1,7,640,320,110,70,5"), {"7": (128, 64)}).maps["7"]) == {(11, 14): 1}


def test_what_is_left_out_is_said(tmp_path):
    path = write(tmp_path, "1,7,64,64,1,2,100,64,2,100", "1,7,64,64,1,2,x", "1,8,64,64,5,5,0")
    found = read(path, {"7": (64, 64), "8": (64, 64)})  # nobody looked at 8 for any time
    assert cells_of(found.maps["7"]) == {(1, 2): 1}
    assert found.left_out == {
        "fixations outside the picture": 1,
        "damaged rows": 1,
        "maps that are 0 everywhere": 1,
    }


def test_pictures_of_another_shape(tmp_path):
    path = write(tmp_path, "1,7,640,480,1,2,100")
    said = refused(read, path, {"7": (480, 640)})
    assert f"{path}: picture 7 is 640 x 480 px and its picture 480 x 640: expected sides in the same ratio" in said
    assert "is it theirs?" in refused(read, path, {"images/8.jpg": (640, 480)})


@pytest.mark.skipif(not (REAL.is_file() and PICTURES.is_file()), reason="needs ../shared: gaze and pictures of CUB")
def test_the_real_ones_are_those_of_the_agreement_protocol():
    images = read_cub(PICTURES, "train").images[::25]
    sizes = {image.id: (image.width, image.height) for image in images}
    found = read(REAL, sizes, Spread("gaussian", 0.05))
    assert len(found.maps) == len(images) == 60
    assert found.left_out == {"maps of other pictures": 2889 - 60}
    gaze = read_gaze(REAL, images).fixations
    for image in images:
        width, height = sizes[image.id]
        smooth = human_map(gaze[image.id], width, height, 0.05 * min(width, height))
        there = (np.arange(64) + 0.5) / 64
        sampled = smooth[(there * height).astype(int)][:, (there * width).astype(int)]
        sampled /= sampled.sum()
        assert np.abs(found.maps[image.id] - sampled).sum() < 0.1  # fixations there are not rounded to pixels
        assert spearman(found.maps[image.id], sampled) > 0.99
