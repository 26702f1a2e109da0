"""Is it in the picture at all? From the probabilities of a phrase's tags to the probability that it is shown."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from torch import Tensor

from grounding.errors import GroundingError
from grounding.folders import whole_file
from grounding.text.vocabulary import Match

SCHEMA_VERSION: Final = 1
FEATURES: Final = ("head", "mean", "head log-odds", "unknown")  # of a phrase: see `PresenceModel.features`
_EPSILON: Final = 1e-9
_AGAIN: Final = "fit it again with python -m grounding.train presence"
_KEYS: Final = {"schema_version", "tag_means", "tag_stds", "weights", "bias", "threshold", "recipe"}

Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class PresenceModel:
    """A logistic model, learnt without boxes by `grounding.training.presence`: phrases of a picture's captions against
    phrases of the captions of others, as many of the one as of the other.

    Attributes:
        tag_means: (T,) of each tag's log-odds over the pictures it was learnt from.
        tag_stds: (T,) likewise, their standard deviations.
        weights: (F,) of `features`; `bias` is added.
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
        return expit(float(self.features(log_odds, words, head, indices) @ self.weights) + self.bias)

    def features(self, log_odds: Numbers, words: Sequence[Match], head: str, indices: Mapping[str, int]) -> Numbers:
        """Describe a phrase in a picture by the log-odds of its tags, also measured from what is usual for the tag.

        Args:
            log_odds: (T,) of the tags for the picture.
            words: of the phrase.
            head: its head noun.
            indices: the output of each tag.

        Returns:
            (F,) the standardised log-odds of the head's tag (of the last word with a tag, where the head has none); the
            mean of those of all words by their weights; the log-odds of the head's tag; and 0. For a phrase without
            any tag, 0, 0, 0 and 1.
        """
        outputs = [_best(log_odds, match, indices) for match in words if match.tags]
        if not outputs:
            return np.array([0.0, 0.0, 0.0, 1.0])
        standard = (log_odds[outputs] - self.tag_means[outputs]) / self.tag_stds[outputs]
        weights = [match.weight for match in words if match.tags]
        of_head = [_best(log_odds, match, indices) for match in words if match.tags and match.word == head]
        last = outputs.index(of_head[-1]) if of_head else -1
        return np.array([standard[last], np.average(standard, weights=weights), log_odds[outputs[last]], 0.0])


def _best(log_odds: Numbers, match: Match, indices: Mapping[str, int]) -> int:
    """The output of a word's tag; of several, the most probable one."""
    return max((indices[tag] for tag in match.tags), key=lambda output: float(log_odds[output]))


def to_log_odds(probabilities: Tensor) -> Numbers:
    """Turn (..., T) probabilities into float64 log-odds; those that are 0 or 1 stay finite.

    They are rounded to two digits, so that the order in which threads sum shows in no result.
    """
    log_odds: Numbers = probabilities.double().logit(_EPSILON).numpy().round(2)
    return log_odds


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
    except (OSError, ValueError, RecursionError) as error:
        raise GroundingError(f"presence model {path} cannot be read ({error}): {_AGAIN}") from error
    if not isinstance(values, dict) or _KEYS - values.keys() or values["schema_version"] != SCHEMA_VERSION:
        raise GroundingError(f"presence model {path} is not one of version {SCHEMA_VERSION}: {_AGAIN}")
    try:
        means, stds, weights = (np.array(values[key], np.float64) for key in ("tag_means", "tag_stds", "weights"))
        numbers = float(values["bias"]), float(values["threshold"])
    except (TypeError, ValueError, OverflowError) as error:
        raise GroundingError(f"presence model {path} holds something else than numbers: {_AGAIN}") from error
    shapes = means.shape, stds.shape, weights.shape
    if shapes != ((tags,), (tags,), (len(FEATURES),)) or not (stds > 0).all():
        raise GroundingError(f"presence model {path} is not of this classifier of {tags} tags: {_AGAIN}")
    if not all(np.isfinite(each).all() for each in (means, stds, weights, numbers)):
        raise GroundingError(f"presence model {path} holds NaN or infinity: {_AGAIN}")
    recipe = values["recipe"]
    if not isinstance(recipe, dict) or type(recipe.get("pictures")) is not int:
        raise GroundingError(f"presence model {path} does not say of how many pictures it is: {_AGAIN}")
    return PresenceModel(means, stds, weights, *numbers, recipe)


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
