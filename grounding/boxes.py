"""The one box convention: (N, 4) float `x0 y0 x1 y1`, half-open pixel edges, so the area is `(x1-x0)*(y1-y0)`."""

import numpy as np
import numpy.typing as npt

Boxes = npt.NDArray[np.float32]  # (N, 4)


def area(boxes: Boxes) -> npt.NDArray[np.float32]:
    """(N, 4) -> (N,) areas in square pixels."""
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
