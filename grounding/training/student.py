"""The student: the embedded network, from random weights, learns the teacher's word scores at every place."""

import math
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.functional import affine_grid, grid_sample

from grounding.config import StudentConfig
from grounding.errors import GroundingError
from grounding.tagging.network import TagNetwork, log_mean_exp
from grounding.training.losses import word_loss
from grounding.training.schedule import set_learning_rates
from grounding.training.teacher import Progress, logits_of_bytes


def random_views(count: int, smallest_crop: float, generator: torch.Generator) -> Tensor:
    """(N, 2, 3) affine maps of random crops: area share uniform in [smallest_crop, 1], aspect in [3/4, 4/3], flips."""
    area = smallest_crop + (1 - smallest_crop) * torch.rand(count, generator=generator)
    aspect = torch.exp((2 * torch.rand(count, generator=generator) - 1) * math.log(4 / 3)).sqrt()
    width, height = (area.sqrt() * aspect).clamp(max=1), (area.sqrt() / aspect).clamp(max=1)
    x, y = (2 * torch.rand(2, count, generator=generator) - 1) * torch.stack([1 - width, 1 - height])
    flip = torch.where(torch.rand(count, generator=generator) < 0.5, -1.0, 1.0)
    zero = torch.zeros(count)
    return torch.stack([torch.stack([width * flip, zero, x], 1), torch.stack([zero, height, y], 1)], 1)


def jitter(images: Tensor, generator: torch.Generator) -> Tensor:
    """Random brightness, contrast and saturation of (N, 3, H, W) images in [0, 1], one draw each; a tenth is grey."""
    strengths = 1 + 0.4 * (2 * torch.rand(3, len(images), 1, 1, 1, generator=generator) - 1)
    brightness, contrast, saturation = strengths
    saturation = saturation * (torch.rand(len(images), 1, 1, 1, generator=generator) >= 0.1)
    images = images * brightness
    mean = images.mean((1, 2, 3), keepdim=True)
    images = mean + (images - mean) * contrast
    grey = images.mean(1, keepdim=True)
    coloured: Tensor = grey + (images - grey) * saturation
    return coloured.clamp(0, 1)


@torch.no_grad()
def warm_start(network: TagNetwork, folded: TagNetwork, images: Tensor) -> None:
    """Give a network with batch normalisation the function of one without, in place.

    The normalisation takes its statistics from (N, 3, H, W) images in [0, 1] and undoes them by scale and shift, so it
    neither changes the function now nor is a stranger to the activations when training goes on.

    Raises:
        GroundingError: the networks have other layers or another number of tags.
    """
    shapes = [[p.shape for p in model.parameters() if p.ndim > 1] for model in (network, folded)]
    if shapes[0] != shapes[1]:
        raise GroundingError("student.initial_classifier has other layers or another number of tags than the student")
    blocks, sources = list(network.features), list(folded.features)[0::2]
    for conv, norm, source in zip(blocks[0::3], blocks[1::3], sources, strict=True):
        assert isinstance(conv, nn.Conv2d)
        assert isinstance(norm, nn.BatchNorm2d)
        assert isinstance(source, nn.Conv2d)
        assert source.bias is not None
        assert norm.running_mean is not None
        assert norm.running_var is not None
        conv.weight.copy_(source.weight)
        images = conv(images)
        variance, mean = torch.var_mean(images, (0, 2, 3))
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)
        norm.weight.copy_((variance + norm.eps).sqrt())
        norm.bias.copy_(mean + source.bias)
        images = (images + source.bias[:, None, None]).relu()
    network.head.load_state_dict(folded.head.state_dict())


class StudentTraining:
    """One student run over (N, 3, H, W) uint8 images, (N, T) caption targets and (N, T, h, w) uint8 teacher scores.

    The state after an epoch depends on the configuration and the seed alone, so a run that was killed and resumed ends
    where an uninterrupted one does (on the same machine and threads).
    """

    def __init__(
        self,
        config: StudentConfig,
        images: Tensor,
        targets: Tensor,
        scores: npt.NDArray[np.uint8],
        seed: int,
        initial: TagNetwork | None = None,
    ) -> None:
        self.config, self.images, self.targets, self.scores, self.seed = config, images, targets, scores, seed
        torch.manual_seed(seed)
        layers = list(zip(config.channels, config.strides, strict=True))
        self.network = TagNetwork(layers, targets.shape[1])
        for module in self.network.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        nn.init.zeros_(self.network.head.weight)
        with torch.no_grad():
            self.network.head.bias.copy_(torch.logit(targets.mean(0), eps=1e-4))
        if initial is not None:
            warm_start(self.network, initial, images[:256].float() / 255)
        decayed = [p for p in self.network.parameters() if p.ndim > 1]
        others = [p for p in self.network.parameters() if p.ndim <= 1]
        groups = [
            {"params": decayed, "weight_decay": config.weight_decay, "peak": config.learning_rate},
            {"params": others, "weight_decay": 0.0, "peak": config.learning_rate},
        ]
        self.optimizer = torch.optim.AdamW(groups, fused=True)
        self.steps_per_epoch = max(1, len(images) // config.batch_size)
        self.epoch = 0

    def batch_loss(self, batch: Tensor, generator: torch.Generator) -> Tensor:
        """The loss of the images with these (B,) indices under fresh random views."""
        size, stride = self.config.image_size_px, math.prod(self.config.strides)
        cells = math.ceil(size / stride)
        views = random_views(len(batch), self.config.smallest_crop, generator)
        images = self.images[batch].float().div(255)
        grid = affine_grid(views, [len(batch), 3, size, size], align_corners=False)
        images = jitter(grid_sample(images, grid, padding_mode="reflection", align_corners=False), generator)
        scores = logits_of_bytes(torch.from_numpy(self.scores[batch.numpy()]))
        grid = affine_grid(views, [len(batch), 1, cells, cells], align_corners=False)
        wanted = grid_sample(scores, grid, padding_mode="border", align_corners=False).sigmoid()
        with torch.autocast("cpu", torch.bfloat16):
            features = self.network.features(images.contiguous(memory_format=torch.channels_last))
            local = self.network.local_scores(features).float()
        return word_loss(local, wanted) + self.config.caption_weight * word_loss(
            log_mean_exp(local), self.targets[batch]
        )

    def run_epoch(self, progress: Progress) -> float:
        """One pass over the images; returns the mean loss."""
        generator = torch.Generator().manual_seed(self.seed * 100_003 + self.epoch)
        order = torch.randperm(len(self.images), generator=generator)
        self.network.train()
        total = 0.0
        for step, batch in enumerate(order.split(self.config.batch_size)[: self.steps_per_epoch], start=1):
            loss = self.batch_loss(batch, generator)
            done = self.epoch * self.steps_per_epoch + step - 1
            set_learning_rates(self.optimizer, done, self.config.epochs * self.steps_per_epoch)
            self.optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(self.network.parameters(), 10.0)
            self.optimizer.step()
            total += loss.item()
            progress(f"epoch {self.epoch + 1}/{self.config.epochs}", step, self.steps_per_epoch, total / step)
        self.epoch += 1
        return total / self.steps_per_epoch

    def save(self, path: Path) -> None:
        """Write the whole state to one safetensors file, whole or not at all."""
        tensors = {f"network.{k}": v for k, v in self.network.state_dict().items()}
        for index, state in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{k}": v for k, v in state.items()}
        partial = path.with_suffix(".partial")
        save_file({k: v.contiguous() for k, v in tensors.items()}, partial, {"epoch": str(self.epoch)})
        partial.replace(path)

    def resume(self, path: Path) -> None:
        """Continue from a file that `save` wrote."""
        with safe_open(path, "pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118, it is no dictionary
            self.epoch = int(file.metadata()["epoch"])

        def part(prefix: str) -> dict[str, Tensor]:
            return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}

        self.network.load_state_dict(part("network."))
        state: dict[int, dict[str, Tensor]] = {}
        for key, value in part("optimizer.").items():
            index, _, name = key.partition(".")
            state.setdefault(int(index), {})[name] = value
        whole = self.optimizer.state_dict()
        self.optimizer.load_state_dict({"state": state, "param_groups": whole["param_groups"]})
