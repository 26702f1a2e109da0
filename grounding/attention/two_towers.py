"""Networks with a tower for images and one for texts, such as CLIP: one recording of the image serves any text."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from grounding.attention.graph import Tape
from grounding.attention.outputs import Output, described, pick
from grounding.attention.rules.arithmetic import reciprocal
from grounding.errors import GroundingError

_IMAGE_TOWERS = ("encode_image", "get_image_features")  # of open_clip, and of Hugging Face


def text_signal(tape: Tape, text: Tensor, *, contrast: bool = False) -> Tensor:
    """Signals on the embedding of an image, for texts that it was compared with after the recording.

    The similarity of a text t is a linear layer on the embedding e, with t as its weights. This is the step of the walk
    through that layer, arXiv 1608.00507, equation 10, negative e counting as 0 (section 3.3 for the contrast):

        P(e_j) = e_j t+_j / sum_k e_k t+_k,    less the same with (-t)+ in place of t+.

    So `mwp(tape, text_signal(tape, text, contrast=True), layer=...)` is the contrastive MWP of a model that returns
    `tower(images) @ text.T`. The lengths of e and of t cancel.

    Args:
        tape: a recording of the tower of images, whose scores are its embeddings (N, D).
        text: (K, D) floating point, the embeddings of the texts.
        contrast: take the dual signal away.

    Returns:
        (K, N, D), of at least float32, on the device of the scores. Each sums to 1 over D, with the contrast to 0; 1
        less where no unit speaks for the text. Without the contrast such a signal is all zero, which a walk refuses.

    Raises:
        GroundingError: embeddings of another shape or type, or with NaN or infinity.
    """
    embeddings = tape.scores
    if embeddings.dim() != 2:
        raise GroundingError(f"the recorded scores have shape {tuple(embeddings.shape)}: expected embeddings (N, D)")
    check_embeddings(text, embeddings.shape[1])
    dtype = torch.promote_types(torch.promote_types(text.dtype, embeddings.dtype), torch.float32)
    e, t = embeddings.to(dtype).clamp(min=0), text.to(embeddings.device, dtype)
    signal = _share(e, t.clamp(min=0))
    return signal - _share(e, t.neg().clamp(min=0)) if contrast else signal


def similarities(model: Any, text: Tensor, output: Output | None = None) -> Callable[[Tensor], Tensor]:
    """A function of images (N, C, H, W) that returns their scores for texts (N, T).

    Args:
        model: the tower of images, or a model of open_clip or Hugging Face that has one.
        text: (T, D) floating point embeddings.
        output: which of what the tower returns is the embedding (N, D), as in `record`.

    Raises:
        GroundingError: embeddings of another shape or type.
    """
    check_embeddings(text)
    tower = next((getattr(model, name) for name in _IMAGE_TOWERS if hasattr(model, name)), model)

    def scores(images: Tensor) -> Tensor:
        embeddings = pick(tower(images), output)
        if output is None and not isinstance(embeddings, Tensor):
            embeddings = getattr(embeddings, "pooler_output", embeddings)  # of Hugging Face's towers
        if not isinstance(embeddings, Tensor) or embeddings.shape[-1:] != text.shape[1:]:
            given = tuple(embeddings.shape) if isinstance(embeddings, Tensor) else described(embeddings)
            raise GroundingError(
                f"the tower of images returned {given}: expected embeddings (N, {text.shape[1]}), as those of the "
                "text; say which with output="
            )
        texts = text.to(embeddings.device, embeddings.dtype)
        return functional.linear(functional.normalize(embeddings, dim=-1), texts)

    return scores


def _share(e: Tensor, positive: Tensor) -> Tensor:
    """The linear rule for (N, D) inputs and one row of weights after the other: (K, N, D)."""
    ratio = reciprocal(positive @ e.t())  # (K, N), 1 / Z
    return ratio[:, :, None] * (positive[:, None] * e)


def check_embeddings(text: object, size: int | None = None) -> None:
    """That these are embeddings of texts, of this size."""
    expected = f"(K, {'D' if size is None else size})"
    if not isinstance(text, Tensor):
        raise GroundingError(f"text is a {type(text).__name__}: expected embeddings {expected}, a tensor")
    if text.dim() != 2 or not text.is_floating_point() or size not in (None, text.shape[1]):
        given = f"{tuple(text.shape)} {text.dtype}"
        raise GroundingError(f"text is {given}: expected floating point embeddings {expected}, as those of the image")
    if not bool(text.isfinite().all()):
        raise GroundingError("text holds NaN or infinity: expected finite embeddings")
