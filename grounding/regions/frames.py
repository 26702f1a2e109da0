"""Where on a person a piece of clothing or a part of the body is: a template in the frame of the person's box."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from grounding.regions.maps import axis
from grounding.text.tokens import stem

FRAMES_FILE = "frames.npz"
CELLS = 24  # a side of a template
MARGIN = 0.25  # of the box, that a template reaches beyond it on each side
_FLOOR = 0.02  # of what is left of a map outside

Box = npt.NDArray[Any]  # (4,) `x0 y0 x1 y1`


@dataclass(frozen=True, slots=True, eq=False)
class Frames:
    """Templates by the stems of words, each (CELLS, CELLS) float32, at least 0, with 1 at its top.

    A template is the mean map of a word in the frames of the people of many photographs, found without boxes by
    `tools/derive_frames.py`. That of a kind, `clothing` or `body`, stands in for its words without one.
    """

    templates: Mapping[str, Tensor] = field(repr=False)

    @staticmethod
    @functools.cache
    def embedded() -> "Frames":
        """Load the templates of the package, stored as bytes."""
        with (
            resources.files("grounding.regions").joinpath(FRAMES_FILE).open("rb") as file,
            np.load(file, allow_pickle=False) as stored,
        ):
            words, values = stored["words"].tolist(), torch.from_numpy(stored["templates"]).float() / 255
        return Frames(dict(zip(words, values, strict=True)))

    def find(self, word: str, kind: str | None) -> Tensor | None:
        """The template of a word, else that of its kind, else None."""
        return self.templates.get(stem(word), self.templates.get(f"kind {kind}"))


def in_frame(map_: Tensor, template: Tensor, box: Box) -> Tensor:
    """Multiply the map of what a person wears or has with where that is on a person.

    Args:
        map_: (side, side), at least 0.
        template: (CELLS, CELLS), at least 0, 1 at its top.
        box: the person's, in shares of the sides of the picture.

    Returns:
        (side, side), at least 0: the map times the template laid on the box, and 0.02 of it everywhere.
    """
    side = len(map_)
    x, y = ((axis(side) - float(low)) / max(float(high - low), 1e-6) for low, high in (box[[0, 2]], box[[1, 3]]))
    return map_ * (_sample(template, _to_grid(x), _to_grid(y)) + _FLOOR)


def cut_out(maps: Tensor, box: Box) -> Tensor:
    """Cut maps out in the frame of a box, as templates are: (K, h, w) -> (K, CELLS, CELLS), 0 outside the picture."""
    place = (axis(CELLS) * (1 + 2 * MARGIN)) - MARGIN  # in shares of the box
    x, y = (float(low) + place * float(high - low) for low, high in (box[[0, 2]], box[[1, 3]]))
    return torch.stack([_sample(map_, x * 2 - 1, y * 2 - 1) for map_ in maps])


def _to_grid(place: Tensor) -> Tensor:
    """Shares of a box -> places on its template, which is -1 to 1 from edge to edge."""
    return (place + MARGIN) / (1 + 2 * MARGIN) * 2 - 1


def _sample(map_: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Read a map bilinearly at all pairs of an x and a y, (X,) and (Y,) in -1 to 1: (Y, X); 0 outside."""
    grid = torch.stack(torch.meshgrid(x, y, indexing="xy"), -1)  # (Y, X, 2)
    return grid_sample(map_[None, None], grid[None], padding_mode="zeros", align_corners=False)[0, 0]
