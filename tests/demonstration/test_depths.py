"""The layers of the slider."""

from itertools import pairwise

import pytest
import torch

from grounding.config import MapConfig
from grounding.demonstration.depths import depths_of
from grounding.errors import GroundingError
from grounding.methods import map_place


def test_the_layers_go_up_once_each_and_the_usual_one_is_among_them(scene):
    config = scene.localizer.config.maps
    depths = depths_of(scene.encoding, config)
    places = [map_place(scene.encoding, maps) for maps in depths.maps]
    assert depths.maps[depths.usual] == config
    assert len(set(places)) == len(places) == 7
    assert [place.shape[-1] for place in places] == [48, 48, 24, 24, 24, 24, 24]
    assert [place.depth for place in places] == sorted(place.depth for place in places)


@pytest.mark.parametrize("usual", [MapConfig(stride=8, depth=1.0), MapConfig(stride=4)])
def test_the_usual_layer_is_that_of_the_configuration(scene, usual):
    depths = depths_of(scene.encoding, usual)
    assert depths.maps[depths.usual] == usual
    assert depths.usual == {8: 1, 4: 0}[usual.stride]


def test_each_layer_gives_another_map(scene, localizer):
    from grounding import Localizer
    from grounding.config import LocalizerConfig

    maps = []
    for each in depths_of(scene.encoding, localizer.config.maps).maps:
        other = Localizer(localizer.classifier, LocalizerConfig(maps=each))
        maps.append(scene.under(other).ground("a hat")[0].grid_map)
    assert all(not torch.equal(torch.tensor(a), torch.tensor(b)) for a, b in pairwise(maps))


def test_a_layer_that_there_is_not_is_an_error(scene):
    with pytest.raises(GroundingError, match="stride 1000"):
        depths_of(scene.encoding, MapConfig(stride=1000))
