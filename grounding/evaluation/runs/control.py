"""Do the maps know the phrase? Scores a finished run as it is, and with the phrases of each photograph exchanged.

The control gives every phrase the prediction of another phrase of the same photograph (one of another chain or, where
there is none, with another text), drawn with a seed. Printed is what `grounding.evaluate compare` prints: a is the
control, b the run.

    python -m grounding.evaluate flickr30k --images ../shared/data/flickr-val-00000.tar \\
        --annotations ../shared/data/flickr30k_entities_trainval.zip --output runs/val
    python scripts/wrong_phrase_control.py runs/val
"""

import argparse
import random
import sys
from pathlib import Path

from grounding.errors import GroundingError
from grounding.evaluation.runs.comparison import compare
from grounding.evaluation.protocols.measure import measure
from grounding.evaluation.predictions.prediction import phrase_key
from grounding.evaluation.runs.folder import read_run
from grounding.evaluation.runs.scoring import Run
from grounding.evaluation.report.terminal import difference_table


def exchanged(run: Run, seed: int) -> Run:
    """The run with the predictions of each photograph's phrases exchanged."""
    draw, predictions = random.Random(seed), {}
    for image in run.images:
        phrases = image.boxed_phrases
        for phrase in phrases:
            others = [other for other in phrases if other.chain != phrase.chain] or [
                other for other in phrases if other.text != phrase.text
            ]
            other = draw.choice(others) if others else phrase
            predictions[phrase_key(image, phrase)] = run.predictions[phrase_key(image, other)]
    metrics = {**run.metrics, "name": "another phrase's result"}
    return Run(metrics, run.images, predictions, measure(run.images, predictions), "exchanged")


def main() -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="the --output of `grounding.evaluate flickr30k`")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    try:
        run = read_run(options.run)
    except GroundingError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(difference_table(compare(exchanged(run, options.seed), run)[0]), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
