"""The configuration of `python -m grounding.train`: frozen dataclasses, read by `grounding.config.load`."""

from dataclasses import dataclass, field
from typing import Literal

from grounding.config import METHOD, require
from grounding.errors import GroundingError

Pooling = Literal["log-sum-exp", "average", "top-k", "attention"]
_TINY, _HUGE = 1e-12, 1e6


@dataclass(frozen=True, slots=True)
class DataConfig:
    """Pictures with words: webdataset shards, CSV, Parquet or JSON Lines tables, or folders of pictures and texts.

    `cache_size_px` keeps every picture in memory, resized to a square of this side; 0 reads it again for every step.
    `workers` are processes that read and augment pictures; 0 does it in the training process.
    """

    sources: tuple[str, ...] = ()
    image_column: str = "image"
    caption_column: str = "caption"
    cache_size_px: int = field(default=224, metadata={"formerly": "kept_size_px"})
    workers: int = 0

    def __post_init__(self) -> None:
        require("data.cache_size_px", self.cache_size_px, 0, 8192)
        require("data.workers", self.workers, 0, 256)


@dataclass(frozen=True, slots=True)
class NetworkConfig:
    """The network: `plain` 3x3 convolutions of these channels and strides, or `timm:NAME`.

    The backbone starts from random weights, from a safetensors state dict (`weights`), from timm's own pretrained
    weights (`weights: pretrained`), or, head included, from another tag classifier (`initial`: embedded, a folder, or a
    YAML file that trains it first). Modules of the backbone named in `frozen` do not change, nor do their statistics of
    batch normalisation.
    `options` are keyword arguments of `timm.create_model`, as `key=value`.
    """

    architecture: str = "plain"
    channels: tuple[int, ...] = (32, 64, 128, 128, 256, 256, 256, 256, 512)
    strides: tuple[int, ...] = (2, 2, 2, 1, 2, 1, 1, 1, 1)
    pooling: Pooling = "log-sum-exp"
    weights: str = ""
    initial: str = ""
    frozen: tuple[str, ...] = ()
    options: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.architecture != "plain" and not self.architecture.startswith("timm:"):
            raise GroundingError(
                f"configuration key 'network.architecture' is '{self.architecture}': expected plain or timm:NAME"
            )
        if len(self.channels) != len(self.strides) or not self.channels:
            raise GroundingError(
                f"configuration keys 'network.channels' and 'network.strides' have {len(self.channels)} and "
                f"{len(self.strides)} numbers: expected one of each for every layer"
            )
        for channels, stride in zip(self.channels, self.strides, strict=True):
            require("network.channels", channels, 1, 8192)
            require("network.strides", stride, 1, 16)
        if self.weights and self.initial:
            raise GroundingError("configuration keys 'network.weights' and 'network.initial' exclude each other")


@dataclass(frozen=True, slots=True)
class TeacherConfig:
    """Distillation: tag classifiers whose score maps are learnt, or YAML files of this kind that train them first.

    Each teacher scores every whole picture once at each of `sizes_px`. The means, T * h * w bytes a picture, are stored
    on disk; h and w are those of the first size.
    """

    classifiers: tuple[str, ...] = ()
    sizes_px: tuple[int, ...] = (384,)

    def __post_init__(self) -> None:
        require("the number of teacher.sizes_px", len(self.sizes_px), 1, 16)
        for size in self.sizes_px:
            require("teacher.sizes_px", size, 16, 8192)


@dataclass(frozen=True, slots=True)
class LossConfig:
    """The weight of each loss; a loss of weight 0 is not computed."""

    words: float = 1.0
    teacher: float = 0.0
    contrast: float = 0.0
    contrast_temperature: float = 1.0
    head_penalty: float = 0.0

    def __post_init__(self) -> None:
        for name in ("words", "teacher", "contrast", "head_penalty"):
            require(f"loss.{name}", getattr(self, name), 0, _HUGE)
        require("loss.contrast_temperature", self.contrast_temperature, _TINY, _HUGE)
        if not (self.words or self.teacher or self.contrast):
            raise GroundingError("loss.words, loss.teacher and loss.contrast are all 0: expected at least one above 0")


@dataclass(frozen=True, slots=True)
class AugmentationConfig:
    """Random crop, horizontal flip, colour jitter and grayscale, as torchvision names them.

    A crop covers at least `min_crop_scale` of the picture's area. `flip` and `grayscale` are probabilities,
    `color_jitter` is the strength for brightness, contrast and saturation alike.
    """

    min_crop_scale: float = field(default=0.35, metadata={"formerly": "smallest_crop"})
    flip: float = 0.5
    color_jitter: float = field(default=0.4, metadata={"formerly": "jitter"})
    grayscale: float = field(default=0.1, metadata={"formerly": "grey"})

    def __post_init__(self) -> None:
        require("augmentation.min_crop_scale", self.min_crop_scale, 0.01, 1)
        for name in ("flip", "color_jitter", "grayscale"):
            require(f"augmentation.{name}", getattr(self, name), 0, 1)


@dataclass(frozen=True, slots=True)
class ValidationConfig:
    """Localization of Flickr30k Entities phrases, measured every so many epochs on at most `limit` photographs.

    `images` are a folder, a zip or uncompressed tars of photographs, `annotations` the Entities folder or zip;
    `method` makes the word maps.
    """

    images: tuple[str, ...] = ()
    annotations: str = ""
    split: str = "val"
    limit: int = 100
    every: int = 1
    method: str = METHOD

    def __post_init__(self) -> None:
        require("validation.limit", self.limit, 1, _HUGE)
        require("validation.every", self.every, 1, _HUGE)
        if self.images and not self.annotations:
            raise GroundingError("validation.images are given without validation.annotations: expected both or neither")


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """Everything `python -m grounding.train` needs to know.

    `image_size_px` is the square that the network is trained on, `inference_size_px` the one that the finished
    classifier resizes a picture to. A step sees `gradient_accumulation_steps` batches of `batch_size` pictures in each
    process. `ema` is the decay of the weights' exponential moving average (0: none); above 0, the average is
    validated and saved as the classifier. `learning_rate` is the peak of a cosine; the head may have its own.
    `warmup` is a share of all steps.
    """

    output: str = "runs/classifier"
    seed: int = 0
    device: str = "cpu"
    tags: int = 1000
    inference_size_px: int = field(default=384, metadata={"formerly": "shown_size_px"})
    map_layer: int | None = None
    image_size_px: int = 224
    epochs: int = 40
    batch_size: int = 32
    gradient_accumulation_steps: int = field(default=1, metadata={"formerly": "accumulate"})
    learning_rate: float = 2e-3
    head_learning_rate: float | None = None
    weight_decay: float = 0.05
    warmup: float = 0.05
    max_grad_norm: float = field(default=10.0, metadata={"formerly": "clip"})
    ema: float = 0.0
    bf16: bool = True
    log: Literal["csv", "tensorboard"] = "csv"
    data: DataConfig = field(default_factory=DataConfig)
    network: NetworkConfig = field(default_factory=NetworkConfig)
    teacher: TeacherConfig = field(default_factory=TeacherConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig, metadata={"formerly": "views"})
    validation: ValidationConfig = field(default_factory=ValidationConfig)

    def __post_init__(self) -> None:
        for name in ("tags", "epochs", "batch_size", "gradient_accumulation_steps"):
            require(name, getattr(self, name), 1, _HUGE)
        for name in ("image_size_px", "inference_size_px"):
            require(name, getattr(self, name), 16, 8192)
        require("seed", self.seed, 0, 2**63 - 1)
        if self.map_layer is not None:
            require("map_layer", self.map_layer, -1000, -2)  # -1, the input of the head, has no places
        require("learning_rate", self.learning_rate, _TINY, 10)
        if self.head_learning_rate is not None:
            require("head_learning_rate", self.head_learning_rate, _TINY, 10)
        require("weight_decay", self.weight_decay, 0, 10)
        require("warmup", self.warmup, 0, 1)
        require("max_grad_norm", self.max_grad_norm, _TINY, _HUGE)
        require("ema", self.ema, 0, 0.99999)
        if bool(self.loss.teacher) != bool(self.teacher.classifiers):
            raise GroundingError(
                f"loss.teacher is {self.loss.teacher:g} with {len(self.teacher.classifiers)} teacher.classifiers: "
                "expected a weight above 0 and at least one teacher, or neither"
            )
        if self.network.pooling == "attention" and not (self.loss.words or self.loss.contrast):
            raise GroundingError(
                "network.pooling 'attention' is learnt by loss.words or loss.contrast alone: expected one above 0"
            )
