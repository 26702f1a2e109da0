"""Candidate boxes of a picture, the same for every phrase."""

from typing import Any

import numpy as np

from grounding.boxes import Boxes
from grounding.config import RegionConfig
from grounding.images import RgbImage

_MOST_EDGE_BOXES = 2000
_SEARCH_SIDE_PX = 256  # longest side a picture is shrunk to before Selective Search and EdgeBoxes look at it


def propose(image: RgbImage, config: RegionConfig) -> Boxes:
    """Make the candidate boxes that a configuration names.

    Args:
        image: (H, W, 3) uint8 RGB.
        config: whose `proposals` are `windows`, `selective-search` or `edge-boxes`.

    Returns:
        (N, 4) float32 boxes in pixels of `image`; N is 0 when Selective Search or EdgeBoxes finds nothing.
    """
    height, width = image.shape[:2]
    if config.proposals == "windows":
        return windows(height, width, config.windows)
    if min(height, width) < 2:
        return np.zeros((0, 4), np.float32)
    scale = min(1.0, _SEARCH_SIDE_PX / max(height, width))
    search = _selective_search if config.proposals == "selective-search" else _edge_boxes
    rows = search(image, scale).astype(np.float32).reshape(-1, 4)  # (N, 4) x, y, width, height
    rows = np.unique(rows, axis=0)  # in an order of ours: that of Selective Search is random
    boxes = np.concatenate([rows[:, :2], rows[:, :2] + rows[:, 2:]], axis=1) / scale
    inside: Boxes = np.minimum(boxes, [width, height, width, height]).astype(np.float32)
    return inside


def windows(height: int, width: int, count: int) -> Boxes:
    """Make all boxes on a grid of `count` x `count` cells over the picture: every place, scale and aspect ratio.

    Args:
        height: of the picture, in px.
        width: of the picture, in px.
        count: cells along each side.

    Returns:
        ((count * (count + 1) / 2)², 4) float32 boxes in pixels.
    """
    edges = np.arange(count + 1, dtype=np.float32) / count
    first, last = np.triu_indices(count + 1, k=1)
    across, down = np.meshgrid(np.arange(len(first)), np.arange(len(first)))
    x, y = across.ravel(), down.ravel()
    grid = np.stack([edges[first[x]], edges[first[y]], edges[last[x]], edges[last[y]]], axis=1)
    return (grid * [width, height, width, height]).astype(np.float32)


def _selective_search(image: RgbImage, scale: float) -> Any:
    """Search the picture shrunk by this scale, with OpenCV: (N, 4) x, y, width, height."""
    import cv2

    search = cv2.ximgproc.segmentation.createSelectiveSearchSegmentation()
    search.setBaseImage(cv2.resize(image[:, :, ::-1], None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA))
    search.switchToSelectiveSearchFast()
    return search.process()


def _edge_boxes(image: RgbImage, scale: float) -> Any:
    """Search as `_selective_search`, by Canny's edges with the strength and orientation of the Sobel gradient."""
    import cv2

    small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    grey = cv2.GaussianBlur(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), (0, 0), 1.0)
    across, down = cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1)
    strength = np.hypot(across, down) * (cv2.Canny(grey, 40, 100) > 0)
    if not strength.any():
        return np.zeros((0, 4), np.float32)
    orientation = np.mod(np.arctan2(down, across), np.pi).astype(np.float32)
    search = cv2.ximgproc.createEdgeBoxes(maxBoxes=_MOST_EDGE_BOXES)
    return search.getBoundingBoxes((strength / strength.max()).astype(np.float32), orientation)[0]
