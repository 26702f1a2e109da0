"""What error messages share."""

import pytest

from grounding.errors import GroundingError, check_at_least_one, did_you_mean


@pytest.mark.parametrize(
    ("name", "options", "advice"),
    [
        ("gama", {}, "did you mean 'gamma'?"),
        ("gama", {"prefix": "regions."}, "did you mean 'regions.gamma'?"),
        ("gamma1", {"most": 2}, "did you mean 'gamma' or 'gamma2'?"),
        ("xyzzy", {"prefix": "regions."}, "known: three"),
        ("", {}, "known: three"),
    ],
)
def test_advice_for_an_unknown_name(name, options, advice):
    given = did_you_mean(name, iter(["gamma", "gamma2", "turns"]), "known: three", **options)
    assert set(given.split()) == set(advice.split())


def test_numbers_from_1():
    check_at_least_one("top", 1)
    for value in (0, -5):
        with pytest.raises(GroundingError, match=f"top is {value}: expected at least 1"):
            check_at_least_one("top", value)
