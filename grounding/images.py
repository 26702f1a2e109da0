"""Pictures in and out of files: always (H, W, 3) uint8 RGB, upright."""

import io
import warnings
from pathlib import Path
from typing import BinaryIO, TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageOps, UnidentifiedImageError

from grounding.errors import GroundingError

T = TypeVar("T", bound=np.generic)
RgbImage = npt.NDArray[np.uint8]  # (H, W, 3)


def read_image(source: str | Path | BinaryIO, name: str | None = None) -> RgbImage:
    """Read a picture file.

    EXIF orientation is applied, transparency is laid over white, 16 bits become 8, and grey, palette and CMYK pictures
    become RGB. Of an animation the first frame is taken.

    Args:
        source: a path, or an open binary file.
        name: what an error calls it; by default the path, or standard input.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        GroundingError: the file is missing, empty, truncated, no picture, or suspiciously large.
    """
    name = name or (str(source) if isinstance(source, str | Path) else "standard input")
    try:
        content = Path(source).read_bytes() if isinstance(source, str | Path) else source.read()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise GroundingError(f"image {name} cannot be read: {reason}") from error
    if not content:
        raise GroundingError(f"image {name} is empty: expected a picture file such as JPEG or PNG")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(content)) as image:
                return np.array(_to_rgb(ImageOps.exif_transpose(image)))
    except UnidentifiedImageError as error:
        raise GroundingError(
            f"image {name} is no picture that Pillow can read: expected JPEG, PNG or the like"
        ) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        limit = (Image.MAX_IMAGE_PIXELS or 0) // 1_000_000
        raise GroundingError(f"image {name} has over {limit} million pixels: make it smaller first") from error
    except Exception as error:  # over damaged files Pillow raises nearly anything, down to AssertionError
        raise GroundingError(
            f"image {name} is damaged or cut short ({error}): expected a whole picture file"
        ) from error


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":
        values = np.asarray(image, np.float64)
        span = 1.0 if image.mode == "F" and values.max(initial=0) <= 1 else 65535.0
        return Image.fromarray((values / span * 255).clip(0, 255).round().astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image).convert("RGB")
    return image.convert("RGB")


def check_image(image: object) -> RgbImage:
    """The picture as (H, W, 3) uint8, a copy of its own.

    Args:
        image: an (H, W, 3) or (H, W) uint8 array, or a Pillow image.

    Raises:
        GroundingError: another type, shape or dtype, or no pixel at all.
    """
    if isinstance(image, Image.Image):
        image = np.array(_to_rgb(image))
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8:
        given = f"{image.dtype} array" if isinstance(image, np.ndarray) else type(image).__name__
        raise GroundingError(f"the image is a {given}: expected an (H, W, 3) uint8 array or a Pillow image")
    if image.ndim == 2:
        image = np.repeat(image[:, :, None], 3, axis=2)
    if image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise GroundingError(f"the image has shape {image.shape}: expected (H, W, 3) with at least one pixel")
    return np.array(image, order="C")


def read_only(array: npt.NDArray[T]) -> npt.NDArray[T]:
    """A view of an array that cannot be written to."""
    view = array.view()
    view.setflags(write=False)
    return view


def sample_scene() -> RgbImage:
    """The sample: scikit-image's CC0 photograph of a man with a camera, with a red hat painted on his head by us.

    Returns:
        (512, 512, 3) uint8 RGB, the same every time.
    """
    from skimage import data

    scale = 4  # painted large and made smaller, so that the edges are smooth
    photograph = Image.fromarray(data.camera()).convert("RGB")
    width, height = photograph.size
    hat = Image.new("RGBA", (width * scale, height * scale))
    pen = ImageDraw.Draw(hat)
    red, dark = (196, 24, 30, 255), (140, 12, 20, 255)

    def at(*points: float) -> list[float]:
        return [scale * value for value in points]

    pen.ellipse(at(148, 22, 278, 172), fill=red)
    pen.rectangle(at(140, 97, 290, 180), fill=(0, 0, 0, 0))
    pen.rectangle(at(148, 82, 278, 97), fill=dark)
    pen.ellipse(at(116, 86, 310, 114), fill=red)
    hat = hat.rotate(-8, Image.Resampling.BICUBIC, center=(scale * 214, scale * 104))  # he leans forward
    hat = hat.resize(photograph.size, Image.Resampling.LANCZOS)
    return np.array(Image.alpha_composite(photograph.convert("RGBA"), hat).convert("RGB"))
