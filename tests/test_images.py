"""Every kind of picture file becomes (H, W, 3) uint8, upright; what is none is one clear error."""

import contextlib
import io

import numpy as np
import pytest
from PIL import Image

from grounding.errors import GroundingError
from grounding.images import check_image, read_image, sample_scene


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


def test_exif_orientation_is_applied():
    image = Image.new("RGB", (4, 2))
    image.putpixel((0, 0), (255, 255, 255))  # top left as stored
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned 90 degrees clockwise for display
    pixels = read_image(encoded(image, "PNG", exif=exif))
    assert pixels.shape == (4, 2, 3)
    assert pixels[0, 1].tolist() == [255, 255, 255]  # top right once upright


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
    with pytest.raises(GroundingError, match="directory"):
        read_image(tmp_path)


@pytest.mark.slow
def test_decompression_bomb():
    bomb = encoded(Image.new("1", (20_000, 20_000)))
    with pytest.raises(GroundingError, match="million pixels"):
        read_image(bomb)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((2, 2, 3)), "float64 array"),
        ("photo.jpg", "is a str"),
        (np.zeros((2, 2, 4), np.uint8), r"\(2, 2, 4\)"),
        (np.zeros((0, 2, 3), np.uint8), r"\(0, 2, 3\)"),
    ],
)
def test_what_is_no_picture_is_refused(image, message):
    with pytest.raises(GroundingError, match=message):
        check_image(image)


def test_grey_arrays_and_pillow_images_are_welcome():
    np.testing.assert_array_equal(check_image(GRADIENT), np.repeat(GRADIENT[:, :, None], 3, 2))
    np.testing.assert_array_equal(check_image(Image.fromarray(GRADIENT)), np.repeat(GRADIENT[:, :, None], 3, 2))


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
