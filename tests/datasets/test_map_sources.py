"""What is a map, and whether it fits its picture."""

import numpy as np
import pytest

from grounding.datasets.map_sources import check_map
from helpers.labelled import refused


@pytest.mark.parametrize(
    "values",
    [
        np.zeros((4, 8)),
        np.ones((4, 8), np.bool_),
        np.full((4, 8), 255, np.uint8),
        np.full((8, 16), 3, np.int64),
        np.full((4, 8), 0.5, np.float16),
        np.ones((5, 5)),  # the whole picture, squashed
        np.ones((100, 206)),  # 3% too wide
        np.ones((100, 194)),
    ],
    ids=["zeros", "true", "bytes", "large", "halves", "square", "wider", "narrower"],
)
def test_what_fits_is_given_as_it_is(values):
    found = check_map("m", values, 200, 100)
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found, values)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (np.zeros((0, 0)), "m has shape (0, 0) of float64: expected a map (h, w) of numbers"),
        (np.ones((4, 8, 1)), "m has shape (4, 8, 1)"),
        (np.ones((1, 4, 8)), "m has shape (1, 4, 8)"),
        (np.ones(8), "m has shape (8,)"),
        (np.ones((4, 8), np.complex64), "of complex64"),
        (np.full((4, 8), "x"), "of <U1"),
        (np.full((4, 8), np.nan), "m has NaN or infinite values: expected clicks or weights, 0 or more"),
        (np.where(np.eye(4, 8) > 0, np.inf, 1), "m has NaN or infinite values"),
        (-np.eye(4, 8), "m has values below 0"),
        (np.ones((8, 4)), "m is 4 x 8 px and its picture 200 x 100: expected sides in the same ratio, or a square"),
        (np.ones((100, 207)), "m is 207 x 100 px"),
        (np.ones((100, 193)), "m is 193 x 100 px"),
    ],
    ids=[
        "empty",
        "one more axis",
        "one first",
        "one axis",
        "complex",
        "texts",
        "nan",
        "inf",
        "negative",
        "on its side",
        "too wide",
        "too narrow",
    ],
)
def test_refused(values, said):
    assert said in refused(check_map, "m", values, 200, 100)
