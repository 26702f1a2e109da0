"""Is it in the picture at all? From the probabilities of a phrase's tags to the probability that it is shown."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from grounding.errors import GroundingError
from grounding.folders import whole_file
from grounding.text.vocabulary import Match

SCHEMA_VERSION: Final = 1
FEATURES: Final = ("head", "mean", "least", "unknown")  # of a phrase: see `features`
_AGAIN: Final = "fit it again with python -m grounding.train presence"
_KEYS: Final = {"schema_version", "tag_means", "tag_stds", "weights", "bias", "threshold", "recipe"}

Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class PresenceModel:
    """A logistic model, learnt without boxes by `grounding.training.presence`: phrases of a picture's captions against
    phrases of the captions of others, as many of the one as of the other.

    Attributes:
        tag_means, tag_stds: (T,) of each tag's log-odds over the pictures it was learnt from.
        weights: (F,) of `features`.
        threshold: below it a phrase is called absent, by default.
        recipe: what it was learnt from, for people.
    """

    tag_means: Numbers = field(repr=False)
    tag_stds: Numbers = field(repr=False)
    weights: Numbers
    bias: float
    threshold: float
    recipe: Mapping[str, Any]

    def __call__(self, log_odds: Numbers, words: Sequence[Match], head: str, indices: Mapping[str, int]) -> float:
        """Say how probable it is that the picture shows a phrase.

        Args:
            log_odds: (T,) of the tags for the picture.
            words: of the phrase.
            head: its head noun.
            indices: the output of each tag.
        """
        standard = (log_odds - self.tag_means) / self.tag_stds
        return expit(float(features(standard, words, head, indices) @ self.weights) + self.bias)


def features(standard: Numbers, words: Sequence[Match], head: str, indices: Mapping[str, int]) -> Numbers:
    """Describe a phrase in a picture by its tags: how far their log-odds are above what is usual for them.

    Args:
        standard: (T,) log-odds, less the mean of their tag, over its standard deviation.

    Returns:
        (F,) the value of the head's tag (of the last word with a tag, where the head has none), the mean of all words
        by their weights, the least of them, and 0; or 0, 0, 0 and 1 for a phrase without any tag.
    """
    known = [(match, standard[indices[match.tag]]) for match in words if match.tag]
    if not known:
        return np.array([0.0, 0.0, 0.0, 1.0])
    values = np.array([value for _, value in known])
    of_head = [value for match, value in known if match.word == head] or [values[-1]]
    mean = np.average(values, weights=[match.weight for match, _ in known])
    return np.array([of_head[-1], mean, values.min(), 0.0])


def expit(value: float) -> float:
    """Return the logistic function of a number, without overflow."""
    return 0.5 * (1 + math.tanh(value / 2))


def read_presence(path: Path, tags: int) -> PresenceModel | None:
    """Read what `write_presence` wrote; None where there is no such file.

    Raises:
        GroundingError: the file is broken, or of a classifier with another number of tags.
    """
    try:
        values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise GroundingError(f"presence model {path} cannot be read ({error}): {_AGAIN}") from error
    if not isinstance(values, dict) or _KEYS - values.keys() or values["schema_version"] != SCHEMA_VERSION:
        raise GroundingError(f"presence model {path} is not one of version {SCHEMA_VERSION}: {_AGAIN}")
    try:
        means, stds, weights = (np.array(values[key], np.float64) for key in ("tag_means", "tag_stds", "weights"))
        numbers = float(values["bias"]), float(values["threshold"])
    except (TypeError, ValueError) as error:
        raise GroundingError(f"presence model {path} holds something else than numbers: {_AGAIN}") from error
    shapes = means.shape, stds.shape, weights.shape
    if shapes != ((tags,), (tags,), (len(FEATURES),)) or not (stds > 0).all():
        raise GroundingError(f"presence model {path} is not of this classifier of {tags} tags: {_AGAIN}")
    return PresenceModel(means, stds, weights, *numbers, values["recipe"])


def write_presence(model: PresenceModel, path: Path) -> None:
    """Write a model as JSON, rounded to what its numbers are worth."""
    values = {
        "schema_version": SCHEMA_VERSION,
        "recipe": dict(model.recipe),
        "threshold": round(model.threshold, 4),
        "bias": round(model.bias, 4),
        "weights": model.weights.round(4).tolist(),
        "tag_means": model.tag_means.round(3).tolist(),
        "tag_stds": model.tag_stds.round(3).tolist(),
    }
    with whole_file(path) as file:
        file.write(json.dumps(values) + "\n")
