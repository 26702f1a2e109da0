"""What a network with a tower for pictures and one for texts must offer, whichever library it comes from."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from textwrap import shorten

from torch import Tensor, nn

from grounding.errors import GroundingError


class Towers(nn.Module, ABC):
    """A CLIP: two towers into one space of D dimensions, and how similarities become logits.

    Attributes:
        scale: logits are `scale * cosine + bias`; both as the network learnt them.
        bias: 0 for a network that compares texts by a softmax; of SigLIP, its own.
        independent: whether the logit of a text alone is meant to say whether it fits, by a sigmoid, as SigLIP's.
        context: the most tokens of a text, with those that mark its ends.
    """

    scale: float
    bias: float
    independent: bool
    context: int

    @abstractmethod
    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, S, S) normalised pictures -> (N, C) pooled features, which a linear layer projects into the space."""

    def project(self, features: Tensor) -> Tensor:
        """(N, C) -> (N, D) embeddings, of any length. Without a projection, the features."""
        return features

    def pull(self, texts: Tensor) -> Tensor:
        """(K, D) embeddings of texts -> (K, C): the weights with which `features @ weights.T` gives their products."""
        return texts

    @abstractmethod
    def embed(self, texts: Sequence[str]) -> Tensor:
        """K texts -> (K, D) embeddings of any length, on the device of the network.

        Raises:
            GroundingError: a text has more tokens than `context`.
        """

    def check_length(self, text: str, count: int, lost: str) -> None:
        """Refuse a text that would be cut off.

        Args:
            count: of its tokens.
            lost: the words that would go.

        Raises:
            GroundingError: the text has more tokens than `context`.
        """
        if count > self.context:
            raise GroundingError(
                f"'{shorten(text, 60, placeholder=' ...')}' is {count} tokens long, and the network reads "
                f"{self.context}: it would not see '{shorten(lost, 100, placeholder=' ...')}'; say it in fewer words"
            )
