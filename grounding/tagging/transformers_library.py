"""What loading a network of transformers has in common: the library, its files, its noise and its pictures.

transformers is the optional extra `hf`.
"""

import textwrap
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np
from safetensors import SafetensorError

from grounding.errors import GroundingError
from grounding.tagging.classifier import Preprocessing, Resample
from grounding.tagging.hub import INSTALL

_BILINEAR = 2  # Pillow's number
_PROBES = ((210, 330), (330, 210), (700, 500))  # heights and widths of pictures in px
_FAULTS = (
    *(ArithmeticError, AttributeError, ImportError, LookupError),
    *(OSError, RuntimeError, SafetensorError, TypeError, ValueError),
)
T = TypeVar("T")


def transformers_for(source: str) -> Any:
    """The library.

    Raises:
        GroundingError: it is not installed.
    """
    try:
        import transformers
    except ImportError as error:
        raise GroundingError(f"{source} needs transformers, which is not installed: {INSTALL}") from error
    return transformers


@contextmanager
def quiet(transformers: Any) -> Iterator[None]:
    """No progress bars and no reports on weights while the block lasts: what matters of them is an error here."""
    logging = transformers.utils.logging
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def attempt(source: str, what: str, load: Callable[[], T]) -> T:
    """What transformers loads.

    Raises:
        GroundingError: it cannot, in one line.
    """
    try:
        return load()
    except _FAULTS as error:
        reason = textwrap.shorten(str(error), 200, placeholder=" ...") or type(error).__name__
        raise GroundingError(f"{source}: its {what} cannot be loaded ({reason})") from error


def check_complete(report: Mapping[str, Any], source: str) -> None:
    """Refuse weights that are not exactly those of the model: what is missing would be random.

    Args:
        report: what `from_pretrained(..., output_loading_info=True)` says.
    """
    for key, fault in (("missing_keys", "lack"), ("unexpected_keys", "hold unknown"), ("mismatched_keys", "misfit in")):
        if found := sorted(map(str, report.get(key) or ())):
            raise GroundingError(
                f"weights of {source} {fault} {len(found)} tensors, such as '{found[0]}': expected exactly the model's"
            )


def preprocessing_of(processor: Any, source: str) -> Preprocessing:
    """The preprocessing that does to a square picture what an image processor does.

    The processor is shown black and white pictures: its output tells the size, and for each channel the mean and the
    standard deviation, whatever its settings are called.

    Raises:
        GroundingError: its output has no fixed, square size, or depends on more than the pixel.
    """
    what = f"{source}: its image processor"
    pictures = [np.full((*size, 3), value, np.uint8) for size in _PROBES for value in (0, 255)]
    outputs = attempt(source, "image processor", lambda: [_pixels(processor, picture) for picture in pictures])
    shapes = {tuple(output.shape) for output in outputs}
    if len(shapes) > 1:
        sizes = " and ".join(f"{width} x {height} px" for *_, height, width in sorted(shapes)[:2])
        raise GroundingError(f"{what} has no size (it makes {sizes}): expected `size` in its preprocessor_config.json")
    (shape,) = shapes
    if len(shape) != 4 or shape[:2] != (1, 3) or shape[2] != shape[3]:
        raise GroundingError(f"{what} makes arrays of {shape}: expected 1 x 3 x S x S, one square RGB picture")
    black, white = (np.stack([output[0].mean((1, 2)) for output in outputs[at::2]]).mean(0) for at in (0, 1))  # (3,)
    flat = max(float(np.ptp(output, (0, 2, 3)).max()) for output in outputs) < 1e-3
    if not flat or not (white - black > 1e-6).all():
        raise GroundingError(f"{what} does more than resize and normalise: expected one that does not")
    std = 1 / (white - black)
    mean = -black * std
    resample: Resample = "bilinear" if getattr(processor, "resample", None) in (None, _BILINEAR) else "bicubic"
    return Preprocessing(shape[2], _rounded(mean), _rounded(std), resample)


def _pixels(processor: Any, picture: Any) -> Any:
    output = processor(picture, return_tensors="np", input_data_format="channels_last")
    return np.asarray(output["pixel_values"], np.float64)


def _rounded(values: Any) -> tuple[float, float, float]:
    red, green, blue = (round(float(value), 6) + 0.0 for value in values)
    return red, green, blue
