"""The configuration of a CLIP: `python -m grounding.train CONFIG` with `model: clip` in it."""

from dataclasses import dataclass, field
from typing import Literal

from grounding.config import HUGE, TINY, check_limits, limited
from grounding.errors import GroundingError
from grounding.training.config import DataConfig


@dataclass(frozen=True, slots=True)
class VisionConfig:
    """The tower for pictures: MobileNet v1, of which the layers up to stride 16 stay as they begin.

    It begins from the state dict of a `timm:mobilenetv1_100` in `weights`, or from random weights where that is empty;
    `width` scales its channels (timm's is 1).
    """

    weights: str = ""
    width: float = limited(1.0, 0.05, 2)
    image_size_px: int = limited(384, 32, 8192)

    def __post_init__(self) -> None:
        check_limits(self, "vision.")
        if self.image_size_px % 32:
            raise GroundingError(f"vision.image_size_px is {self.image_size_px}: expected a multiple of 32, its stride")


@dataclass(frozen=True, slots=True)
class TextConfig:
    """The text transformer. It is as wide as the word vectors of the package, which are its table of tokens and stay
    as they are: so a word that no caption of the training has lies beside its neighbours.

    `length` is the most tokens of a text, with its begin and its end; longer captions are cut while training.
    """

    layers: int = limited(2, 1, 256)
    heads: int = limited(5, 1, 256)
    length: int = limited(32, 4, 1024)

    def __post_init__(self) -> None:
        check_limits(self, "text.")


@dataclass(frozen=True, slots=True)
class ClipLossConfig:
    """The weight of each loss; a loss of weight 0 is not computed.

    `places`: each place of the picture with each text, against the teacher. `picture`: the picture with each text,
    against the teacher. `captions`: pictures with their captions, against each other (CLIP's own loss).
    """

    places: float = limited(1.0, 0, HUGE)
    picture: float = limited(0.5, 0, HUGE)
    captions: float = limited(1.0, 0, HUGE)

    def __post_init__(self) -> None:
        check_limits(self, "loss.")
        if not (self.places or self.picture or self.captions):
            raise GroundingError("loss.places, loss.picture and loss.captions are all 0: expected at least one above 0")


@dataclass(frozen=True, slots=True)
class ClipConfig:
    """Everything that the training of a CLIP needs to know.

    `teacher` is a tag classifier that `grounding.train` has trained; it scores every picture once, as a square of
    `teacher_size_px`. Of its tags, every `held_out_every`-th by frequency is kept from the student (0: none): captions
    and phrases with such a word are left out, so that the finished model can be asked about words that it was never
    taught.
    A step sees `batch_size` pictures, `phrases` phrases of each, and `tags_per_step` single tags.
    """

    model: Literal["clip"] = "clip"
    output: str = "runs/clip"
    seed: int = limited(0, 0, 2**63 - 1)
    device: str = "cpu"
    embedding: int = limited(256, 1, 8192)
    epochs: int = limited(10, 1, HUGE)
    batch_size: int = limited(32, 2, HUGE)
    learning_rate: float = limited(1e-3, TINY, 10)
    weight_decay: float = limited(0.05, 0, 10)
    clip_gradient: float = limited(1.0, TINY, HUGE)
    held_out_every: int = limited(0, 0, HUGE)
    phrases: int = limited(2, 0, 64)
    tags_per_step: int = limited(256, 1, HUGE)
    teacher: str = "embedded"
    teacher_size_px: int = limited(384, 16, 8192)
    data: DataConfig = field(default_factory=DataConfig)
    vision: VisionConfig = field(default_factory=VisionConfig)
    text: TextConfig = field(default_factory=TextConfig)
    loss: ClipLossConfig = field(default_factory=ClipLossConfig)

    def __post_init__(self) -> None:
        check_limits(self)
