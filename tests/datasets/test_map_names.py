"""Which picture a map is of: names and ids by hand, and every error."""

import pytest

from grounding.datasets.map_names import match
from helpers.labelled import refused


@pytest.mark.parametrize(
    ("names", "ids", "found"),
    [
        (["a"], ["a"], {"a": "a"}),
        (["b", "a"], ["a", "c"], {"a": "a"}),
        (["a.npy"], ["a"], {"a.npy": "a"}),
        (["a.PNG"], ["a.jpeg"], {"a.PNG": "a.jpeg"}),
        (["12"], ["photos/12.jpg", "photos/112.jpg"], {"12": "photos/12.jpg"}),
        (["x/12.npy"], ["photos/x/12.jpg", "photos/y/12.jpg"], {"x/12.npy": "photos/x/12.jpg"}),
        (["sub/a.png"], ["a"], {"sub/a.png": "a"}),
        (["a.jpg"], ["a.png", "a.jpg"], {"a.jpg": "a.jpg"}),  # the same before without endings
        (["a"], ["a.jpg", "x/a.jpg"], {"a": "a.jpg"}),  # without endings before the end of a path
        (["1.5"], ["1.7", "1.5"], {"1.5": "1.5"}),  # no endings of files
        (["001.Tern/a_b.npy"], ["../i/001.Tern/a_b.jpg"], {"001.Tern/a_b.npy": "../i/001.Tern/a_b.jpg"}),
        (["a", "b"], ["b", "a"], {"a": "a", "b": "b"}),
    ],
)
def test_matches(names, ids, found):
    assert match("maps", names, ids) == found


@pytest.mark.parametrize(
    ("names", "ids", "said"),
    [
        (
            [],
            ["p"],
            "maps: none of its maps (there is none) is that of one of the 1 pictures, such as 'p': is it theirs?",
        ),
        (["m"], [], "none of its maps, such as 'm', is that of one of the pictures (there is none)"),
        (["m", "n"], ["p", "q"], "none of its maps, such as 'm', is that of one of the 2 pictures, such as 'p'"),
        (["2"], ["x/12"], "such as 'x/12'"),  # the end of a name, but not at a /
        (["b/2"], ["ab/2"], "such as 'ab/2'"),
        (["ab/2"], ["b/2"], "such as 'b/2'"),
        (["a"], ["x/a.jpg", "y/a.jpg"], "the map 'a' may be that of 'x/a.jpg' and of 'y/a.jpg'"),
        (["a"], ["a.jpg", "a.png"], "the map 'a' may be that of 'a.jpg' and of 'a.png'"),
        (["a"], ["a", "a"], "the map 'a' may be that of 'a' and of 'a'"),
        (["a.npy", "a.png"], ["a"], "'a.npy' and 'a.png' are both maps of the picture 'a'"),
        (["x/a", "y/a"], ["a"], "'x/a' and 'y/a' are both maps of the picture 'a'"),
    ],
)
def test_refused(names, ids, said):
    assert said in refused(match, "maps", names, ids)
