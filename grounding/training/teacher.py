"""The teacher: an ImageNet network with a word head, fine-tuned on captions, that scores every word at every place."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from grounding.config import TeacherConfig
from grounding.errors import GroundingError
from grounding.tagging.network import log_mean_exp, score_places
from grounding.training.losses import word_loss
from grounding.training.schedule import set_learning_rates

LOGIT_LOW, LOGIT_HIGH = -12.0, 6.0  # dense scores are stored as bytes between these logits
Progress = Callable[[str, int, int, float], None]


class WordTeacher(nn.Module):
    """A timm network of five stages, cut at stride 16: `trunk` is frozen, `tail` and `head` learn the words."""

    def __init__(self, config: TeacherConfig, word_shares: Tensor) -> None:
        super().__init__()
        path = Path(config.weights)
        if not path.is_file():
            raise GroundingError(f"teacher weights {path} do not exist: see data/README.md for where to get them")
        try:
            network: Any = timm.create_model(config.model, pad_type="same")
            network.load_state_dict(load_file(path))
        except (RuntimeError, SafetensorError) as error:
            reason = " ".join(str(error).split())
            raise GroundingError(f"teacher weights {path} do not fit timm's {config.model}: {reason}") from error
        self.trunk = nn.Sequential(network.conv_stem, network.bn1, *network.blocks[:-1])
        self.tail: nn.Module = network.blocks[-1]
        self.head = nn.Linear(network.num_features, len(word_shares))
        nn.init.zeros_(self.head.weight)
        with torch.no_grad():
            self.head.bias.copy_(torch.logit(word_shares, eps=1e-4))
        self.eval()  # batch normalisation is folded in these weights: its statistics stay as they are

    def local_scores(self, trunk_features: Tensor) -> Tensor:
        """(N, C, h, w) trunk features -> (N, T, h', w') logits."""
        return score_places(self.head, self.tail(trunk_features))

    def dense(self) -> "WordTeacher":
        """A copy whose tail has its stride replaced by dilation: the same function, read at every stride-16 place."""
        teacher = copy.deepcopy(self)
        stretched = False
        for module in teacher.tail.modules():
            if isinstance(module, nn.Conv2d) and module.kernel_size != (1, 1):
                if stretched:
                    module.dilation, module.padding = (2, 2), (2, 2)
                if module.stride == (2, 2):
                    module.stride, stretched = (1, 1), True
        return teacher


@torch.no_grad()
def trunk_features(teacher: WordTeacher, images: Tensor, size_px: int, progress: Progress) -> Tensor:
    """(N, 3, H, W) uint8 -> (N, C, h, w) bfloat16 features of the frozen trunk, seen at `size_px`."""
    parts = []
    for start in range(0, len(images), 32):
        batch = images[start : start + 32].float().div(127.5).sub(1)
        batch = nn.functional.interpolate(batch, (size_px, size_px), mode="bilinear", antialias=True)
        with torch.autocast("cpu", torch.bfloat16):
            parts.append(teacher.trunk(batch.contiguous(memory_format=torch.channels_last)).bfloat16())
        progress("trunk features", start + len(batch), len(images), 0.0)
    return torch.cat(parts)


def finetune(
    teacher: WordTeacher, features: Tensor, targets: Tensor, config: TeacherConfig, progress: Progress
) -> None:
    """Fit tail and head to (N, T) caption targets through log-mean-exp pooling, in place."""
    groups = [
        {"params": list(teacher.head.parameters()), "peak": config.head_learning_rate},
        {"params": list(teacher.tail.parameters()), "peak": config.learning_rate},
    ]
    optimizer = torch.optim.AdamW(groups, weight_decay=0.0)
    batches = max(1, len(features) // config.batch_size)
    steps = config.epochs * batches
    step = 0
    for _ in range(config.epochs):
        order = torch.randperm(len(features))
        for batch in order.split(config.batch_size)[:batches]:
            inputs = features[batch]
            if torch.rand(()) < 0.5:
                inputs = inputs.flip(3)
            with torch.autocast("cpu", torch.bfloat16):
                local = teacher.local_scores(inputs.contiguous(memory_format=torch.channels_last))
            loss = word_loss(log_mean_exp(local), targets[batch])
            penalty = config.head_penalty * teacher.head.weight.square().sum()
            set_learning_rates(optimizer, step, steps)
            optimizer.zero_grad()
            (loss + penalty).backward()
            nn.utils.clip_grad_norm_(teacher.parameters(), 10.0)
            optimizer.step()
            step += 1
            progress("teacher", step, steps, loss.item())


@torch.no_grad()
def write_dense_scores(teacher: WordTeacher, features: Tensor, path: Path, progress: Progress) -> None:
    """Local scores of every word at every stride-16 place as an (N, T, h, w) uint8 `.npy` file."""
    dense = teacher.dense()
    _, _, height, width = features.shape
    partial = path.with_suffix(".partial")
    shape = (len(features), teacher.head.out_features, height, width)
    scores = np.lib.format.open_memmap(partial, mode="w+", dtype=np.uint8, shape=shape)
    for start in range(0, len(features), 32):
        with torch.autocast("cpu", torch.bfloat16):
            batch = features[start : start + 32].contiguous(memory_format=torch.channels_last)
            local = dense.local_scores(batch).float()
        unit = (local - LOGIT_LOW) / (LOGIT_HIGH - LOGIT_LOW)
        scores[start : start + 32] = unit.clamp(0, 1).mul(255).round().byte().numpy()
        progress("dense scores", start + len(batch), len(features), 0.0)
    scores.flush()
    partial.rename(path)


def logits_of_bytes(scores: Tensor) -> Tensor:
    """uint8 dense scores back to float32 logits."""
    return scores.float().mul((LOGIT_HIGH - LOGIT_LOW) / 255).add(LOGIT_LOW)
