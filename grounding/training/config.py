"""The configuration of `python -m grounding.train`: frozen dataclasses, read by `grounding.config.load`."""

from dataclasses import dataclass, field
from typing import Any, Final, Literal

from grounding.config import HUGE, METHOD, TINY, check_limits, limited, require
from grounding.errors import GroundingError
from grounding.training.attention_config import DgdmConfig, GalaConfig, HumanMapsConfig

Pooling = Literal["log-sum-exp", "average", "top-k", "attention"]


DEFAULT_TAGS: Final = 1000  # that captions give
DEFAULTS: Final[dict[str, Any]] = {
    "architecture": "plain",
    "channels": (32, 64, 128, 128, 256, 256, 256, 256, 512),
    "strides": (2, 2, 2, 1, 2, 1, 1, 1, 1),
    "pooling": "log-sum-exp",
}


@dataclass(frozen=True, slots=True)
class DataConfig:
    """Pictures with words: webdataset shards, tables, or folders of pictures and texts.

    Names of `sources` may have braces and globs. With a `label_column` each text of a picture is a label, which is
    learnt whole; without one (empty) it is a caption, whose words are learnt.
    `delimiter` is that of CSV tables (empty: told from their first line); `image_folder` is where relative picture
    paths of tables start (empty: the folder of each table).
    `cache_size_px` keeps every picture in memory, resized to a square of this side; 0 reads it again for every step.
    `workers` are processes that read and augment pictures; 0 does it in the training process.
    """

    sources: tuple[str, ...] = ()
    image_column: str = "image"
    caption_column: str = "caption"
    label_column: str = ""
    delimiter: str = ""
    image_folder: str = ""
    cache_size_px: int = limited(224, 0, 8192, formerly="kept_size_px")
    workers: int = limited(0, 0, 256)

    def __post_init__(self) -> None:
        check_limits(self, "data.")
        if self.label_column and self.caption_column != "caption":
            raise GroundingError(
                f"data.label_column is '{self.label_column}' and data.caption_column '{self.caption_column}': expected "
                "one of them, since either labels or captions are learnt"
            )


@dataclass(frozen=True, slots=True)
class NetworkConfig:
    """The network: `plain` 3x3 convolutions of these channels and strides, or `timm:NAME`.

    The backbone starts from random weights, from a safetensors state dict (`weights`), from timm's own pretrained
    weights (`weights: pretrained`), or from another tag classifier (`initial`: embedded, a folder, or a YAML file that
    trains it first), whose head gives the rows of the tags that it knows. What is None follows the initial classifier,
    or else is that of the embedded one (`DEFAULTS`). Modules of the backbone named in `frozen` do not change, nor do
    their statistics of batch normalisation.
    `options` are keyword arguments of `timm.create_model`, as `key=value`.
    """

    architecture: str | None = None
    channels: tuple[int, ...] | None = limited(None, 1, 8192)
    strides: tuple[int, ...] | None = limited(None, 1, 16)
    pooling: Pooling | None = None
    weights: str = ""
    initial: str = ""
    frozen: tuple[str, ...] = ()
    options: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.architecture not in (None, "plain") and not str(self.architecture).startswith("timm:"):
            raise GroundingError(
                f"configuration key 'network.architecture' is '{self.architecture}': expected plain or timm:NAME"
            )
        layers = self.given_or_default()
        if len(layers["channels"]) != len(layers["strides"]) or not layers["channels"]:
            raise GroundingError(
                f"configuration keys 'network.channels' and 'network.strides' have {len(layers['channels'])} and "
                f"{len(layers['strides'])} numbers: expected one of each for every layer"
            )
        check_limits(self, "network.")
        if self.initial.startswith(("torchvision:", "timm:", "hf:", "clip:")):  # said before it is downloaded
            raise GroundingError(
                f"network.initial is '{self.initial}': expected embedded, a folder of a classifier, or "
                "a YAML file; for ImageNet weights set network.architecture=timm:NAME and network.weights=pretrained"
            )
        if self.weights and self.initial:
            raise GroundingError(
                "configuration keys 'network.weights' and 'network.initial' exclude each other: set one of them to none"
            )

    def given_or_default(self) -> dict[str, Any]:
        """What follows the initial classifier where it is None, with `DEFAULTS` in place of None."""
        given = {key: getattr(self, key) for key in DEFAULTS}
        return {key: DEFAULTS[key] if value is None else value for key, value in given.items()}


@dataclass(frozen=True, slots=True)
class TeacherConfig:
    """Distillation: tag classifiers whose score maps are learnt, or YAML files of this kind that train them first.

    Each teacher scores every whole picture once at each of `sizes_px`. The means, T * h * w bytes a picture, are stored
    on disk; h and w are those of the first size.
    """

    classifiers: tuple[str, ...] = ()
    sizes_px: tuple[int, ...] = limited((384,), 16, 8192)

    def __post_init__(self) -> None:
        require("the number of teacher.sizes_px", len(self.sizes_px), 1, 16)
        check_limits(self, "teacher.")


@dataclass(frozen=True, slots=True)
class LossConfig:
    """The weight of each loss; a loss of weight 0 is not computed."""

    words: float = limited(1.0, 0, HUGE)
    teacher: float = limited(0.0, 0, HUGE)
    contrast: float = limited(0.0, 0, HUGE)
    contrast_temperature: float = limited(1.0, TINY, HUGE)
    head_penalty: float = limited(0.0, 0, HUGE)

    def __post_init__(self) -> None:
        check_limits(self, "loss.")
        if not (self.words or self.teacher or self.contrast):
            raise GroundingError("loss.words, loss.teacher and loss.contrast are all 0: expected at least one above 0")


@dataclass(frozen=True, slots=True)
class AugmentationConfig:
    """Random crop, horizontal flip, colour jitter and grayscale, as torchvision names them.

    A crop covers at least `min_crop_scale` of the picture's area. `flip` and `grayscale` are probabilities,
    `color_jitter` is the strength for brightness, contrast and saturation alike.
    """

    min_crop_scale: float = limited(0.35, 0.01, 1, formerly="smallest_crop")
    flip: float = limited(0.5, 0, 1)
    color_jitter: float = limited(0.4, 0, 1, formerly="jitter")
    grayscale: float = limited(0.1, 0, 1, formerly="grey")

    def __post_init__(self) -> None:
        check_limits(self, "augmentation.")


@dataclass(frozen=True, slots=True)
class ValidationConfig:
    """What is measured every so many epochs, on at most `limit` photographs; `method` makes the maps.

    Localization of Flickr30k Entities phrases: `images` are a folder, a zip or uncompressed tars of photographs,
    `annotations` the Entities folder or zip. Or agreement with where people look: `dataset` is laid out in `root`,
    `gaze` is a file of fixations, of which only those of `viewers` count, where there are any.
    `split` None is val of Entities, test of CUB.
    """

    images: tuple[str, ...] = ()
    annotations: str = ""
    dataset: Literal["cub"] | None = None
    root: str = ""
    gaze: str = ""
    viewers: tuple[int, ...] = ()
    split: str | None = None
    limit: int = limited(100, 1, HUGE)
    every: int = limited(1, 1, HUGE)
    method: str = METHOD

    def __post_init__(self) -> None:
        check_limits(self, "validation.")
        if self.images and not self.annotations:
            raise GroundingError("validation.images are given without validation.annotations: expected both or neither")
        if self.dataset and self.images:
            raise GroundingError("validation measures validation.images or validation.dataset: expected one of them")
        if self.dataset and not (self.root and self.gaze):
            raise GroundingError(
                f"validation.dataset is {self.dataset} without its root or gaze: expected validation.root, the "
                "pictures, and validation.gaze, a file of fixations"
            )
        if (self.root or self.gaze or self.viewers) and not self.dataset:
            raise GroundingError("validation.root, gaze and viewers need validation.dataset: set it to cub")

    @property
    def given(self) -> bool:
        """Whether anything is measured."""
        return bool(self.images or self.dataset)


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """Everything `python -m grounding.train` needs to know.

    `tags` is how many words of the captions are learnt (None: 1,000); of labels all are, and it must be their number or
    None.
    `image_size_px` is the square that the network is trained on, `inference_size_px` the one that the finished
    classifier resizes a picture to. `head_only` learns the head alone, from whole pictures of the latter size and their
    mirror images. A step sees `gradient_accumulation_steps` batches of `batch_size` pictures in each
    process. `ema` is the decay of the weights' exponential moving average (0: none); above 0, the average is
    validated and saved as the classifier. `learning_rate` is the peak of a cosine; the head may have its own.
    `warmup` is a share of all steps.
    """

    output: str = "runs/classifier"
    seed: int = limited(0, 0, 2**63 - 1)
    device: str = "cpu"
    tags: int | None = limited(None, 1, HUGE)
    inference_size_px: int = limited(384, 16, 8192, formerly="shown_size_px")
    map_layer: int | None = limited(None, -1000, -2)  # -1, the input of the head, has no places
    image_size_px: int = limited(224, 16, 8192)
    head_only: bool = False
    epochs: int = limited(40, 1, HUGE)
    batch_size: int = limited(32, 1, HUGE)
    gradient_accumulation_steps: int = limited(1, 1, HUGE, formerly="accumulate")
    learning_rate: float = limited(2e-3, TINY, 10)
    head_learning_rate: float | None = limited(None, TINY, 10)
    weight_decay: float = limited(0.05, 0, 10)
    warmup: float = limited(0.05, 0, 1)
    max_grad_norm: float = limited(10.0, TINY, HUGE, formerly="clip")
    ema: float = limited(0.0, 0, 0.99999)
    bf16: bool = True
    log: Literal["csv", "tensorboard"] = "csv"
    data: DataConfig = field(default_factory=DataConfig)
    network: NetworkConfig = field(default_factory=NetworkConfig)
    teacher: TeacherConfig = field(default_factory=TeacherConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig, metadata={"formerly": "views"})
    dgdm: DgdmConfig = field(default_factory=DgdmConfig)
    gala: GalaConfig = field(default_factory=GalaConfig)
    human_maps: HumanMapsConfig = field(default_factory=HumanMapsConfig)
    validation: ValidationConfig = field(default_factory=ValidationConfig)

    def __post_init__(self) -> None:
        check_limits(self)
        if bool(self.loss.teacher) != bool(self.teacher.classifiers):
            raise GroundingError(
                f"loss.teacher is {self.loss.teacher:g} with {len(self.teacher.classifiers)} teacher.classifiers: "
                "expected a weight above 0 and at least one teacher, or neither"
            )
        if self.head_only and not (self.network.initial or self.network.weights):
            raise GroundingError(
                "head_only needs a backbone that has learnt: set network.initial (to embedded, say) or network.weights"
            )
        if self.head_only and (self.dgdm.enabled or self.gala.enabled or self.human_maps.source):
            raise GroundingError("dgdm, gala and human_maps teach the backbone, which head_only leaves as it is")
        if self.human_maps.source and self.human_maps.teaches == "gala" and not self.gala.enabled:
            raise GroundingError(
                "human_maps.source teaches GALA layers where there is none: set gala.enabled=true, or "
                "human_maps.teaches=excitation"
            )
        if self.network.pooling == "attention" and not (self.loss.words or self.loss.contrast):
            raise GroundingError(
                "network.pooling 'attention' is learnt by loss.words or loss.contrast alone: expected one above 0"
            )
