"""How strongly large boxes are held back: by the spread of the map, and for people by how close the photograph is."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from grounding.boxes import Values
from grounding.config import RegionConfig
from grounding.regions.scoring import spread


def closeness(log_odds: Mapping[str, float], parts: Sequence[str]) -> float | None:
    """Measure how close a photograph is taken: the mean log-odds of body parts; None where one of them is no tag.

    Args:
        log_odds: of the tags of a multi-label classifier for the photograph.
        parts: the tags to look at.
    """
    if not all(part in log_odds for part in parts):
        return None
    mean = sum(log_odds[part] for part in parts) / len(parts)
    return round(mean, 2)  # so that the order in which threads sum shows in no result


def area_powers(
    maps: npt.NDArray[np.float32],
    people: Sequence[bool],
    close: float | None,
    config: RegionConfig,
    more: Values | float = 0.0,
) -> Values:
    """Choose the power of the area that each phrase's boxes are scored with, in each of the turns.

    Args:
        maps: (P, h, w) float32, at least 0.
        people: (P,) whether each phrase names people.
        close: the `closeness` of the photograph; with None its people are taken to be of the usual size.
        more: (P,) or one number, added to every power.

    Returns:
        (turns, P) float64, at least 0.
    """
    powers = config.gamma + more - config.spread_gamma * np.log(spread(maps))  # (P,)
    if close is not None:
        powers -= config.closeness_gamma * (close - config.usual_closeness) * np.array(people)
    turns: Values = np.maximum(powers + np.array(config.turns)[:, None], 0)
    return turns
