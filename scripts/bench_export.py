"""What the exported localizer costs in onnxruntime, beside PyTorch, on one thread.

    python scripts/bench_export.py
    python scripts/bench_export.py --classifier FOLDER --words 1 6 24 --repeats 9

Milliseconds of processor time, which other programs disturb less than the clock: medians of interleaved runs on one
picture of noise, after two that do not count. *Forward* is the tag probabilities alone; *localizer* is these and the
maps of K words. It also prints the sizes of the files and by how much the outputs differ, relative to their largest
values.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import onnxruntime
import torch
from torch import Tensor

from grounding.config import MapConfig
from grounding.exporting.localizer import PlainLocalizer
from grounding.exporting.onnx_file import write_onnx
from grounding.methods import contrastive_mwp, encode
from grounding.tagging.sources import load_classifier


def session(path: Path) -> onnxruntime.InferenceSession:
    """A file in onnxruntime, on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def medians(steps: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Milliseconds of processor time of each step."""
    times: dict[str, list[float]] = {name: [] for name in steps}
    for repeat in range(-2, repeats):
        for name, step in steps.items():
            start = time.process_time()
            step()
            if repeat >= 0:
                times[name].append(1e3 * (time.process_time() - start))
    return {name: statistics.median(found) for name, found in times.items()}


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description="What the exported localizer costs, beside PyTorch.")
    parser.add_argument("--classifier", default="embedded")
    parser.add_argument("--words", type=int, nargs="+", default=[1, 6, 24], metavar="K")
    parser.add_argument("--repeats", type=int, default=9)
    options = parser.parse_args()
    torch.set_num_threads(1)
    classifier = load_classifier(options.classifier)
    side, tags = classifier.preprocessing.image_size_px, len(classifier.tags)
    pixels = torch.rand(1, 3, side, side)
    images = classifier.preprocessing.normalise(pixels)
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        files = {what: write_onnx(classifier, what, Path(folder, what)) for what in ("classifier", "localizer")}
        sessions = {what: session(file.path) for what, file in files.items()}
        for what, file in files.items():
            print(f"{what}: {file.size_bytes / 1e6:.1f} MB, differs by {file.difference:.1e} of the largest value")
        module = PlainLocalizer(classifier).eval()

        def localized(count: int) -> dict[str, Callable[[], object]]:
            signals = torch.eye(tags)[:count]
            feeds = {"pixels": pixels.numpy(), "signals": signals[None].numpy()}

            def walked() -> Tensor:
                return contrastive_mwp(encode(classifier, images), signals, MapConfig())

            return {
                f"localizer, K = {count}: engine": walked,
                f"localizer, K = {count}: the same module in PyTorch": lambda: module(pixels, signals[None]),
                f"localizer, K = {count}: onnxruntime": lambda: sessions["localizer"].run(None, feeds),
            }

        steps: dict[str, Callable[[], object]] = {
            "forward: PyTorch": lambda: classifier.network(images),
            "forward: onnxruntime": lambda: sessions["classifier"].run(None, {"pixels": pixels.numpy()}),
        }
        for count in options.words:
            steps |= localized(count)
        for name, found in medians(steps, options.repeats).items():
            print(f"{name}: {found:.1f} ms")
    print(f"load average {os.getloadavg()[0]:.1f}, torch {torch.__version__}, onnxruntime {onnxruntime.__version__}")


if __name__ == "__main__":
    main()
