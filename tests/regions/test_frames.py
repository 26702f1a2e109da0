"""Templates in the frames of people: laid on boxes and cut out of maps, by the definition, cell by cell."""

import numpy as np
import pytest
import torch

from grounding.regions.frames import CELLS, MARGIN, Frames, cut_out, in_frame
from helpers.maps import by_cells, doubles, read_between, same_maps

SIDE = 10
BOXES = [(0, 0, 1, 1), (0.25, 0.5, 0.75, 1), (0.1, 0.03, 0.17, 0.4), (0.9, 0.9, 1.0, 1.0), (0.5, 0.2, 0.5, 0.6)]


def on_template(place, low, high):
    """A place of the picture -> one on the template, in its cells."""
    share = (place - low) / max(high - low, 1e-6)  # of the box
    return (share + MARGIN) / (1 + 2 * MARGIN) * CELLS


def in_frame_by_cells(map_, template, box):
    def value(x, y):
        place = on_template(x, box[0], box[2]), on_template(y, box[1], box[3])
        return read_between(template, *place) + 0.02

    return doubles(map_) * by_cells(len(map_), value)


@pytest.mark.parametrize("box", BOXES)
def test_a_template_is_laid_on_the_box_and_a_quarter_of_it_beyond(box):
    map_, template = torch.rand(SIDE, SIDE), torch.rand(CELLS, CELLS)
    expected = in_frame_by_cells(map_, template, box)
    same_maps(in_frame(map_, template, np.array(box)), expected, atol=2e-5)  # 24 cells times the rounding of places
    same_maps(in_frame(map_, template, np.array(box, np.float32)), expected, atol=2e-4)


def test_an_empty_map_stays_empty_and_outside_little_is_left():
    box, ones = np.array([0, 0, 0.2, 0.2]), torch.ones(CELLS, CELLS)
    assert not in_frame(torch.zeros(4, 4), ones, box).any()
    found = in_frame(torch.ones(SIDE, SIDE), ones, box)
    assert found[0, 0] == pytest.approx(1.02)
    assert found[5, 5] == pytest.approx(0.02)


def cut_out_by_cells(map_, box):
    def value(x, y):
        places = [low + (share * 1.5 - 0.25) * (high - low) for share, low, high in ((x, *box[::2]), (y, *box[1::2]))]
        return read_between(map_, places[0] * map_.shape[1], places[1] * map_.shape[0])

    return by_cells(CELLS, value)


@pytest.mark.parametrize("box", BOXES)
@pytest.mark.parametrize("shape", [(1, 6, 6), (3, 5, 9)])
def test_maps_are_cut_out_as_templates_are(box, shape):
    maps = torch.rand(shape)
    found = cut_out(maps, np.array(box))
    assert found.shape == (shape[0], CELLS, CELLS)
    for ours, map_ in zip(found, maps, strict=True):
        same_maps(ours, cut_out_by_cells(map_, box), atol=1e-5)


def test_what_is_cut_out_and_laid_on_again_is_the_same():
    box, blob = np.array([0.2, 0.3, 0.6, 0.9]), torch.zeros(60, 60)
    blob[30:36, 20:26] = 1.0
    template = cut_out(blob[None], box)[0]
    laid = in_frame(torch.ones(60, 60), template, box) - 0.02
    assert float((laid * blob).sum() / laid.sum()) > 0.7  # blurred by the cells of the template
    assert float((laid * blob).sum() / blob.sum()) > 0.7


@pytest.mark.parametrize(
    ("word", "kind", "value"),
    [
        ("hat", "clothing", 1),
        ("hats", None, 1),
        ("shirt", "clothing", 2),
        ("nose", "body", 3),
        ("wheel", "part", None),
        ("wheel", None, None),
        ("", None, None),
    ],
)
def test_a_word_has_its_template_or_that_of_its_kind(word, kind, value):
    values = {"hat": 1, "kind clothing": 2, "kind body": 3}
    found = Frames({key: torch.full((CELLS, CELLS), float(each)) for key, each in values.items()}).find(word, kind)
    assert (None if found is None else float(found[0, 0])) == value
    assert Frames({}).find(word, kind) is None


def test_the_templates_of_the_package():
    templates = Frames.embedded().templates
    assert {"kind clothing", "kind body"} <= templates.keys()
    for template in templates.values():
        assert template.shape == (CELLS, CELLS)
        assert (template.dtype, float(template.min()) >= 0, float(template.max())) == (torch.float32, True, 1)
