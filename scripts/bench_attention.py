"""How much attention maps cost, in forward passes of the same network: medians of interleaved runs in one process.

Networks have random weights and see one noise picture. Prints a table, and with --json one JSON object instead.
"""

import argparse
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable

import torch
import torchvision
from torch import Tensor, nn

from grounding.attention import contrastive_mwp, record
from grounding.tagging.network import plain_network
from grounding.training.config import NetworkConfig

# (channels, stride) of each convolution of the embedded classifier
EMBEDDED = tuple(zip(NetworkConfig().channels, NetworkConfig().strides, strict=True))


def network(name: str) -> Callable[[Tensor], Tensor]:
    """A torchvision classifier by name, or `embedded`."""
    if name == "embedded":
        tags = plain_network(EMBEDDED, 1000, normalised=False).eval()
        return lambda images: tags.mean_scores(tags.features(images))
    options = {"init_weights": False} if name == "googlenet" else {}
    model: nn.Module = torchvision.models.get_model(name, weights=None, **options)
    return model.eval()


def medians(steps: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Seconds each step takes: the steps run in turn, after one round that does not count."""
    times: dict[str, list[float]] = {name: [] for name in steps}
    for repeat in range(repeats + 1):
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            if repeat:
                times[name].append(time.perf_counter() - start)
    return {name: statistics.median(taken) for name, taken in times.items()}


def measure(name: str, stride: float, size_px: int, signals: int, repeats: int) -> dict[str, object]:
    """One row of the table: times in milliseconds, and the total as a multiple of the forward pass."""
    torch.manual_seed(0)
    model, image = network(name), torch.rand(1, 3, size_px, size_px)
    tape = record(model, image)
    weights = torch.eye(tape.output.shape[1])[:signals]

    def forward() -> Tensor:
        with torch.no_grad():
            return model(image)

    times = medians(
        {
            "forward": forward,
            "record": lambda: record(model, image),
            "walk": lambda: contrastive_mwp(tape, weights, stride=stride),
            "total": lambda: contrastive_mwp(record(model, image), weights, stride=stride),
        },
        repeats,
    )
    row: dict[str, object] = {"network": name, "stride": stride, "size_px": size_px, "signals": signals}
    row |= {f"{step}_ms": round(taken * 1000, 1) for step, taken in times.items()}
    return row | {"forward_passes": round(times["total"] / times["forward"], 2)}


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--signals", type=int, default=16, help="K, the number of top-down signals (default 16)")
    parser.add_argument("--repeats", type=int, default=7, help="runs of which the median is taken (default 7)")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of PyTorch")
    parser.add_argument("--networks", nargs="+", default=["vgg16", "resnet50", "googlenet", "embedded"])
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of the table")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows = []
    for name in options.networks:
        stride, size_px = (8, 224) if name == "googlenet" else (16, 384 if name == "embedded" else 224)
        rows.append(measure(name, stride, size_px, options.signals, options.repeats))
        if not options.json:
            if len(rows) == 1:
                print("  ".join(f"{key:>14}" for key in rows[0]))
            print("  ".join(f"{value:>14}" for value in rows[-1].values()), flush=True)
    if options.json:
        versions = {"python": platform.python_version(), "torch": torch.__version__}
        versions["torchvision"] = torchvision.__version__
        setting = {"threads": options.threads, "repeats": options.repeats, "processor": platform.processor()}
        json.dump({"schema_version": 1, "versions": versions, **setting, "rows": rows}, sys.stdout, indent=2)
        print()


if __name__ == "__main__":
    main()
