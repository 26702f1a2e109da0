"""The picture of an explanation. Pure: a record in, a picture out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from grounding.drawing import signed_picture, tiled

if TYPE_CHECKING:
    from grounding.attention.evidence import Explanation

_CELL_PX = 200
_MAPS = ("MWP (for)", "contrastive MWP", "dual MWP (against)")


def evidence_grid(explanation: Explanation) -> Image.Image:
    """A row for each prediction: the picture, then MWP, contrastive MWP and dual MWP at each depth.

    Warm is what speaks for the output, cold what speaks against it. Each map is as bright as its largest value.
    """
    small = Image.fromarray(explanation.picture)
    small.thumbnail((2 * _CELL_PX, 2 * _CELL_PX))
    picture = np.array(small)
    first = explanation.predictions[0]
    titles = ["prediction"]
    for evidence in first.evidence:
        height, width = evidence.mwp.shape
        titles += [f"{kind}\n{evidence.layer} {height} x {width}" for kind in _MAPS]
    rows, captions = [], []
    for prediction in explanation.predictions:
        row = [small]
        for evidence in prediction.evidence:
            maps = evidence.mwp, evidence.contrastive_mwp, -evidence.dual_mwp
            row += [signed_picture(picture, values) for values in maps]
        rows.append(row)
        captions.append(f"{prediction.name}\nscore {prediction.score:.2f}, {prediction.probability:.1%}")
    return tiled(rows, titles, captions, _CELL_PX)
