"""The training loop: augmented batches, losses, gradient accumulation, AdamW and a moving average of the weights."""

import contextlib
import copy
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from grounding.distributed import Process
from grounding.errors import GroundingError
from grounding.tagging.gala import capture
from grounding.tagging.network import PlainFeatures, TagNetwork
from grounding.training.attention_config import DgdmConfig
from grounding.training.augmentation import crop_scores
from grounding.training.batches import Batch, Pictures, batches, plan, seed_for
from grounding.training.checkpoint import load_checkpoint, save_checkpoint
from grounding.training.config import TrainConfig
from grounding.training.dgdm import drop_of, dropping
from grounding.training.distillation import logits_of_bytes
from grounding.training.human_maps import HumanTargets, excitation_maps, gala_loss, human_map_loss
from grounding.training.losses import caption_contrast_loss, tag_loss
from grounding.training.map_layer import while_training
from grounding.training.schedule import parameter_groups, set_learning_rates

LOSSES = ("words", "teacher", "contrast", "head_penalty", "human_maps")


@dataclass(frozen=True, slots=True)
class EpochResult:
    """The losses of an epoch.

    Attributes:
        loss: the weighted sum, mean over batches and processes.
        parts: each loss that was computed, before its weight.
        replaced: indices of pictures that could not be read; the next one stood in for each.
    """

    loss: float
    parts: dict[str, float]
    replaced: tuple[int, ...]


class Trainer:
    """Trains a tag network, an epoch at a time.

    The state after an epoch depends on the arguments alone, so a training that was killed and resumed ends where an
    uninterrupted one does (one process, the same machine and threads). Of several processes each has its own.

    Args:
        config: of the training.
        network: on any device; it is moved to that of `process`.
        pictures: `Features` for a head alone.
        targets: (N, T) uint8, twice the target of each tag: 0, 1 or 2.
        scores: (N, T, h, w) uint8 of `write_teacher_scores`, or None without teachers.
        process: which of several this is, and its device; by default the only one, on the CPU.
        human: where people look, or None.

    Attributes:
        epoch: how many are done.
        step: how many are done, over all epochs.
        average: the network with the moving average of the weights, or None.
    """

    def __init__(
        self,
        config: TrainConfig,
        network: TagNetwork,
        pictures: Pictures,
        targets: Tensor,
        scores: npt.NDArray[np.uint8] | None,
        process: Process | None = None,
        human: HumanTargets | None = None,
    ) -> None:
        self.config, self.pictures, self.targets, self.scores, self.human = config, pictures, targets, scores, human
        self.process = process = process or Process(0, 1, torch.device("cpu"))
        self.network = network.to(process.device)
        self.average = copy.deepcopy(network).requires_grad_(False) if config.ema else None
        self._plain_scoring = _Scoring(network, config.head_only, config.dgdm).to(process.device)
        self._scoring: nn.Module = self._plain_scoring
        if process.count > 1:
            unused = not isinstance(
                network.features, PlainFeatures
            )  # timm's networks may hold parameters that are not used
            self._scoring = DistributedDataParallel(self._scoring, find_unused_parameters=unused)
        groups = parameter_groups(network, config)
        if not groups:
            raise GroundingError("network.frozen leaves nothing to learn: expected fewer names")
        self.optimizer = torch.optim.AdamW(groups, fused=True)
        self._map_layer = while_training(config.map_layer, network, config.image_size_px) if human else None
        self.epoch = self.step = 0
        batches_per_epoch = len(plan(len(pictures), config, 0, process.rank, process.count))
        self.steps_per_epoch = batches_per_epoch // config.gradient_accumulation_steps
        self._batches: Iterator[Batch] | None = None  # of the epochs that are left

    @property
    def learnt(self) -> TagNetwork:
        """The network to validate and save: the moving average where there is one."""
        return self.network if self.average is None else self.average

    def run_epoch(self, progress: Callable[[float | None], None]) -> EpochResult:
        """Train on every picture once.

        Args:
            progress: called after every step with the mean loss so far, or with None where that is not computed.

        Raises:
            GroundingError: the loss is not finite; the state is useless then.
        """
        config, device = self.config, self.process.device
        torch.manual_seed(seed_for("network", config.seed, self.epoch, self.process.rank))  # for dropout
        self.network.train()
        by_name = {name: getattr(config.loss, name, 0.0) for name in LOSSES}
        by_name["human_maps"] = config.human_maps.weight if self.human else 0.0
        weights = torch.tensor(list(by_name.values()), device=device)
        sums = torch.zeros(len(LOSSES), device=device)
        replaced: set[int] = set()
        if self._batches is None:
            where = (self.process.rank, self.process.count, device.type == "cuda")
            self._batches = batches(self.pictures, config, self.epoch, *where)
        count = self.steps_per_epoch * config.gradient_accumulation_steps
        for number, batch in enumerate(itertools.islice(self._batches, count), start=1):
            last_of_step = number % config.gradient_accumulation_steps == 0
            with self._gradient_sync(last_of_step):
                losses = self._losses(batch)
                (losses @ weights / config.gradient_accumulation_steps).backward()
            sums += losses.detach()
            replaced.update(batch.planned[batch.planned != batch.seen].tolist())
            if last_of_step:
                self._update()
                progress(float(sums @ weights) / number if number % 10 == 0 or number == count else None)
        self.epoch += 1
        means = (self._summed(sums) / (count * self.process.count)).cpu()
        loss = float(means @ weights.cpu())
        if not np.isfinite(loss):
            raise GroundingError(
                f"the loss is {loss} after epoch {self.epoch}: try a smaller learning_rate (now {config.learning_rate})"
            )
        computed = {name: float(mean) for name, mean in zip(LOSSES, means, strict=True) if by_name[name]}
        return EpochResult(loss, computed, self._gathered(replaced))

    def _gradient_sync(self, last_of_step: bool) -> contextlib.AbstractContextManager[None]:
        """Within it, processes average their gradients in the last batch of a step only."""
        if last_of_step or not isinstance(self._scoring, DistributedDataParallel):
            return contextlib.nullcontext()
        return self._scoring.no_sync()

    def _losses(self, batch: Batch) -> Tensor:
        """(5,) losses of a batch, in the order of LOSSES; one of weight 0 is 0."""
        weights, device = self.config.loss, self.process.device
        pixels = batch.pixels.permute(0, 3, 1, 2) if self.config.head_only else batch.pixels  # channels second
        pixels = pixels.to(device, non_blocking=True, memory_format=torch.channels_last)
        with torch.autocast(device.type, torch.bfloat16, enabled=self.config.bf16):
            local, pooled, attentions = self._scoring(pixels)  # (B, T, h, w), (B, T)
        none = torch.zeros((), device=device)
        targets = self.targets[batch.seen].to(device).float() / 2  # (B, T)
        words = tag_loss(pooled, targets) if weights.words else none
        taught = none
        if self.scores is not None:
            scores = torch.from_numpy(self.scores[batch.seen.numpy()]).to(device).float()  # of whole pictures
            cropped = crop_scores(scores, batch.crops.to(device), batch.flipped.to(device), local.shape[2])
            taught = tag_loss(local, logits_of_bytes(cropped).sigmoid())  # cropping and bytes to logits commute
        contrast = none
        if weights.contrast:
            contrast = caption_contrast_loss(pooled, targets, weights.contrast_temperature)
        penalty = self.network.head.weight.square().sum() if weights.head_penalty else none
        people = self._human_loss(batch, pixels, targets, attentions) if self.human else none
        return torch.stack([words, taught, contrast, penalty, people])

    def _human_loss(self, batch: Batch, pixels: Tensor, targets: Tensor, attentions: list[Tensor]) -> Tensor:
        """The loss between a map of the network and where people look; 0 where no picture has a human map."""
        assert self.human is not None, "only called with human maps"
        config, device = self.config.human_maps, self.process.device
        taught = self.human.taught(batch, config.per_batch)
        if not taught.any():
            return torch.zeros((), device=device)
        human, taught = self.human.of(batch, taught).to(device), taught.to(device)
        if config.teaches == "gala":
            return gala_loss([attention[taught] for attention in attentions], human, config.normalisation)
        images = self._plain_scoring.normalised(pixels[taught])
        maps = excitation_maps(self.network, images, targets[taught], self._map_layer)
        return human_map_loss(maps, human, config.normalisation)

    def _update(self) -> None:
        """Take a step of the optimizer and move the average."""
        config = self.config
        set_learning_rates(self.optimizer, self.step, config.epochs * self.steps_per_epoch, config.warmup)
        nn.utils.clip_grad_norm_(self.network.parameters(), config.max_grad_norm)
        self.optimizer.step()
        self.optimizer.zero_grad()
        if self.average is not None:
            update_average(self.average, self.network, config.ema, self.step)
        self.step += 1

    def _summed(self, values: Tensor) -> Tensor:
        """The sum over all processes, in place."""
        if self.process.count > 1:
            torch.distributed.all_reduce(values)
        return values

    def _gathered(self, pictures: set[int]) -> tuple[int, ...]:
        """The union over all processes, sorted."""
        groups = [pictures] * self.process.count
        if self.process.count > 1:
            torch.distributed.all_gather_object(groups, pictures)
        return tuple(sorted(set().union(*groups)))

    def save(self, path: Path) -> None:
        """Save the state; see `save_checkpoint`."""
        save_checkpoint(path, self.network, self.average, self.optimizer, self.epoch, self.step)

    def resume(self, path: Path) -> None:
        """Load the state that `save` wrote; see `load_checkpoint`."""
        self.epoch, self.step = load_checkpoint(path, self.network, self.average, self.optimizer)
        self._batches = None


class _Scoring(nn.Module):
    """(B, 3, H, W) in [0, 1] -> (B, T, h, w) local and (B, T) pooled float32 logits, and the attention of GALA layers.

    This is what is wrapped for torchrun.

    Args:
        head_only: takes (B, C, h, w) features instead.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: TagNetwork, head_only: bool, dgdm: DgdmConfig) -> None:
        super().__init__()
        self.network, self.head_only = network, head_only
        self._drops = {name: drop_of(dgdm) for name in dgdm.layers} if dgdm.enabled else {}
        self.register_buffer("mean", torch.tensor(network.mean)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(network.std)[:, None, None], persistent=False)

    def normalised(self, pixels: Tensor) -> Tensor:
        """What the network takes."""
        return (pixels - self.mean) / self.std

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor, list[Tensor]]:
        with dropping(self.network.backbone, self._drops), capture(self.network) as attentions:
            features = pixels if self.head_only else self.network.features(self.normalised(pixels))  # (B, C, h, w)
        local = self.network.local_scores(features).float()
        return local, self.network.pool(local, features), attentions


@torch.no_grad()
def update_average(average: nn.Module, network: nn.Module, decay: float, step: int) -> None:
    """Update an exponential moving average of a network's state in place: mean = kept * mean + (1 - kept) * value.

    `kept` is min(decay, (1 + step) / (10 + step)). Integers, such as counters, are copied.

    Args:
        step: how many updates came before this one.
    """
    kept = min(decay, (1 + step) / (10 + step))
    for mean, value in zip(average.state_dict().values(), network.state_dict().values(), strict=True):
        if mean.is_floating_point():
            mean.lerp_(value, 1 - kept)
        else:
            mean.copy_(value)
