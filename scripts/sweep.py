"""Try settings of maps and regions on validation photographs: every combination, pointing and R@1 of each.

    python scripts/sweep.py --manifest runs/val/manifest.jsonl \\
        --annotations ../shared/data/flickr30k_entities_trainval.zip regions.gamma=0.2,0.3 maps.box_smoothing=0.02,0.03

The manifest is the one that `../shared/tools/score --output runs/val` writes. Protocol and interval as in
`wrong_phrase_control.py`. Use it on photographs that nothing is finally reported on.
"""

import argparse
import itertools
import json
import sys
import zipfile
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
from tqdm import tqdm
from wrong_phrase_control import chain_boxes, hits, marked_chains

import grounding
from grounding.config import LocalizerConfig, load
from grounding.pipeline import Localizer


def main() -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--annotations", type=Path, required=True)
    parser.add_argument("--classifier", default="embedded")
    parser.add_argument("--image-size", type=int, help="show the network pictures of this side in px")
    parser.add_argument("--every", type=int, default=1, help="use every n-th photograph only")
    parser.add_argument("settings", nargs="*", metavar="key=value,value", help="for example regions.gamma=0.2,0.3")
    options = parser.parse_args()
    choices = [
        [f"{key}={v}" for v in values.split(",")] for key, _, values in (s.partition("=") for s in options.settings)
    ]
    combinations = [load(LocalizerConfig, None, overrides) for overrides in itertools.product(*choices)]
    classifier = grounding.Localizer.from_pretrained(options.classifier).classifier
    if options.image_size:
        classifier.preprocessing = replace(classifier.preprocessing, image_size_px=options.image_size)
    localizers = [Localizer(classifier, config) for config in combinations]

    archive = zipfile.ZipFile(options.annotations)
    rows = defaultdict(list)
    for line in options.manifest.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        rows[row["image"]].append(row)
    counts: list[int] = []
    sums: list[list[tuple[int, int]]] = []
    for path, captions in tqdm(list(rows.items())[:: options.every], unit=" photographs"):
        image = grounding.read_image(path)
        boxes = chain_boxes(archive, Path(path).stem, image.shape[1], image.shape[0])
        chains = marked_chains(archive, Path(path).stem, boxes)
        wanted = [
            pair for row in captions for pair in zip(row["phrases"], chains[row["caption"]], strict=True)
        ]  # (text, chain)
        texts = sorted({text for text, _ in wanted})
        counts.append(len(wanted))
        sums.append([])
        for localizer in localizers:
            result = localizer.encode(image).ground(", ".join(texts), texts, top_k=1).to_dict()
            found = {phrase["text"]: phrase for phrase in result["phrases"]}
            table = np.array([hits(found[text], boxes[chain]) for text, chain in wanted])
            sums[-1].append((int(table[:, 0].sum()), int(table[:, 1].sum())))
    shares = 100 * np.array(sums).sum(0) / sum(counts)  # (combinations, 2)
    print(f"{sum(counts)} phrases of {len(counts)} photographs; pointing any-box, R@1 merged-box")
    for overrides, (pointing, recall) in zip(itertools.product(*choices), shares, strict=True):
        print(f"{pointing:5.1f} {recall:5.1f}  {' '.join(overrides) or 'defaults'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
