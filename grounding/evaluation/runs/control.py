"""Do the maps know the phrase? A run as it is against the same run with the phrases of each photograph exchanged."""

import random
from typing import Any

from grounding.evaluation.predictions.prediction import MISSING, phrase_key
from grounding.evaluation.protocols.measure import measure
from grounding.evaluation.runs.comparison import compare
from grounding.evaluation.runs.scoring import Run


def control(run: Run, seed: int) -> dict[str, Any]:
    """What `compare` says of the run (b) and of its control (a)."""
    return compare(exchanged(run, seed), run)[0]


def exchanged(run: Run, seed: int) -> Run:
    """The run with every phrase's prediction that of another phrase of the same photograph.

    The other phrase is one of another chain or, where there is none, with another text, drawn with the seed.
    """
    draw, predictions = random.Random(seed), {}
    for image in run.images:
        phrases = image.boxed_phrases
        for phrase in phrases:
            others = [other for other in phrases if other.chain != phrase.chain] or [
                other for other in phrases if other.text != phrase.text
            ]
            other = draw.choice(others) if others else phrase
            predictions[phrase_key(image, phrase)] = run.predictions.get(phrase_key(image, other), MISSING)
    metrics = {**run.metrics, "name": "another phrase's result"}
    return Run(metrics, run.images, predictions, measure(run.images, predictions), "exchanged")
