"""Do standardised numbers hit the numbers of the whole split? Random parts of it, and baselines that are known on all.

    python scripts/check_standardised.py --annotations ../shared/data/flickr30k_entities_trainval.zip

For each number: that of the whole split, how many of the parts' intervals contain it, and the root mean square error
of the standardised and of the raw numbers of the parts, in points.
"""

import argparse
import sys
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from grounding.datasets.flickr30k import Flickr30kEntities
from grounding.evaluation.protocols.baselines import baselines
from grounding.evaluation.protocols.protocol import HEADLINE
from grounding.evaluation.protocols.raking import cells
from grounding.evaluation.protocols.standardised import standardise
from grounding.evaluation.protocols.summary import image_of_phrase

KNOWN = (
    ("centre point", "pointing/phrase"),
    ("centre point", "pointing/phrase-15px"),
    ("random point", "pointing/phrase"),
    ("blind boxes", "recall@1/merged-box"),
    ("blind boxes", "recall@5/merged-box"),
    ("blind boxes", "recall@1/any-box"),
    ("blind boxes", "mean-iou/any-box"),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--annotations", type=Path, required=True)
    parser.add_argument("--split", default="val")
    parser.add_argument("--images", type=int, default=247, help="of a part (default: 247)")
    parser.add_argument("--parts", type=int, default=60, help="how many (default: 60)")
    options = parser.parse_args(arguments)
    images = list(Flickr30kEntities(options.annotations).read(options.split))
    answers, whole, cluster = baselines(images), cells(images).total(), image_of_phrase(images)
    protocols = {protocol.name: protocol for protocol in HEADLINE}
    values = {(answer, name): protocols[name].values(answers[answer]) for answer, name in KNOWN}
    truth = {known: 100 * float(np.nanmean(column)) for known, column in values.items()}
    covered, standard, raw = Counter(dict.fromkeys(KNOWN, 0)), defaultdict(list), defaultdict(list)
    for seed in range(options.parts):
        chosen = np.sort(np.random.default_rng(seed).choice(len(images), options.images, replace=False))
        rows = np.isin(cluster, chosen)
        columns = {name: answers[name][rows] for name, _ in KNOWN}
        numbers = standardise([images[place] for place in chosen], whole, columns)["numbers"]
        for known in KNOWN:
            number = numbers[known[0]][known[1]]
            covered[known] += number["low"] <= truth[known] <= number["high"]
            standard[known].append(number["value"] - truth[known])
            raw[known].append(100 * float(np.nanmean(values[known][rows])) - truth[known])
    for known in KNOWN:
        errors = (float(np.sqrt(np.mean(np.square(each[known])))) for each in (standard, raw))
        print(
            f"{', '.join(known)}: {truth[known]:.1f}, in {covered[known]} of {options.parts} intervals; "
            "error {:.2f} standardised, {:.2f} raw".format(*errors)
        )
    print(f"{sum(covered.values())} of {len(KNOWN) * options.parts} intervals contain the number of the whole split")
    return 0


if __name__ == "__main__":
    sys.exit(main())
