"""Every kind of picture file becomes (H, W, 3) uint8, upright; what is none is one clear error."""

import contextlib
import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from grounding.datasets.webimages import CaptionedImages
from grounding.errors import GroundingError
from grounding.images import check_image, read_image, sample_scene
from helpers.errors import facts


def encoded(image, kind="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    buffer.seek(0)
    return buffer


GRADIENT = np.linspace(0, 255, 12).round().astype(np.uint8).reshape(3, 4)


@pytest.mark.parametrize(
    ("image", "kind", "expected"),
    [
        (Image.fromarray(GRADIENT), "PNG", GRADIENT),
        (Image.fromarray(GRADIENT.astype(np.uint16) * 257), "PNG", GRADIENT),
        (Image.fromarray(GRADIENT).convert("P"), "PNG", GRADIENT),
        (Image.fromarray(GRADIENT).convert("1"), "PNG", None),
        (Image.fromarray(GRADIENT).convert("CMYK"), "TIFF", GRADIENT),
        (Image.fromarray(GRADIENT.astype(np.float32) / 255), "TIFF", GRADIENT),
        (Image.fromarray(GRADIENT).convert("LA"), "PNG", GRADIENT),
    ],
    ids=["grey", "16-bit", "palette", "bilevel", "cmyk", "float", "grey-alpha"],
)
def test_modes(image, kind, expected):
    pixels = read_image(encoded(image, kind))
    assert pixels.shape == (3, 4, 3)
    assert pixels.dtype == np.uint8
    if expected is not None:
        assert np.abs(pixels.astype(int) - expected[:, :, None]).max() <= 1


def test_transparency_is_laid_over_white():
    pixels = np.zeros((1, 2, 4), np.uint8)
    pixels[0, 0] = [200, 10, 20, 255]
    np.testing.assert_array_equal(read_image(encoded(Image.fromarray(pixels)))[0], [[200, 10, 20], [255, 255, 255]])


@pytest.mark.parametrize("size", [(1, 1), (8000, 30)])
def test_extreme_shapes(size):
    assert read_image(encoded(Image.new("RGB", size))).shape == (size[1], size[0], 3)


def photograph_bytes():
    return encoded(Image.fromarray(sample_scene()), "JPEG").getvalue()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"hello", "no picture"),
        (b"<html></html>" * 100, "no picture"),
        (photograph_bytes()[:5000], "cut short"),
        (photograph_bytes()[:20], "no picture"),
    ],
)
def test_bad_files(content, message, tmp_path):
    path = tmp_path / "p.jpg"
    path.write_bytes(content)
    with pytest.raises(GroundingError, match=message) as caught:
        read_image(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(GroundingError, match="No such file"):
        read_image(tmp_path / "none.jpg")
    with pytest.raises(GroundingError, match="is a folder"):
        read_image(tmp_path)


@pytest.mark.slow
def test_decompression_bomb():
    bomb = encoded(Image.new("1", (20_000, 20_000)))
    with pytest.raises(GroundingError, match="million pixels"):
        read_image(bomb)


ORIENTED = [(1, (0, 0)), (2, (0, 3)), (3, (1, 3)), (4, (1, 0)), (5, (0, 0)), (6, (0, 1)), (7, (3, 1)), (8, (3, 0))]


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF"])
@pytest.mark.parametrize(("orientation", "place"), ORIENTED)
def test_a_picture_is_upright_through_every_door(orientation, place, kind, tmp_path):
    """`place` (row, column) is where the corner that is stored at the top left belongs."""
    stored = np.zeros((20, 40, 3), np.uint8)
    stored[:10, :10] = 255
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if kind == "WEBP" else {}
    path = tmp_path / f"p.{kind.lower()}"
    path.write_bytes(encoded(Image.fromarray(stored), kind, exif=exif, **options).getvalue())
    (tmp_path / "t.csv").write_text(f"image,caption\n{path},a corner\n")
    with Image.open(path) as lazy, Image.open(path) as loaded:
        loaded.load()
        converted = loaded.convert("L")
        doors = {
            "read_image": read_image(path),
            "a path": check_image(str(path)),
            "Image.open": check_image(lazy),
            "a loaded picture": check_image(loaded),
            "a converted picture": check_image(converted),
            "a picture turned already": check_image(ImageOps.exif_transpose(loaded)),
            "training": np.asarray(CaptionedImages([tmp_path / "t.csv"]).read(0)),
        }
    row, column = (10 * at + 5 for at in place)
    for door, pixels in doors.items():
        assert pixels.shape == ((40, 20, 3) if orientation > 4 else (20, 40, 3)), door
        assert pixels[row, column].min() > 240, door
        assert (pixels > 128).mean() == pytest.approx(0.125, abs=0.03), door


def test_looking_at_a_picture_does_not_turn_it():
    image = Image.new("RGB", (4, 2))
    image.getexif()[0x0112] = 6
    assert check_image(image).shape == (4, 2, 3)
    assert image.size == (4, 2)
    assert image.getexif()[0x0112] == 6


VALUES = [  # (dtype, value, the same in 8 bits)
    (np.uint8, 200, 200),
    (np.int8, 100, 100),
    (np.int16, 200, 200),
    (np.uint16, 200, 200),
    (np.uint16, 51400, 200),
    (">u2", 51400, 200),
    (np.int32, 200, 200),
    (np.int32, 255, 255),
    (np.int32, 256, 1),
    (np.int32, 51400, 200),
    (np.int64, 65535, 255),
    (np.uint64, 0, 0),
    (np.float32, 0.0, 0),
    (np.float32, 0.5, 128),
    (np.float16, 1.0, 255),
    (np.float32, 2.0, 2),
    (np.float32, 200.0, 200),
    (np.float64, 254.6, 255),
    (np.float64, 51400.0, 200),
    (bool, False, 0),
    (bool, True, 255),
]


@pytest.mark.parametrize(("dtype", "value", "expected"), VALUES)
@pytest.mark.parametrize("shape", [(3, 5), (3, 5, 1), (3, 5, 3)])
def test_values_of_arrays_are_taken_by_their_range(dtype, value, expected, shape):
    pixels = check_image(np.full(shape, value, dtype))
    assert pixels.dtype == np.uint8
    assert pixels.shape == (3, 5, 3)
    assert np.unique(pixels).tolist() == [expected]


@pytest.mark.parametrize(
    ("dtype", "value", "expected"), [row for row in VALUES if row[0] in (np.int32, np.float32, np.uint16)]
)
def test_values_of_files_and_pillow_images_as_well(dtype, value, expected):
    image = Image.fromarray(np.full((3, 5), value, dtype))
    for pixels in (check_image(image), read_image(encoded(image, "TIFF"))):
        assert np.unique(pixels).tolist() == [expected]


@pytest.mark.parametrize("values", [(-0.1, 0.5), (0, 1.4), (0, 255.4), (0, 70000.0), (0, np.nan), (-2.1, 2.6)])
def test_fractions_that_have_run_over_a_range_are_refused(values):
    array = np.array([values], np.float32)
    for given in (array, Image.fromarray(array)):
        with pytest.raises(GroundingError, match=facts("values", "0 to 1 or 0 to 255", "clip or scale")):
            check_image(given)
    with pytest.raises(GroundingError, match=r"^image p\.tif: .*values"):
        read_image(encoded(Image.fromarray(array), "TIFF"), "p.tif")


@pytest.mark.parametrize("values", [(-1, 5), (0, 65536)])
def test_whole_numbers_out_of_range_are_refused(values):
    with pytest.raises(GroundingError, match=facts(f"from {values[0]} to {values[1]}", "0 to 255 or 0 to 65535")):
        check_image(np.array([values], np.int32))


MODES = ["1", "L", "P", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV", "LAB", "LA", "PA", "La", "RGBa"]
MODES += ["I", "F", "I;16", "I;16B"]


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_of_pillow(mode):
    white = Image.new("RGB", (5, 3), "white")
    between = {"La": "LA", "RGBa": "RGBA", "PA": "P"}.get(mode, "RGB")
    if mode.startswith("I;16"):
        image = Image.new(mode, (5, 3), 65535)
    elif mode == "LAB":
        image = Image.new(mode, (5, 3), (255, 128, 128))
    else:
        image = white.convert(between).convert(mode)
    pixels = check_image(image)
    assert pixels.shape == (3, 5, 3)
    assert pixels.min() >= 250


@pytest.mark.parametrize(
    ("pixel", "expected"),
    [
        (np.uint8([100, 255]), [100] * 3),
        (np.uint8([100, 0]), [255] * 3),
        (np.uint8([10, 20, 30, 255]), [10, 20, 30]),
        (np.uint8([10, 20, 30, 0]), [255] * 3),
        (np.float32([0, 0.2, 1, 1]), [0, 51, 255]),
        (np.float32([0, 0.2, 1, 0]), [255] * 3),
    ],
)
def test_alpha_of_an_array_is_laid_over_white(pixel, expected):
    assert check_image(pixel.reshape(1, 1, -1))[0, 0].tolist() == expected


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((2, 2, 5), np.uint8), r"\(2, 2, 5\)"),
        (np.zeros((3, 20, 30), np.uint8), r"\(3, 20, 30\).*transpose\(1, 2, 0\)"),
        (np.zeros((1, 20, 30, 3), np.uint8), r"\(1, 20, 30, 3\).*one picture at a time"),
        (np.zeros(7, np.uint8), r"\(7,\)"),
        (np.zeros((0, 2, 3), np.uint8), r"\(0, 2, 3\)"),
        (Image.new("RGB", (0, 2)), r"\(2, 0, 3\)"),
        (Image.new("I", (2, 0)), r"\(0, 2\)"),
        (np.zeros((2, 2, 3), complex), "complex128 array"),
        (np.full((2, 2), "a"), "<U1 array"),
        (torch.zeros(3, 20, 30), r"a Tensor.*permute\(1, 2, 0\)"),
        ([[0, 1], [1, 0]], "a list"),
        (b"bytes", "a bytes"),
        (None, "a NoneType"),
        ("", "no file name"),
        ("photo.jpg", "photo.jpg cannot be read: No such file"),
        (Path(__file__), "no picture"),
        (Path(__file__).parent, "is a folder.*--manifest"),
    ],
)
def test_what_is_no_picture_is_refused(image, message):
    with pytest.raises(GroundingError, match=message) as caught:
        check_image(image)
    assert "\n" not in str(caught.value)


def test_a_picture_that_is_cut_short_and_read_only_now():
    image = Image.open(io.BytesIO(photograph_bytes()[:5000]))
    with pytest.raises(GroundingError, match="damaged or cut short"):
        check_image(image)


def test_sample_scene_has_a_red_hat_on_a_grey_photograph():
    scene = sample_scene().astype(int)
    red = (scene[:, :, 0] - scene[:, :, 1]) > 80
    rows, columns = np.nonzero(red)
    assert scene.shape == (512, 512, 3)
    assert 110 <= columns.min() < columns.max() <= 315
    assert 20 <= rows.min() < rows.max() <= 125
    assert red.sum() > 5000


def test_the_picture_is_a_copy_of_any_layout():
    given = np.arange(60, dtype=np.uint8).reshape(4, 5, 3)
    for view in (given[:, :, ::-1], given[:, ::-1], np.asarray(Image.fromarray(given))):
        taken = check_image(view)
        np.testing.assert_array_equal(taken, view)
        assert taken.flags.writeable
        assert taken.flags.c_contiguous
        assert not np.shares_memory(taken, given)


def test_a_path_that_no_system_has():
    with pytest.raises(GroundingError, match="null"):
        read_image("a\0b.jpg")


def test_a_damaged_exif_header_is_one_clear_line():
    exif = Image.Exif()
    exif[274], exif[305] = 6, "software"
    whole = encoded(Image.new("RGB", (16, 12)), "JPEG", exif=exif).getvalue()
    refused = []
    for place in range(20, 60):
        damaged = io.BytesIO(whole[:place] + b"\x1f" + whole[place + 1 :])
        with contextlib.suppress(GroundingError):
            read_image(damaged)
            continue
        refused.append(place)
    assert refused
