"""Result records made by hand, without any network."""

import numpy as np

from grounding.grounded import GroundedPhrase, Region
from grounding.results import Grounding
from grounding.text.phrases import Phrase
from grounding.text.vocabulary import Match


def grounded(text="a hat", status="localized", box=(40, 40, 120, 100), size=(400, 640), cell=(0, 0)):
    grid = np.zeros((4, 4), np.float32)
    grid[cell] = 1.0
    regions = () if box is None else (Region(*map(float, box), score=1.25),)
    words = (Match("hat", ("hat",), "exact", 1.0),)
    return GroundedPhrase(
        Phrase(text, 0, len(text), "hat"), status, 0.75, words, (60.0, 50.0), regions, grid, grid, size
    )


def grounding_of(*phrases, size=(400, 640)):
    return Grounding(np.full((*size, 3), 90, np.uint8), "a hat", "embedded", phrases, 0.01)
