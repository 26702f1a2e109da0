"""Pictures come in here, whatever they are: (H, W, 3) uint8 RGB, upright.

Values wider than 8 bits, of a file, a Pillow image or an array alike:

| values | are taken as |
|---|---|
| whole numbers, none above 255 | 8 bits, as they are |
| whole numbers up to 65535 | 16 bits |
| fractions, none above 1 | shares of white |
| fractions up to 255, up to 65535 | 8 bits, 16 bits |
| true and false | white and black |

Fractions with a maximum between 1 and 2, or between 255 and 510, have run over a range and are refused, as are values
below 0, above 65535 and NaN.
"""

import io
import stat
import threading
import warnings
from pathlib import Path
from typing import Any, BinaryIO, Final, TypeVar

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImageDraw, ImageOps, UnidentifiedImageError

from grounding.errors import GroundingError

T = TypeVar("T", bound=np.generic)
RgbImage = npt.NDArray[np.uint8]  # (H, W, 3)
_FILTERS: Final = threading.Lock()  # those of warnings are the whole process's
_PIXELS: Final = 1 << 20  # of a Pillow image that are copied at a time
_MODES: Final = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}  # by the number of channels of an array
_MOST_BYTES: Final = 1 << 29  # of a file: as many as the most pixels that are read have


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
        GroundingError: the file is missing, empty, truncated, no picture, or suspiciously large; or its values are in
            no range of the table above.
    """
    name = name or (str(source) if isinstance(source, str | Path) else "standard input")
    content = _read(source, name)
    if not content:
        raise GroundingError(f"image {name} is empty: expected a picture file such as JPEG or PNG")
    try:
        with _FILTERS, warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            opened = open_picture(io.BytesIO(content))
        with opened as image:
            return upright_rgb(image)
    except UnidentifiedImageError as error:
        raise GroundingError(
            f"image {name} is no picture that Pillow can read: expected JPEG, PNG or the like"
        ) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        limit = (Image.MAX_IMAGE_PIXELS or 0) // 1_000_000
        raise GroundingError(f"image {name} has over {limit} million pixels: make it smaller first") from error
    except GroundingError as error:
        raise GroundingError(f"image {name}: {error}") from error
    except Exception as error:  # over damaged files Pillow raises nearly anything, down to AssertionError
        raise GroundingError(
            f"image {name} is damaged or cut short ({error}): expected a whole picture file"
        ) from error


def _read(source: str | Path | BinaryIO, name: str) -> bytes:
    if not isinstance(source, str | Path):
        return _content(source, name)
    if not str(source):
        raise GroundingError("no file name was given for the image: expected a picture file")
    try:
        path = Path(source).expanduser()
        kind = path.stat().st_mode
        if stat.S_ISDIR(kind):
            raise GroundingError(
                f"image {name} is a folder: expected a picture file (many pictures: --manifest with a row for each)"
            )
        if not stat.S_ISREG(kind):  # reading a pipe might wait for ever, and a device never end
            raise GroundingError(f"image {name} is a pipe or a device: expected a picture file (of a pipe: --image -)")
        with path.open("rb") as file:
            return _content(file, name)
    except (OSError, RuntimeError) as error:  # RuntimeError: no such user as in ~user
        reason = error.strerror if isinstance(error, OSError) else error
        raise GroundingError(f"image {name} cannot be read: {reason}") from error
    except GroundingError:
        raise
    except ValueError as error:  # a NUL in its name
        raise GroundingError(f"image {name!r} cannot be read: {error}") from error


def _content(file: BinaryIO, name: str) -> bytes:
    content = file.read(_MOST_BYTES + 1)
    if len(content) > _MOST_BYTES:
        raise GroundingError(f"image {name} has over {_MOST_BYTES >> 20} MiB: is it a picture?")
    return content


def open_picture(file: str | Path | BinaryIO) -> Image.Image:
    """Open a picture file as Pillow does, without decoding it yet.

    Raises:
        GroundingError: it is Encapsulated PostScript, a program, for which Pillow would run Ghostscript.
        Exception: nearly any, as Pillow's over damaged files.
    """
    image = Image.open(file)
    if image.format == "EPS":
        image.close()
        raise GroundingError("it is PostScript, which is never run: expected JPEG, PNG or the like")
    return image


def check_image(image: object) -> RgbImage:
    """Return a picture as (H, W, 3) uint8, upright, a copy of its own.

    Args:
        image: an array (H, W), (H, W, 1), (H, W, 2) grey with alpha, (H, W, 3) RGB or (H, W, 4) RGBA, of booleans,
            whole numbers or fractions as the table above says; a Pillow image of any mode, which is turned as its EXIF
            orientation says; or the path of a picture file.

    Raises:
        GroundingError: another type, shape or range of values, or no pixel at all; and what `read_image` raises.
    """
    if isinstance(image, str | Path):
        return read_image(image)
    if isinstance(image, Image.Image):
        try:
            return upright_rgb(image)
        except GroundingError:
            raise
        except Exception as error:  # a file that is read only now
            raise GroundingError(f"the image is damaged or cut short ({error}): expected a whole picture") from error
    if not isinstance(image, np.ndarray) or image.dtype.kind not in "buif":
        given = f"{image.dtype} array" if isinstance(image, np.ndarray) else type(image).__name__
        advice = "; of a tensor (3, H, W), tensor.permute(1, 2, 0).numpy()" if given == "Tensor" else ""
        raise GroundingError(
            f"the image is a {given}: expected a path, a Pillow image or an (H, W, 3) array of numbers{advice}"
        )
    return _from_array(image)


def upright_rgb(image: Image.Image) -> RgbImage:
    """A Pillow image of any mode as (H, W, 3) uint8: turned upright, transparency over white, RGB."""
    if image.getexif().get(ExifTags.Base.Orientation, 1) != 1:
        image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I") or image.mode == "F" or 0 in image.size:
        return _from_array(np.asarray(image))
    width, height = image.size
    pixels, rows = np.empty((height, width, 3), np.uint8), max(1, _PIXELS // width)
    for top in range(0, height, rows):  # so that a large picture is there no more than twice
        pixels[top : top + rows] = np.asarray(_as_rgb(image.crop((0, top, width, min(top + rows, height)))))
    return pixels


def _as_rgb(image: Image.Image) -> Image.Image:
    """A Pillow image of 8 bits: transparency over white, RGB."""
    if image.mode == "La":  # Pillow knows no shorter way
        image = image.convert("LA")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image if image.mode == "RGB" else image.convert("RGB")


def _from_array(array: npt.NDArray[Any]) -> RgbImage:
    """An array of any shape and range that `check_image` knows."""
    channels = array.shape[2] if array.ndim == 3 else 1
    if array.ndim not in (2, 3) or channels not in _MODES or array.size == 0:
        advice = ""
        if array.ndim == 3 and array.shape[0] in _MODES and array.size:
            advice = ": channels come last, array.transpose(1, 2, 0)"
        elif array.ndim == 4:
            advice = ": one picture at a time, array[0]"
        raise GroundingError(f"the image has shape {array.shape}: expected (H, W, 3) with at least one pixel{advice}")
    pixels = _eight_bits(array)
    if channels in (2, 4):
        return upright_rgb(Image.fromarray(np.ascontiguousarray(pixels), _MODES[channels]))
    if channels == 1:
        pixels = np.repeat(pixels.reshape(*pixels.shape[:2], 1), 3, axis=2)
    return np.array(pixels, order="C")


def _eight_bits(values: npt.NDArray[Any]) -> RgbImage:
    """The values on the scale from 0 to 255, by the table above."""
    if values.dtype == np.uint8:
        return values
    if values.dtype.kind == "b":
        return values.astype(np.uint8) * np.uint8(255)
    low, high = float(values.min()), float(values.max())  # NaN where there is one
    fractions = values.dtype.kind == "f"
    whites = (1, 255, 65535) if fractions else (255, 65535)
    white = next((white for white in whites if low >= 0 and high <= white), None)
    below = whites[whites.index(white) - 1] if white in whites[1:] else 0
    if white is None or (fractions and high < 2 * below):
        raise GroundingError(
            f"the values of the image go from {low:g} to {high:g}: expected 0 to {' or 0 to '.join(map(str, whites))}; "
            "clip or scale them"
        )
    return (values * (255 / white)).round().astype(np.uint8)


def read_only(array: npt.NDArray[T]) -> npt.NDArray[T]:
    """Return a view of an array that cannot be written to."""
    view = array.view()
    view.setflags(write=False)
    return view


def sample_scene() -> RgbImage:
    """Paint the sample: scikit-image's CC0 photograph of a man with a camera, with a red hat painted on his head by us.

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
