"""How strongly large boxes are held back: by the spread of the map, and for people by how close the photograph is."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from grounding.boxes import Values
from grounding.config import RegionConfig
from grounding.regions.scoring import spread
from grounding.text.tokens import stem

BODY_PARTS = ("face", "hair", "hand", "head", "mouth")  # written in captions of close photographs
PEOPLE = frozenset(
    map(
        stem,
        """
        man woman men women boy girl child children kid baby toddler person people guy lady gentleman male female
        player worker couple group crowd team
        """.split(),  # noqa: SIM905
    )
)


def closeness(log_odds: Mapping[str, float]) -> float | None:
    """How close a photograph is taken: the mean log-odds of its `BODY_PARTS`, or None where a tag of them is unknown.

    Args:
        log_odds: of the tags of a multi-label classifier for the photograph.
    """
    if not all(part in log_odds for part in BODY_PARTS):
        return None
    mean = sum(log_odds[part] for part in BODY_PARTS) / len(BODY_PARTS)
    return round(mean, 2)  # so that the order in which threads sum shows in no result


def area_powers(
    maps: npt.NDArray[np.float32], heads: Sequence[str], close: float | None, config: RegionConfig
) -> Values:
    """The power of the area that each phrase's boxes are scored with, in each of the turns.

    Args:
        maps: (P, h, w) float32, at least 0.
        heads: the head noun of each phrase.
        close: the `closeness` of the photograph; with None its people are taken to be of the usual size.

    Returns:
        (turns, P) float64, at least 0.
    """
    powers = config.gamma - config.spread_gamma * np.log(spread(maps))  # (P,)
    if close is not None:
        people = np.array([stem(head) in PEOPLE for head in heads])
        powers -= config.closeness_gamma * (close - config.usual_closeness) * people
    turns: Values = np.maximum(powers + np.array(config.turns)[:, None], 0)
    return turns
