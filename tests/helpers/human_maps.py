"""What tests of human maps share."""

import numpy as np

from grounding.datasets.human_maps import Spread, read_human_maps

NONE = Spread("none")


def read(source, sizes, spread=NONE):
    """The maps of pictures whose ids and (width, height) are given; only sizes of pictures with a map are asked for."""
    asked = []

    def size_of(id_):
        asked.append(id_)
        return sizes[id_]

    found = read_human_maps(source, list(sizes), size_of, spread)
    assert set(found.maps) <= set(asked)
    assert len(asked) == len(set(asked))
    for map_ in found.maps.values():
        assert map_.shape == (64, 64)
        assert map_.dtype == np.float32
        assert map_.min() >= 0
        assert abs(float(map_.sum(dtype=np.float64)) - 1) < 1e-5
    return found


def cells_of(map_):
    """The cells of a map above 0: `(x, y) -> value`."""
    return {(int(x), int(y)): float(map_[y, x]) for y, x in np.argwhere(map_ > 0)}
