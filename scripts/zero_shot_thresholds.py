"""How often the zero-shot detector draws a box for a class that is in a picture, and for one that is not, by threshold.

python scripts/zero_shot_thresholds.py --pictures 120
"""

import argparse
import io
import json
import tarfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

import grounding
from grounding.boxes import iou

COCO = Path("../shared/data/coco-val2017-281.tar")
THRESHOLDS = (0.05, 0.1, 0.2, 0.3, 0.4)


def main() -> None:
    """Print the table of docs/guides/integrations.md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--coco", type=Path, default=COCO, help="a tar with val2017/ and annotations/")
    parser.add_argument("--pictures", type=int, default=120)
    options = parser.parse_args()
    detector = grounding.zero_shot_object_detector(threshold=0.0)
    with tarfile.open(options.coco) as files:
        instances = json.load(files.extractfile("annotations/instances_val2017.json"))  # type: ignore[arg-type]
        names = {each["id"]: each["name"] for each in instances["categories"]}
        truth: dict[int, dict[str, list[list[float]]]] = defaultdict(lambda: defaultdict(list))
        for each in instances["annotations"]:
            x, y, width, height = each["bbox"]
            truth[each["image_id"]][names[each["category_id"]]].append([x, y, x + width, y + height])
        rows = []
        for image in instances["images"][: options.pictures]:
            content = files.extractfile(f"val2017/{image['file_name']}").read()  # type: ignore[union-attr]
            found = detector(grounding.read_image(io.BytesIO(content)), list(names.values()))
            for name in names.values():
                rows.append((truth[image["id"]].get(name), [each for each in found if each["label"] == name]))
    print(table(rows, options.pictures))


def table(rows: list[tuple[list[list[float]] | None, list[dict[str, Any]]]], pictures: int) -> str:
    """One row of Markdown a threshold, from the true boxes and what was found of each class of each picture."""
    lines = [
        "| threshold | in it | not in it | boxes a picture | best boxes of those in it with IoU 0.5 |",
        "|---|---|---|---|---|",
    ]
    for threshold in THRESHOLDS:
        drawn = [(true, [each for each in found if each["score"] > threshold]) for true, found in rows]
        there, gone = [found for true, found in drawn if true], [found for true, found in drawn if not true]
        best = [(true, found[0]["box"]) for true, found in drawn if true and found]
        right = [bool((iou(boxes([[*box.values()]]), boxes(true)) >= 0.5).any()) for true, box in best]
        lines.append(
            f"| {threshold} | {share(map(bool, there))} | {share(map(bool, gone))} | "
            f"{sum(len(found) for _, found in drawn) / pictures:.1f} | {share(right)} |"
        )
    return "\n".join(lines)


def boxes(rows: list[list[float]]) -> Any:
    """(N, 4) float32."""
    return np.array(rows, np.float32)


def share(values: Any) -> str:
    """How many of the values are true, in percent."""
    counted = list(values)
    return f"{100 * sum(counted) / max(1, len(counted)):.0f}%"


if __name__ == "__main__":
    main()
