"""What is painted, and what is not; what is counted."""

import colorsys

import numpy as np

from grounding.datasets.flickr30k import EntityImage, EntityPhrase
from helpers.paths import load_script

bias = load_script("measure_colour_bias")


def image_with(boxes, kind="clothing"):
    phrase = EntityPhrase(0, 0, "a coat", 0, 6, "1", (kind,))
    return EntityImage("1", 100, 50, ("a coat",), (phrase,), {"1": np.array(boxes, float)}, frozenset(), frozenset())


def test_the_largest_box_of_clothing_as_shares():
    found = bias.clothing(image_with([[0, 0, 10, 10], [50, 0, 100, 25]]))
    np.testing.assert_allclose(found, [0.5, 0, 1, 0.5])
    assert bias.clothing(image_with([[0, 0, 9, 11]])) is None  # 99 of 5,000
    assert bias.clothing(image_with([[0, 0, 10, 10]])) is not None
    assert bias.clothing(image_with([[50, 0, 100, 25]], "people")) is None


def test_only_the_box_is_painted_and_its_lights_stay():
    picture = np.full((4, 6, 3), 200, np.uint8)
    picture[:2] = 100
    changed = bias.painted(picture, np.array([0.5, 0, 1, 1]), 300)
    np.testing.assert_array_equal(changed[:, :3], picture[:, :3])
    for row, light in ((0, 100), (3, 200)):
        hue, saturation, value = colorsys.rgb_to_hsv(*(changed[row, 4] / 255))
        assert abs(hue * 360 - 300) < 2
        assert abs(saturation - 0.65) < 0.02
        assert value * 255 == light
    assert (picture[0] == 100).all()


def test_counts(capsys):
    pink_decides = [[-1, -1, -1, -1, 2], [-1, -2, -2, -2, -1]]
    never = [[0, 1, 3, 1, 2], [-1, -2, -2, 1, -1]]
    bias.report(np.array([pink_decides, never], float))
    lines = capsys.readouterr().out.splitlines()
    assert " ".join(lines[1].split()) == "girl above boy, as it is 0% -0.50"
    assert " ".join(lines[5].split()) == "girl above boy, pink 100% +2.00"
    assert lines[6].endswith("in pink: 50%")
    assert lines[12].endswith("in pink: 50%")
