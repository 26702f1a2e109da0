"""A CLIP as the pipeline sees it: no tags; the embedding of a phrase is its top-down signal."""

import hashlib
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor
from torch.nn import functional

from grounding.errors import GroundingError
from grounding.tagging.classifier import Preprocessing, TagClassifier, dtype_of, on_device
from grounding.tagging.towers import Towers
from grounding.wording import shortened

PROMPT = "a photo of {}."
BACKGROUND = ("a photo.", "a photo of something.", "a photo of a place.", "a photo of the background.")  # whole texts
_KEPT = 4096  # embeddings: 8 MiB of 512 numbers each
_AT_ONCE = 64  # texts


@dataclass(frozen=True, eq=False)
class ClipClassifier:
    """A network that compares pictures with texts. It answers to any phrase and has no tags.

    Attributes:
        network: in evaluation mode; (N, 3, S, S) -> (N, C) features, which it projects to (N, D); and texts -> (K, D).
        preprocessing: from a picture to the network's input.
        name: what results call this classifier.
        prompt: the text that is embedded for a phrase, which stands for `{}`.
        tags, indices, multi_label, map_layer, presence_model: as those of a `TagClassifier` that has none.
    """

    network: Towers = field(repr=False)
    preprocessing: Preprocessing
    name: str
    prompt: str = PROMPT
    tags: tuple[str, ...] = field(default=(), init=False, repr=False)
    indices: Mapping[str, int] = field(default_factory=dict, init=False, repr=False)
    multi_label: bool = field(default=False, init=False, repr=False)
    map_layer: None = field(default=None, init=False, repr=False)
    presence_model: None = field(default=None, init=False, repr=False)
    _embeddings: OrderedDict[str, Tensor] = field(default_factory=OrderedDict, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.prompt.count("{}") != 1:
            raise GroundingError(f"the prompt is '{self.prompt}': expected a text with one {{}}, such as '{PROMPT}'")

    def __repr__(self) -> str:
        size = self.preprocessing.image_size_px
        return f"ClipClassifier({shortened(self.name)}, any words, {size} px)"

    def to(self, device: torch.device) -> "ClipClassifier":
        """Return this classifier where its network is on the device, else one with a copy of the network there."""
        network = on_device(self.network, device)
        return self if network is self.network else replace(self, network=network)

    @property
    def dtype(self) -> torch.dtype:
        """What the network computes in: the type of its first floating point weight."""
        return dtype_of(self.network)

    def evidence(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(N, 3, S, S) of `dtype` -> (N, C) features from which the walk starts, and (N, D) embeddings.

        The features come out of a linear layer that changes nothing, as scores out of a classifier: the layers of the
        network are what lies below it.
        """
        features = self.network(images)
        unchanged = torch.eye(features.shape[1], dtype=features.dtype, device=features.device)
        return functional.linear(features, unchanged), self.network.project(features)

    def probabilities(self, logits: Tensor) -> Tensor:
        """(N, 0): there are no tags."""
        return logits[:, :0]

    def signals(self, words: Sequence[tuple[str, ...]]) -> Tensor:
        """(K, C) float32 on the CPU: the weights of each phrase in the prompt on the features; a word is one phrase."""
        return self._pulled(self.prompted([phrase for (phrase,) in words]))

    def background(self) -> Tensor:
        """(B, C) float32: those of the texts that any picture fits."""
        return self._pulled(BACKGROUND)

    def prompted(self, phrases: Sequence[str]) -> list[str]:
        """The text that is embedded for each phrase."""
        return [self.prompt.format(phrase) for phrase in phrases]

    def _pulled(self, texts: Sequence[str]) -> Tensor:
        with torch.no_grad():
            return self.network.pull(self.embed(texts)).float().cpu()

    def embed(self, texts: Sequence[str]) -> Tensor:
        """(K, D) float32 on the CPU: the embedding of each text, of length 1. The last few thousand are kept.

        Raises:
            GroundingError: a text is longer than the network reads.
        """
        known = self._embeddings
        found = {text: known[text] for text in texts if text in known}
        new = [text for text in dict.fromkeys(texts) if text not in found]
        for first in range(0, len(new), _AT_ONCE):
            group = new[first : first + _AT_ONCE]
            with torch.inference_mode(False), torch.no_grad(), torch.autocast("cpu", enabled=False):
                rows = functional.normalize(self.network.embed(group).float(), dim=-1).cpu()
            found.update(zip(group, rows, strict=True))
        for text in new:
            known[text] = found[text]
        while len(known) > _KEPT:
            known.popitem(last=False)
        if not texts:
            return self.embed(["a"])[:0]
        return torch.stack([found[text] for text in texts])

    def presences(self, embedding: Tensor, phrases: Sequence[str]) -> list[float]:
        """Say how probable it is that a picture shows each phrase; not calibrated.

        With the logit `scale * cosine + bias` of a phrase: its sigmoid, where the network was trained so (SigLIP); else
        its share of the softmax over itself and the background prompts.

        Args:
            embedding: (D,) of the picture.
        """
        if not phrases:
            return []
        picture = functional.normalize(embedding.float().cpu(), dim=0)
        network = self.network
        logits = network.scale * (self.embed(self.prompted(phrases)) @ picture) + network.bias  # (K,)
        if network.independent:
            return [float(p) for p in logits.sigmoid()]
        others = (network.scale * (self.embed(BACKGROUND) @ picture) + network.bias).logsumexp(0)
        return [float(p) for p in (logits - others).sigmoid()]

    @property
    def presence_source(self) -> str:
        """What `presences` is computed from, in words."""
        if self.network.independent:
            return "the sigmoid of the network's own logit of the phrase, not calibrated"
        return "the softmax of the phrase's similarity against those of background prompts, not calibrated"

    def fingerprint(self) -> str:
        """Return the same text for the same weights, prompts and preprocessing."""
        said = self.prompt, BACKGROUND, self.preprocessing, self.network.scale, self.network.bias
        digest = hashlib.sha256(repr(said).encode())
        for name, value in self.network.state_dict().items():
            digest.update(name.encode() + value.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()


Classifier = TagClassifier | ClipClassifier
