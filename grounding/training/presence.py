"""Fits a presence model, without boxes: phrases of a picture's captions against phrases of other pictures' captions."""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from grounding.datasets.webimages import CaptionedImages
from grounding.errors import GroundingError
from grounding.images import check_image
from grounding.tagging.classifier import TagClassifier
from grounding.tagging.presence import FEATURES, Numbers, PresenceModel, expit, to_log_odds
from grounding.text.mentions import mentioned
from grounding.text.phrases import Chunker, Phrase
from grounding.text.tags import content_words
from grounding.text.vocabulary import Vocabulary
from grounding.wording import counted

ABSENT_SHARE: Final = 0.03  # of the phrases of a picture's own captions, that the default threshold calls absent
FEW: Final = 50  # phrases of others: with fewer, hardly anything is learnt
_RIDGE: Final = 1e-3
_LEAST_STD: Final = 1e-3


@dataclass(frozen=True, slots=True)
class Example:
    """A phrase asked of a picture: of its own captions (`shown`), or of those of another picture."""

    picture: int
    phrase: Phrase
    shown: bool


def examples(captions: Sequence[Sequence[str]]) -> Iterator[Example]:
    """Ask each picture for the phrases of its captions and for those of the next picture's.

    Left out is what another picture's caption names and its own captions may name too: the same head, a synonym, a kind
    of it or what it is a kind of. A phrase counts once for a picture.
    """
    chunker = Chunker.load()
    phrases = [_distinct(phrase for caption in group for phrase in chunker.phrases(caption)) for group in captions]
    for picture, group in enumerate(captions):
        yield from (Example(picture, phrase, True) for phrase in phrases[picture])
        words = {word for caption in group for word in content_words(caption)}
        others = phrases[(picture + 1) % len(captions)]
        yield from (Example(picture, phrase, False) for phrase in others if not mentioned(phrase.head, words))


def _distinct(phrases: Iterator[Phrase]) -> list[Phrase]:
    return list({phrase.text.lower(): phrase for phrase in phrases}.values())


def fit_presence(
    classifier: TagClassifier, images: CaptionedImages, limit: int, progress: Callable[[int], object]
) -> PresenceModel:
    """Fit the presence model of a classifier on the first `limit` pictures.

    Args:
        progress: called with 1 for each picture.

    Raises:
        GroundingError: the tags of the classifier exclude each other, or the pictures give no phrases of both kinds.
    """
    if not classifier.multi_label:
        raise GroundingError(
            f"the tags of {classifier.name} exclude each other (softmax): presence is learnt for independent tags"
        )
    pictures = range(min(limit, len(images)))
    log_odds = np.stack([_log_odds(classifier, images, picture, progress) for picture in pictures])  # (N, T)
    means, stds = log_odds.mean(0), np.maximum(log_odds.std(0), _LEAST_STD)
    plain = PresenceModel(means, stds, np.zeros(len(FEATURES)), 0.0, 0.0, {})
    vocabulary, captions = Vocabulary(classifier.tags), images.captions[: len(pictures)]
    rows, shown = [], []
    for example in examples(captions):
        words = vocabulary.match(example.phrase)
        of_picture = log_odds[example.picture], words, example.phrase.head, classifier.indices
        rows.append(plain.features(*of_picture))
        shown.append(example.shown)
    described, labels = np.array(rows).reshape(-1, len(FEATURES)), np.array(shown, bool)
    if labels.all() or not labels.any():
        given = counted(len(pictures), "picture")
        raise GroundingError(f"no phrases to tell apart come from {given}: expected more of them")
    weights, bias = logistic_regression(described, labels)
    known = labels & (described[:, FEATURES.index("unknown")] == 0)
    presences = [expit(value) for value in described[known] @ weights + bias]
    recipe = {
        "pictures": len(pictures),
        "captions": hashlib.sha256(json.dumps(captions).encode()).hexdigest()[:16],
        "phrases_shown": int(labels.sum()),
        "phrases_of_others": int((~labels).sum()),
        "features": list(FEATURES),
        "absent_share": ABSENT_SHARE,
    }
    return PresenceModel(means, stds, weights, bias, float(np.quantile(presences, ABSENT_SHARE)), recipe)


@torch.no_grad()
def _log_odds(
    classifier: TagClassifier, images: CaptionedImages, picture: int, progress: Callable[[int], object]
) -> Numbers:
    """(T,) of one picture."""
    pixels = classifier.preprocessing(check_image(images.read(picture)))
    _, logits = classifier.evidence(pixels)
    progress(1)
    return to_log_odds(classifier.probabilities(logits)[0].clone())


def logistic_regression(described: Numbers, labels: npt.NDArray[np.bool_]) -> tuple[Numbers, float]:
    """Fit weights and a bias, the examples of either label counting half of all, with a slight ridge on the weights.

    Args:
        described: (N, F).
        labels: (N,).

    Returns:
        (F,) weights, and the bias.
    """
    inputs, wanted = torch.from_numpy(described), torch.from_numpy(labels).double()
    share = torch.where(wanted == 1, 0.5 / wanted.sum(), 0.5 / (1 - wanted).sum())
    parameters = torch.zeros(described.shape[1] + 1, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([parameters], max_iter=200, tolerance_change=1e-12, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        logits = inputs @ parameters[:-1] + parameters[-1]
        losses = torch.nn.functional.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
        value = (share * losses).sum() + _RIDGE * parameters[:-1].square().sum()
        value.backward()
        return value

    optimizer.step(loss)
    *weights, bias = parameters.detach().tolist()
    return np.array(weights), bias
