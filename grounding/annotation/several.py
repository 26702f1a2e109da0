"""Several boxes for one label: each next one where the map is that earlier ones do not cover."""

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from grounding.boxes import Boxes, area, intersection
from grounding.grounded import GroundedPhrase, Region
from grounding.pipeline import Scene
from grounding.regions.confidence import agreement, falling
from grounding.regions.power import area_powers
from grounding.regions.scoring import score_boxes

MOST_SHARED: Final = 0.2  # of the smaller of two boxes that the other one covers
_LEAST_LEFT: Final = 0.02  # of the map; in less there is nothing more to find
_LEAST_SCORE: Final = 0.25  # of the best box's; a worse one costs people more than it helps


def several_regions(scene: Scene, phrase: GroundedPhrase, most: int) -> list[Region]:
    """The best region of a phrase and further ones that hardly overlap it or each other, best first.

    For each further one the phrase map is set to 0 in the boxes so far, and all proposals that share little with them
    are scored by what is left. Its score is the presence of the phrase, times the share of the map that is left, times
    how sure the box is in that map; it ends where that is less than a quarter of the best one's.
    """
    found = list(phrase.regions[:1])
    left, whole = phrase.grid_map.copy(), float(phrase.grid_map.sum())
    apart = np.ones(len(scene.proposals), np.bool_)
    while found and len(found) < most:
        apart &= shared(scene.proposals, np.array([found[-1].box], np.float32)) <= MOST_SHARED
        _clear(left, found[-1], phrase.image_size)
        share = float(left.sum()) / whole
        if not apart.any() or share < _LEAST_LEFT:
            break
        proposals = scene.proposals[apart]
        scores = _scores(scene, left, proposals)
        best = int(scores.argmax())
        sure = float(agreement(scores, proposals, np.array([best]), scene.localizer.config.regions.sharpness)[0])
        presence = 1.0 if phrase.presence is None else phrase.presence
        score = float(falling(np.array([found[-1].score, presence * share * sure]))[1])
        if score < _LEAST_SCORE * found[0].score:
            break
        x0, y0, x1, y1 = proposals[best].tolist()
        found.append(Region(x0, y0, x1, y1, score))
    return found


def shared(boxes: Boxes, other: Boxes) -> npt.NDArray[np.floating[Any]]:
    """(N, 4) and (1, 4) -> (N,) the share of the smaller box that both cover; 0 where one is empty."""
    smaller = np.minimum(area(boxes), area(other))
    both = intersection(boxes, other)[:, 0]
    share: npt.NDArray[np.floating[Any]] = np.divide(both, smaller, out=np.zeros_like(both), where=smaller > 0)
    return share


def _clear(left: npt.NDArray[np.float32], region: Region, size: tuple[int, int]) -> None:
    """Set a map to 0 in all cells that a box touches."""
    rows, columns = left.shape
    down, across = rows / size[0], columns / size[1]
    x0, y0, x1, y1 = region.box
    left[int(y0 * down) : int(np.ceil(y1 * down)), int(x0 * across) : int(np.ceil(x1 * across))] = 0


def _scores(scene: Scene, left: npt.NDArray[np.float32], proposals: Boxes) -> npt.NDArray[np.float32]:
    """(N,) of the first ranking, as the pipeline scores boxes of a phrase that names no person."""
    height, width = scene.image.shape[:2]
    powers = area_powers(left[None], [False], scene.closeness(), scene.localizer.config.regions, np.zeros(1))
    scores: npt.NDArray[np.float32] = score_boxes(left[None], proposals, height, width, powers)[0, 0]
    return scores
