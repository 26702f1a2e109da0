"""Real pictures whose boxes the embedded classifier drafts, once for all tests."""

import csv

import pytest
from PIL import Image

from grounding.images import sample_scene

CAPTIONS = {
    "scene.png": "A man in a red hat",
    "astronaut.png": "A woman in a suit beside a flag",
    "cat.png": "A cat",
    "coffee.png": "A cup on a table",
}


@pytest.fixture(scope="session")
def drafted(tmp_path_factory):
    """An annotation folder of four pictures, drafted by the command line."""
    from skimage import data

    from grounding.annotate import main

    folder = tmp_path_factory.mktemp("drafted")
    images = folder / "pictures"
    images.mkdir()
    arrays = sample_scene(), data.astronaut(), data.chelsea(), data.coffee()
    for name, array in zip(CAPTIONS, arrays, strict=True):
        Image.fromarray(array).save(images / name)
    with (folder / "captions.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("image", "caption"), *CAPTIONS.items()])
    output = folder / "annotation"
    given = ["--images", images, "--captions", folder / "captions.csv", "--output", output, "--headless"]
    assert main([str(each) for each in given]) == 0
    return output


@pytest.fixture
def opened(drafted, tmp_path, open_page):
    """The page at the picture of the man with the hat, and the folder."""
    from helpers.annotation_page import annotating, drafts, go_to, ready

    with annotating(open_page, drafted, tmp_path) as visit:
        page = visit()
        ready(page)
        go_to(page, drafts(tmp_path)["scene.png"])
        yield page, tmp_path
