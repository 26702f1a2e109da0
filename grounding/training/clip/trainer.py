"""The losses of a CLIP that a tag classifier teaches, and its epochs."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, binary_cross_entropy_with_logits, cross_entropy, normalize

from grounding.errors import GroundingError
from grounding.training.batches import seed_for
from grounding.training.checkpoint import load_checkpoint, save_checkpoint
from grounding.training.clip.config import ClipConfig
from grounding.training.clip.model import Clip
from grounding.training.clip.texts import Texts
from grounding.training.distillation import logits_of_bytes
from grounding.training.schedule import set_learning_rates

LOSSES = ("places", "picture", "captions")


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """B pictures with S texts.

    Attributes:
        features: (B, C, h, w) float32 of `Clip.features`.
        targets: (B, S, h, w) float32 logits: what the teacher says of each text at each place.
        texts: S of them, tags and phrases.
        weights: (S, T) float32, of the tags in each text.
        captions: of some pictures, one each, and which pictures these are.
    """

    features: Tensor
    targets: Tensor
    texts: list[str]
    weights: Tensor
    captions: list[str]
    captioned: list[int]


class Student(nn.Module):
    """A CLIP with what it needs while it learns: a scale and a bias for the scores of texts, which it shares."""

    def __init__(self, clip: Clip, tags: int) -> None:
        super().__init__()
        self.clip, self.model = clip, clip.model
        self.scale = nn.Parameter(torch.tensor([3.0, 3.0]))  # logarithms, of places and of pictures
        self.bias = nn.Parameter(torch.full((2, tags), -6.0))

    def image(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C, h, w) -> (B, D) and (B, places, D): the embeddings of pictures and of their places, 1 long.

        A place is embedded as the picture is, which pools the places by their mean before it projects them.
        """
        places = self.clip.places(features)
        project = self.model.visual_projection
        return normalize(project(places.mean(1)), dim=-1), normalize(project(places), dim=-1)

    def text(self, tokens: dict[str, Tensor]) -> Tensor:
        """(S, D), 1 long."""
        pooled = self.model.text_model(**tokens).pooler_output
        return normalize(self.model.text_projection(pooled), dim=-1)


class ClipTrainer:
    """Trains a CLIP, an epoch at a time; the state after an epoch depends on the arguments alone.

    Args:
        features: (N, C, h, w) float16 of `Clip.features`, one for each picture.
        scores: (N, T, h', w') uint8 of `write_teacher_scores`.
    """

    def __init__(
        self,
        config: ClipConfig,
        clip: Clip,
        features: npt.NDArray[np.float16],
        texts: Texts,
        scores: npt.NDArray[np.uint8],
    ) -> None:
        self.config, self.clip, self.features, self.texts, self.scores = config, clip, features, texts, scores
        self.student = Student(clip, len(texts.tags)).to(config.device)
        self.side = config.vision.image_size_px // 32
        self.optimizer = torch.optim.AdamW(self._groups(), fused=True)
        self.epoch = self.step = 0
        self.steps_per_epoch = max(1, len(features) // config.batch_size)

    def _groups(self) -> list[dict[str, Any]]:
        """Matrices with weight decay, everything else without; the model's own scale has no part in it."""
        chosen = [p for p in self.student.parameters() if p.requires_grad and p is not self.clip.model.logit_scale]
        decayed, others = ([p for p in chosen if (p.ndim > 1) is many] for many in (True, False))
        peak = {"peak": self.config.learning_rate}
        return [
            {"params": decayed, "weight_decay": self.config.weight_decay, **peak},
            {"params": [*others, self.clip.model.logit_scale], "weight_decay": 0.0, **peak},
        ]

    def resume(self, checkpoint: Path) -> None:
        """Go on from what `save` wrote."""
        self.epoch, self.step = load_checkpoint(checkpoint, self.student, None, self.optimizer)

    def save(self, checkpoint: Path) -> None:
        """Write the whole state."""
        save_checkpoint(checkpoint, self.student, None, self.optimizer, self.epoch, self.step)

    def run_epoch(self, progress: Callable[[dict[str, float]], object]) -> dict[str, float]:
        """See every picture once.

        Args:
            progress: called after every step with the mean of each loss so far.

        Returns:
            The mean of each loss that has a weight.

        Raises:
            GroundingError: a loss is not finite; the state is useless then.
        """
        config, sums = self.config, dict.fromkeys(LOSSES, 0.0)
        order = np.random.default_rng(seed_for("order", config.seed, self.epoch)).permutation(len(self.features))
        for number in range(1, self.steps_per_epoch + 1):
            batch = self.batch(order[(number - 1) * config.batch_size : number * config.batch_size].tolist())
            set_learning_rates(self.optimizer, self.step, config.epochs * self.steps_per_epoch)
            with torch.autocast(torch.device(config.device).type, torch.bfloat16):
                losses = self.losses(batch)
            total = torch.stack([getattr(config.loss, name) * loss for name, loss in losses.items()]).sum()
            total.backward()
            nn.utils.clip_grad_norm_(self.student.parameters(), config.clip_gradient)
            self.optimizer.step()
            self.optimizer.zero_grad()
            self.step += 1
            if not bool(total.isfinite()):
                raise GroundingError(
                    f"the loss is {float(total.detach())} in epoch {self.epoch + 1}: lower learning_rate"
                )
            for name, value in losses.items():
                sums[name] += float(value.detach())
            means = {name: sums[name] / number for name in losses}
            progress(means)
        self.epoch += 1
        return means

    def batch(self, indices: list[int]) -> Batch:
        """The pictures of these numbers with some of their texts; the same for the same epoch."""
        config, texts = self.config, self.texts
        draw = np.random.default_rng(seed_for("network", config.seed, self.epoch, indices[0]))
        tags = np.sort(draw.permutation(len(texts.tags))[: config.tags_per_step])
        phrases = [
            texts.phrases[index][number]
            for index in indices
            for number in draw.permutation(len(texts.phrases[index]))[: config.phrases]
        ]
        shares = [dict.fromkeys([tag], 1.0) for tag in tags.tolist()] + [weights for _, weights in phrases]
        used = sorted({tag for each in shares for tag in each})
        weights = texts.weights(shares)  # (S, T)
        scores = torch.from_numpy(self.scores[indices][:, texts.columns[used]])  # (B, U, h, w)
        logits = adaptive_avg_pool2d(logits_of_bytes(scores), self.side)
        targets = torch.einsum("su,buhw->bshw", weights[:, used], logits)
        captioned = [row for row, index in enumerate(indices) if texts.captions[index]]
        captions = [str(draw.choice(texts.captions[indices[row]])) for row in captioned]
        names = [*(texts.tags[tag] for tag in tags), *(text for text, _ in phrases)]
        features = torch.from_numpy(self.features[indices]).float()
        return Batch(features, targets, names, weights, captions, captioned)

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Each loss that has a weight.

        With z the embedding of a place, e that of a picture, t that of a text, all 1 long, and y the teacher's logit,

            places:   BCE(exp(s0) z.t + b0, sigmoid(y))
            picture:  BCE(exp(s1) e.t + b1, sigmoid(log mean exp y over places))

        where s and b are learnt, the b of a phrase is the mean of its tags', and BCE is summed over texts and averaged
        over the rest. `captions` is InfoNCE (arXiv 2103.00020, figure 3) between pictures and captions, both ways.
        """
        loss, student = self.config.loss, self.student
        pictures, places = student.image(batch.features)
        found: dict[str, Tensor] = {}
        if loss.places or loss.picture:
            texts = student.text(self.clip.tokens(batch.texts))  # (S, D)
            biases = student.bias @ batch.weights.T  # (2, S)
            targets = batch.targets.flatten(2)  # (B, S, h * w)
            if loss.places:
                scores = texts @ places.transpose(1, 2) * student.scale[0].exp() + biases[0, :, None]  # (B, S, h * w)
                found["places"] = _bce(scores, targets)
            if loss.picture:
                scores = pictures @ texts.T * student.scale[1].exp() + biases[1]  # (B, S)
                found["picture"] = _bce(scores, targets.exp().mean(2).log())
        if loss.captions and len(batch.captions) > 1:
            captions = student.text(self.clip.tokens(batch.captions))
            scale = student.model.logit_scale.exp().clamp(max=100)
            scores = (pictures[batch.captioned] @ captions.T).float() * scale
            own = torch.arange(len(scores))
            found["captions"] = (cross_entropy(scores, own) + cross_entropy(scores.T, own)) / 2
        return found


def _bce(scores: Tensor, logits: Tensor) -> Tensor:
    """Binary cross-entropy of scores against the probabilities of logits, (B, S, ...): summed over S, else the mean."""
    return binary_cross_entropy_with_logits(scores.float(), logits.sigmoid(), reduction="none").sum(1).mean()
