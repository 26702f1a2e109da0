"""How fast and how large is an evaluation? Photographs a second, peak memory over the run, and ready-made predictions.

    python scripts/bench_evaluate.py --images ../shared/data/flickr-val-00000.tar \\
        --annotations ../shared/data/flickr30k_entities_trainval.zip

Prints JSON. The first run's time is of the whole command, loading included; its peak resident memory is read when 50
photographs are done and when the report is written. The second scores ten random boxes for each phrase of the split.
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from grounding.datasets.flickr30k import Flickr30kEntities, boxed_phrases
from grounding.evaluation.predictions.prediction import Prediction, phrase_key
from grounding.evaluation.predictions.records import to_line

EARLY = 50


def peak_mib(process: int) -> float:
    """The peak resident memory of a process so far (Linux)."""
    status = Path(f"/proc/{process}/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) / 1024


def run(arguments: list[str], output: Path) -> dict[str, float]:
    """Time a command and watch its memory until its results are there."""
    measured: dict[str, float] = {}
    command = [sys.executable, "-m", "grounding.evaluate", "flickr30k", *arguments, "--output", str(output)]
    lines = output.with_name(f"{output.name}.partial") / "results.jsonl"
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None:
        with contextlib.suppress(OSError, StopIteration):  # it ends at any moment
            if not output.exists():  # importing torch alone makes a process grow by a hundred MiB when it exits
                measured["peak_mib"] = peak_mib(process.pid)
            if lines.is_file() and lines.read_bytes().count(b"\n") >= EARLY:
                measured.setdefault(f"peak_after_{EARLY}_mib", peak_mib(process.pid))
        time.sleep(0.02)
    if process.returncode:
        raise SystemExit(f"the evaluation ended with status {process.returncode}")
    return measured | {"seconds": time.perf_counter() - start}


def main() -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", required=True)
    parser.add_argument("--annotations", type=Path, required=True)
    parser.add_argument("--split", default="val")
    options = parser.parse_args()
    data = ["--annotations", str(options.annotations), "--split", options.split]
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        localizer = run([*data, "--images", options.images], folder / "localizer")
        metrics = json.loads((folder / "localizer" / "metrics.json").read_text(encoding="utf-8"))
        localizer["photographs"] = metrics["dataset"]["images_evaluated"]
        localizer["photographs_a_second"] = localizer["photographs"] / localizer["seconds"]

        generator, ready = np.random.default_rng(0), folder / "ready.jsonl"
        with ready.open("w", encoding="utf-8") as file:
            phrases = boxed_phrases(Flickr30kEntities(options.annotations).read(options.split))
            for image, phrase in phrases:
                corners = generator.uniform(0, [image.width, image.height], (10, 2, 2))
                boxes = np.concatenate([corners.min(1), corners.max(1)], axis=1)
                file.write(to_line(phrase_key(image, phrase), Prediction(boxes, generator.random(10))))
        given = run([*data, "--predictions", str(ready)], folder / "given")
        given["phrases"] = len(phrases)
    print(json.dumps({"cores": os.cpu_count(), "localizer": localizer, "predictions": given}, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
