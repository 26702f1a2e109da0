"""Which columns are read, and the advice where they are not there."""

import pytest

from grounding.datasets.columns import TableOptions, find_columns, fits
from helpers.captioned import refused

MANY = [f"column{number}" for number in range(20)]


@pytest.mark.parametrize(
    ("names", "options", "found"),
    [
        (["image", "caption"], {}, {"image": 0, "caption": 1}),
        (["x", " Image\t", "CAPTION"], {}, {"image": 1, "caption": 2}),
        (["Image", "image", "caption"], {}, {"image": 1, "caption": 2}),
        (["image", "caption", "captions", "phrases"], {}, {"image": 0, "caption": 1, "captions": 2, "phrases": 3}),
        (["image", "captions"], {}, {"image": 0, "captions": 1}),
        (["image", "phrases"], {}, {"image": 0, "phrases": 1}),
        (["image", "caption", "phrases"], {"phrases_column": ""}, {"image": 0, "caption": 1}),
        (["image", "captions", "text"], {"caption_column": "text"}, {"image": 0, "caption": 2}),
        (["id", "image", "caption"], {}, {"image": 1, "id": 0, "caption": 2}),
        (["id", "image", "caption", "id"], {}, {"image": 1, "caption": 2}),  # which of the two, nobody knows
        (["id", "image", "caption"], {"id_column": ""}, {"image": 1, "caption": 2}),
        (["url", "TEXT", "", ""], {"image_column": "url", "caption_column": "text"}, {"image": 0, "caption": 1}),
    ],
)
def test_columns(names, options, found):
    assert find_columns("t", names, TableOptions(**options)) == found


@pytest.mark.parametrize(
    ("names", "options", "message"),
    [
        ([], {}, "t has no column 'image': it has none"),
        (
            ["img", "caption"],
            {},
            "t has no column 'image': did you mean 'img'? it has img, caption; name the right one",
        ),
        (["image", "id"], {}, "t has no column 'caption': it has image, id"),
        (["image", "captoin", "capt"], {}, "no column 'caption': did you mean 'captoin' or 'capt'?"),
        (["image"], {}, "t has no column 'caption': it has image"),
        (["image", "phrases"], {"phrases_column": ""}, "no column 'caption'"),
        (["image", "phrases"], {"caption_column": "text"}, "no column 'text'"),
        (["image", "caption"], {"phrases_column": "parts"}, "no column 'parts'"),
        (["image", "caption"], {"image_column": "file"}, "no column 'file'"),
        (["image", "caption", "caption"], {}, "t has 2 columns 'caption'"),
        (["image", "CAPTION", "Caption"], {}, "t has 2 columns 'caption'"),
        (["image", "captions", "captions"], {}, "t has 2 columns 'captions'"),
        (MANY, {}, "column10, column11 and 8 more; name"),
        (["x" * 500], {}, f"it has {'x' * 39}…;"),
    ],
)
def test_columns_that_are_missing(names, options, message):
    assert message in refused(find_columns, "t", names, TableOptions(**options))


@pytest.mark.parametrize(
    ("names", "found"),
    [
        ([], False),
        (["image"], False),
        (["image", "id"], False),
        (["id", "caption"], False),
        ([" IMAGE", "phrases"], True),
    ],
)
def test_names_of_a_table(names, found):
    assert fits(names, TableOptions()) == found
