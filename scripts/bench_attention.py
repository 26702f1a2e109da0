"""What attention maps cost, in forward passes of the same network.

    python scripts/bench_attention.py                      # the table, K = 17
    python scripts/bench_attention.py --all --json         # also recording, growth with K, gradients, bfloat16, memory
    python scripts/bench_attention.py --peers              # VGG16 by other implementations, where they are installed
    python scripts/bench_attention.py --device cuda --signals 64 --batch 32

One process, the same threads and image for all, medians of interleaved runs. Networks have random weights and see
noise; the embedded classifier has its own. Beside each figure stands the time of its multiply-adds
(`bench_arithmetic`), in forward passes: the *limit* takes them at the rate of a large product of matrices on this
machine, the *bound* at that of the forward pass.
"""

import argparse
import ctypes
import functools
import json
import math
import platform
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torchvision
from bench_arithmetic import Where, bound, forward_multiply_adds, matrix_rate, processor
from bench_peers import installed
from torch import Tensor, nn
from tqdm import tqdm

from grounding.attention import contrastive_mwp, mwp, record
from grounding.tagging.sources import load_classifier

CASES: list[tuple[str, int, Where]] = [
    ("vgg16", 224, {"stride": 16}),
    ("resnet50", 224, {"layer": "layer3"}),
    ("resnet50", 224, {"stride": 16}),
    ("googlenet", 224, {"stride": 8}),
    ("vit_b_16", 224, {"stride": 16}),
    ("embedded", 384, {"layer": load_classifier().map_layer}),
]


class MeanScores(nn.Module):
    """The embedded network with the scores that the localizer walks from."""

    def __init__(self) -> None:
        super().__init__()
        self.network: Any = load_classifier().network

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, T)."""
        scores: Tensor = self.network.mean_scores(self.network.features(images))
        return scores


def network(name: str) -> nn.Module:
    """A torchvision classifier by name with random weights, or `embedded` with its own."""
    if name == "embedded":
        return MeanScores().eval()
    options = {"init_weights": False} if name == "googlenet" else {}
    model: nn.Module = torchvision.models.get_model(name, weights=None, **options)
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.kaiming_normal_(module.weight)  # torchvision's own let the scores of VGG16 all but vanish
    return model.eval()


def medians(steps: dict[str, Callable[[], object]], repeats: int, device: str) -> dict[str, float]:
    """Milliseconds each step takes: the steps run in turn, after two rounds that do not count."""
    times: dict[str, list[float]] = {name: [] for name in steps}
    for repeat in range(-2, repeats):
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            if device != "cpu":
                torch.accelerator.synchronize()
            if repeat >= 0:
                times[name].append(1000 * (time.perf_counter() - start))
    return {name: statistics.median(taken) for name, taken in times.items()}


class Case:
    """A network, its image, and what is read of it."""

    def __init__(
        self, name: str, size_px: int, where: Where, options: argparse.Namespace, dtype: torch.dtype = torch.float32
    ) -> None:
        torch.manual_seed(0)
        self.name, self.where, self.options = name, where, options
        self.model = network(name).to(options.device, dtype)
        self.images = torch.rand(options.batch, 3, size_px, size_px).to(options.device, dtype)
        self.tape = record(self.model, self.images)

    @property
    def label(self) -> dict[str, object]:
        """Which case this is."""
        where = ", ".join(f"{key} {value}" for key, value in self.where.items())
        return {"network": self.name, "read at": where, "image_px": self.images.shape[-1]}

    def signals(self, count: int) -> Tensor:
        """(K, T), one class each, in float32."""
        return torch.eye(self.tape.output.shape[1], device=self.options.device)[:count]

    def forward(self) -> Tensor:
        """One forward pass."""
        with torch.no_grad():
            return self.model(self.images)

    def walk(self, count: int) -> Tensor:
        """Maps of a forward pass recorded before."""
        return contrastive_mwp(self.tape, self.signals(count), **self.where)

    def total(self) -> Tensor:
        """Maps, forward pass included."""
        return contrastive_mwp(record(self.model, self.images), self.signals(self.options.signals), **self.where)

    def cost(self) -> dict[str, object]:
        """Times in milliseconds, and the total as a multiple of the forward pass."""
        count = self.options.signals
        steps: dict[str, Callable[[], object]] = {
            "forward": self.forward,
            "record": lambda: record(self.model, self.images),
            "walk": lambda: self.walk(count),
            "total": self.total,
        }
        times = medians(steps, self.options.repeats, self.options.device)
        row = self.label | {f"{step}_ms": round(taken, 1) for step, taken in times.items()}
        passes, of_maps = times["total"] / times["forward"], bound(self.tape, count, self.where)
        limit = of_maps * forward_multiply_adds(self.tape) / matrix_rate(self.options.device) / times["forward"]
        return row | {"forward passes": round(passes, 2), "limit": round(limit, 2), "bound": round(of_maps, 2)}

    def growth(self) -> dict[str, object]:
        """Time of the walk for several K, and of 64 over 16 signals: 4 where it grows as K."""
        counts = (1, 4, 16, 64)
        times = medians(
            {str(count): lambda count=count: self.walk(count) for count in counts},
            self.options.repeats,
            self.options.device,
        )
        row = self.label | {f"walk_ms, K = {count}": round(taken, 1) for count, taken in times.items()}
        return row | {"64 over 16": round(times["64"] / times["16"], 2)}

    def gradients(self) -> dict[str, object]:
        """The map of one class, forward pass included: plain, with a gradient, and that with the backward pass."""
        signals = self.signals(1)

        def differentiable() -> Tensor:
            return contrastive_mwp(record(self.model, self.images, differentiable=True), signals, **self.where)

        steps: dict[str, Callable[[], object]] = {
            "plain": lambda: contrastive_mwp(record(self.model, self.images), signals, **self.where),
            "differentiable": differentiable,
            "with backward": lambda: differentiable().square().sum().backward(),
        }
        times = medians(steps, self.options.repeats, self.options.device)
        self.model.zero_grad()
        row = self.label | {f"{name}_ms": round(taken, 1) for name, taken in times.items()}
        return row | {f"{name} / plain": round(times[name] / times["plain"], 2) for name in list(steps)[1:]}

    def bfloat16(self) -> dict[str, object]:
        """Network, images and walk in bfloat16 against float32: speed, and the largest difference in a map's maxima."""
        half = Case(self.name, self.images.shape[-1], self.where, self.options, torch.bfloat16)
        how = {"dtype": torch.bfloat16, **self.where}
        signals = self.signals(self.options.signals)
        steps: dict[str, Callable[[], object]] = {
            "float32": self.total,
            "bfloat16": lambda: contrastive_mwp(record(half.model, half.images), signals, **how),
        }
        times = medians(steps, self.options.repeats, self.options.device)
        row = self.label | {f"{name}_ms": round(taken, 1) for name, taken in times.items()}
        row["times faster"] = round(times["float32"] / times["bfloat16"], 2)
        for name, method in (("MWP", mwp), ("contrastive", contrastive_mwp)):
            found, expected = method(half.tape, signals, **how).float(), method(self.tape, signals, **self.where)
            row[f"{name}, difference"] = _difference(found, expected)
        return row

    def memory(self) -> dict[str, object]:
        """Peak of the walk above the model and the recording, and what the forward pass makes, in MiB."""
        activations = 0
        for operation in self.tape.operations:
            returns = operation.overload._schema.returns if operation.overload is not None else []
            if not any(each.alias_info is not None for each in returns):  # neither a view nor in place
                activations += 4 * math.prod(operation.outputs[0].shape)
        self.walk(1)  # what the libraries keep for later runs is not counted, but nor is what was freed and kept
        ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts from here
        before = _status("VmRSS")
        self.walk(self.options.signals)
        above = _status("VmHWM") - before
        row = self.label | {"activations_mib": round(activations / 2**20, 1), "walk_peak_mib": round(above, 1)}
        return row | {"peak / activations": round(above * 2**20 / activations, 2)}


def _difference(found: Tensor, expected: Tensor) -> float:
    """The largest difference of two maps as a share of the expected one's largest value; of several, the worst."""
    differences = (found - expected).abs().amax((-2, -1)) / expected.abs().amax((-2, -1))
    return float(f"{float(differences.max()):.1e}")


def _status(key: str) -> float:
    """A line of this process's memory, in MiB."""
    found = re.search(rf"{key}:\s+(\d+)", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) / 1024


def memory_of(index: int, options: argparse.Namespace) -> dict[str, object]:
    """`Case.memory` in a process of its own."""
    command = [sys.executable, __file__, "--memory-of", str(index), "--signals", str(options.signals)]
    command += ["--threads", str(options.threads)]
    row: dict[str, object] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return row


def peers(options: argparse.Namespace) -> list[dict[str, object]]:
    """VGG16 to pool4: other implementations, those that are installed, against one recording and one walk."""
    case = Case(*CASES[0], options)
    signals, others = case.signals(options.signals), installed(case.model, case.images)
    steps: dict[str, Callable[[], object]] = {"ours": case.total}
    steps |= {name: functools.partial(maps, signals) for name, maps in others.items()}
    times = medians(steps, max(1, options.repeats // 2), options.device)
    own = contrastive_mwp(case.tape, signals, **case.where)[0].clamp(min=0)
    rows = []
    for name, taken in times.items():
        row = {"implementation": name, "ms": round(taken, 1), "times slower": round(taken / times["ours"], 1)}
        found = others[name](signals).clamp(min=0) if name in others else own
        alike = found.shape[-2:] == own.shape[-2:]
        rows.append(row | {"difference": _difference(found, own) if alike else "another method"})
    return rows


def recording(options: argparse.Namespace) -> dict[str, object]:
    """What recording costs where operations are small: MobileNetV3-small at 64 px."""
    model, images = network("mobilenet_v3_small").to(options.device), torch.rand(1, 3, 64, 64, device=options.device)

    def forward() -> Tensor:
        with torch.no_grad():
            found: Tensor = model(images)
        return found

    operations = len(record(model, images).operations)
    times = medians({"forward": forward, "record": lambda: record(model, images)}, 8 * options.repeats, options.device)
    row: dict[str, object] = {"network": "mobilenet_v3_small", "image_px": 64, "operations": operations}
    row |= {f"{step}_ms": round(taken, 2) for step, taken in times.items()}
    return row | {"record_us / operation": round(1000 * (times["record"] - times["forward"]) / operations)}


def print_table(title: str, rows: list[dict[str, object]]) -> None:
    """One table as Markdown."""
    print(f"\n{title}\n\n| {' | '.join(rows[0])} |\n|{'---|' * len(rows[0])}")
    for row in rows:
        print(f"| {' | '.join(map(str, row.values()))} |", flush=True)


def measure(options: argparse.Namespace) -> dict[str, list[dict[str, object]]]:
    """The tables, of the networks that were asked for."""
    chosen = [case for case in CASES if not options.networks or case[0] in options.networks]
    tables: dict[str, list[dict[str, object]]] = {"cost": []}
    for case in tqdm([Case(*case, options) for case in chosen], unit=" networks"):
        tables["cost"].append(case.cost())
        if options.all:
            tables.setdefault("growth", []).append(case.growth())
            tables.setdefault("gradients", []).append(case.gradients())
            tables.setdefault("bfloat16", []).append(case.bfloat16())
    if options.all:
        tables["recording"] = [recording(options)]
        tables["memory"] = [memory_of(CASES.index(case), options) for case in chosen]
    return tables


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--signals", type=int, default=17, help="K, the number of top-down signals (default 17)")
    parser.add_argument("--batch", type=int, default=1, help="images at once (default 1)")
    parser.add_argument("--repeats", type=int, default=7, help="runs of which the median is taken (default 7)")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of PyTorch")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default cpu)")
    parser.add_argument("--networks", nargs="+", choices=sorted({case[0] for case in CASES}), help="only these")
    parser.add_argument("--all", action="store_true", help="also recording, growth with K, gradients, bfloat16, memory")
    parser.add_argument("--peers", action="store_true", help="only VGG16 against other implementations")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of tables")
    parser.add_argument("--memory-of", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if (options.all or options.peers) and (options.batch != 1 or options.device != "cpu"):
        parser.error("--all and --peers measure one image on a processor: leave out --batch and --device")
    torch.set_num_threads(options.threads)
    if options.memory_of is not None:
        json.dump(Case(*CASES[options.memory_of], options).memory(), sys.stdout)
        return
    tables = {"peers": peers(options)} if options.peers else measure(options)
    if options.json:
        versions = {"python": platform.python_version(), "torch": torch.__version__}
        versions["torchvision"] = torchvision.__version__
        setting = {name: getattr(options, name) for name in ("signals", "batch", "repeats", "threads", "device")}
        json.dump(
            {"schema_version": 3, "processor": processor(), "versions": versions, **setting, "tables": tables},
            sys.stdout,
            indent=2,
        )
        print()
        return
    print(processor())
    for title, rows in tables.items():
        print_table(title, rows)


if __name__ == "__main__":
    main()
