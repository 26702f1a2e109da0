"""Where Excitation Backprop leaves a choice, and what was chosen for a walk."""

from dataclasses import dataclass

from grounding.errors import GroundingError

RESIDUAL = ("split", "main", "signed")
BIAS = ("none", "share")


@dataclass(frozen=True, slots=True)
class Choices:
    """What one walk does at every operation of a kind.

    Attributes:
        residual: a sum of two activations is shared in proportion to those that have its sign (`split`), or to both
            whatever their sign (`signed`, as the paper's authors do); or all goes to the deeper one (`main`).
        bias: nothing goes to a bias (`none`, as in the paper); or it takes its share, which is lost (`share`).
    """

    residual: str = "split"
    bias: str = "none"

    def __post_init__(self) -> None:
        if self.residual not in RESIDUAL:
            raise GroundingError(f"residual is '{self.residual}': expected 'split', 'main' or 'signed'")
        if self.bias not in BIAS:
            raise GroundingError(f"bias is '{self.bias}': expected 'none' or 'share'")
