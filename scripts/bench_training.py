"""How much longer a training step takes with DGDM, GALA and human maps: ratios to the plain step, side by side.

    python scripts/bench_training.py
    python scripts/bench_training.py --config configs/embedded.yaml --layers relu7 relu8 --set network.initial=none

Every variant trains on the same random pictures, a few steps at a time, in turn; a ratio is that of one round, and the
table has the median and the quartiles over rounds. Reading files is not measured, augmentation is.
"""

import argparse
import statistics
import sys
import time
from pathlib import Path

import torch
from torch import Tensor

from grounding.config import load
from grounding.training.batches import Pictures
from grounding.training.config import TrainConfig
from grounding.training.human_maps import HumanTargets
from grounding.training.networks import create_network
from grounding.training.trainer import Trainer

VARIANTS: dict[str, list[str]] = {
    "plain": [],
    "DGDM": ["dgdm.enabled=true"],
    "GALA": ["gala.enabled=true"],
    "GALA, human maps": ["gala.enabled=true"],
    "Excitation Backprop map, human maps": ["human_maps.teaches=excitation"],
}
OFF = ["validation=", "teacher=", "loss=", "ema=0", "data.workers=0", "augmentation.color_jitter=0.2"]


class Noise(Pictures):
    """Random pictures in memory."""

    def __init__(self, count: int, side: int) -> None:
        self.unreadable = {}
        self._pictures = torch.randint(0, 256, (count, 3, side, side), dtype=torch.uint8)

    def __len__(self) -> int:
        return len(self._pictures)

    def at(self, index: int) -> tuple[int, Tensor]:
        """The picture at this place."""
        return index, self._pictures[index]


def main() -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, default=Path("configs/cub.yaml"))
    parser.add_argument("--layers", nargs="+", help="of DGDM and GALA; default: those of the configuration")
    parser.add_argument("--tags", type=int, default=50)
    parser.add_argument("--steps", type=int, default=4, help="of a round")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--set", nargs="+", default=[], metavar="key=value")
    options = parser.parse_args()
    layers = [f"{group}.layers=[{', '.join(options.layers)}]" for group in ("dgdm", "gala")] if options.layers else []
    trainers = {
        name: trainer(load(TrainConfig, options.config, [*OFF, *layers, *own, *options.set]), name, options)
        for name, own in VARIANTS.items()
    }
    for each in trainers.values():
        seconds(each)
    ratios: dict[str, list[float]] = {name: [] for name in trainers}
    plain = []
    for _ in range(options.rounds):
        taken = {name: seconds(each) for name, each in trainers.items()}
        plain.append(taken["plain"])
        for name, value in taken.items():
            ratios[name].append(value / taken["plain"])
    one = next(iter(trainers.values()))
    print(
        f"{options.config}, {one.config.image_size_px} px, batch {one.config.batch_size}, torch {torch.__version__}, ",
        end="",
    )
    print(f"{torch.get_num_threads()} threads; plain: {1000 * statistics.median(plain) / options.steps:.0f} ms a step")
    for name, values in ratios.items():
        low, middle, high = statistics.quantiles(values, n=4)
        print(f"{name:40s}{middle:6.3f}  [{low:.3f}, {high:.3f}]")
    return 0


def trainer(config: TrainConfig, name: str, options: argparse.Namespace) -> Trainer:
    """A trainer of a variant on random pictures, labels and maps."""
    count, side = config.batch_size * options.steps, config.data.cache_size_px
    torch.manual_seed(0)
    network = create_network(config.network, options.tags, gala=config.gala)
    targets = torch.zeros(count, options.tags, dtype=torch.uint8)
    targets[torch.arange(count), torch.randint(0, options.tags, (count,))] = 2
    human = HumanTargets(torch.rand(count, 64, 64), torch.arange(count)) if "human maps" in name else None
    return Trainer(config, network, Noise(count, side), targets, None, human=human)


def seconds(trainer: Trainer) -> float:
    """The time of a round."""
    start = time.perf_counter()
    trainer.run_epoch(lambda loss: None)
    return time.perf_counter() - start


if __name__ == "__main__":
    sys.exit(main())
