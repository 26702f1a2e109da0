"""The figure: a column for the picture and for each method, boxes and points where they belong."""

import io

import numpy as np
import pytest
from PIL import Image

from grounding.benchmarks.figure import _CELL_PX, Drawn, _map_cell, _square, _with_boxes, drawn, figure, strip
from grounding.benchmarks.measurer import Measurer
from grounding.datasets.labelled import ClassRegion, LabelledImage
from helpers.benchmarks import PICTURES, job, write_folder

METHODS = ("contrastive-mwp", "gradient", "center")
LABELLED = LabelledImage("i", 80, 40, (ClassRegion("a", np.array([[20.0, 10, 60, 30]])),))
GREY = np.full((40, 80, 3), 90, np.uint8)


def near(picture, place, colour):
    """Whether a pixel has a colour such as #1fb866, by and large."""
    found = np.array(picture.convert("RGB").getpixel(place), int)
    return np.abs(found - [int(colour[at : at + 2], 16) for at in (1, 3, 5)]).max() < 40


@pytest.fixture
def measurer(colours, classifier):
    return Measurer(job(colours, classifier, "pointing", METHODS))


def test_a_cell_for_the_picture_and_each_method(measurer):
    items = [("one.png", "red"), ("five.png", "green")]
    rows = list(drawn(measurer, items, lambda *item: None))
    assert [row.item for row in rows] == items
    for row in rows:
        assert len(row.cells) == len(METHODS) + 1
        assert {cell.size for cell in row.cells} == {(_CELL_PX, _CELL_PX)}
    wide = strip(rows[0])
    assert wide.size == (4 * (_CELL_PX + 4) - 4, _CELL_PX)
    assert np.array_equal(np.asarray(wide)[:, :_CELL_PX], np.asarray(rows[0].cells[0]))
    assert np.array_equal(np.asarray(wide)[:, -_CELL_PX:], np.asarray(rows[0].cells[-1]))


def test_columns_of_the_figure(measurer):
    """Each column is a cell and a gap of 6 px."""
    rows = list(drawn(measurer, [("one.png", "red"), ("six.png", "blue")], lambda *item: None))
    whole, one = figure(rows, METHODS), figure(rows[:1], METHODS)
    assert whole.width == one.width == 6 + (len(METHODS) + 1) * (_CELL_PX + 6)
    assert whole.height > one.height > _CELL_PX
    fewer = [Drawn(row.item, row.cells[:2]) for row in rows]
    assert whole.width - figure(fewer, METHODS[:1]).width == 2 * (_CELL_PX + 6)


@pytest.mark.parametrize("name", ["<b>", "salt, pepper", "very " * 60, "two\nlines", "人"])
def test_any_name_can_be_written(name):
    cell = Image.new("RGB", (_CELL_PX, _CELL_PX))
    rows = [Drawn(("i", name), [cell, cell]), Drawn(("j", "cat"), [cell, cell])]
    assert figure(rows, ("mwp",)).size == figure([Drawn(("j", "cat"), [cell, cell])] * 2, ("mwp",)).size


def test_only_the_boxes_of_the_class_are_outlined(measurer):
    """The red rectangle of `four.png` is 2 to 22 of 64 px; a cell has 180."""
    seen, verdicts = [], lambda *item: seen.append(item)
    [row] = drawn(measurer, [("four.png", "red")], verdicts)
    scale = _CELL_PX / 64
    edge, other = ((round(x * scale), round(y * scale)) for x, y in ((12, 2), (48, 36)))
    assert sum(row.cells[0].getpixel(edge)) > sum(row.cells[0].getpixel((edge[0], edge[1] + 12))) + 150  # white on red
    assert near(row.cells[0], (other[0], other[1] + 2), "#0000ff")  # that is blue's
    assert seen == [("four.png", "red", method) for method in METHODS]


@pytest.mark.parametrize(("hit", "colour"), [(True, "#1fb866"), (False, "#e8403a"), (None, "#2f7ff5")])
def test_the_dot_is_where_the_map_is_highest(hit, colour):
    """The canvas is 360 px wide for 80: pixel (70, 5) is from 315 to 319.5, and 22.5 to 27."""
    map_ = np.zeros((40, 80), np.float32)
    map_[5, 70] = 1
    cell = _map_cell(GREY, map_, LABELLED, LABELLED.regions[0], hit)
    assert cell.size == (360, 180)
    assert near(cell, (317, 25), colour)
    assert not near(cell, (43, 155), colour)


def test_a_map_without_evidence_has_no_dot():
    cell = np.asarray(_map_cell(GREY, np.zeros((40, 80), np.float32), LABELLED, LABELLED.regions[0], False))
    assert np.ptp(cell[:40].reshape(-1, 3), 0).max() == 0  # above the box all is alike


def test_heat_lies_over_the_place_it_belongs_to():
    map_ = np.zeros((40, 80), np.float32)
    map_[:, 62:] = 1
    cell = np.asarray(_map_cell(GREY, map_, LABELLED, LABELLED.regions[0], None)).astype(int)
    assert cell[100, 330].sum() > 2 * cell[100, 200].sum()


def test_pictures_of_another_size_than_their_annotation():
    """The file has twice as many pixels: the box is where it was annotated."""
    cell = _with_boxes(np.full((80, 160, 3), 90, np.uint8), LABELLED, LABELLED.regions[0])
    assert cell.size == (360, 180)
    assert near(cell, (180, round(10 * 4.5)), "#ffffff")


@pytest.mark.parametrize("size", [(1, 1), (500, 1), (1, 500), (64, 48)])
def test_squares_hold_the_whole_picture(size):
    square = _square(Image.new("RGB", size, "black"))
    assert square.size == (_CELL_PX, _CELL_PX)
    assert (np.asarray(square) == 0).any()
    corner = np.asarray(square)[0, 0].tolist()
    assert corner == ([0, 0, 0] if size == (1, 1) else [255, 255, 255])


def test_what_cannot_be_read_any_more_stays_out(classifier, tmp_path):
    folder = write_folder(tmp_path / "data")
    measurer = Measurer(job(folder, classifier, "pointing", METHODS))
    (folder / "one.png").write_bytes(b"no picture")
    rows = drawn(measurer, [("one.png", "red"), ("two.png", "green")], lambda *item: None)
    assert [row.item for row in rows] == [("two.png", "green")]


def test_the_figure_of_a_run(whole):
    """Six rows, and a column for each of ten methods."""
    with Image.open(whole / "figure.png") as image:
        assert image.width == 6 + 11 * (_CELL_PX + 6)
        assert image.height > len(PICTURES) * _CELL_PX
        saved = io.BytesIO()
        image.save(saved, "PNG")
