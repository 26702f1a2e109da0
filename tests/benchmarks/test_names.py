"""Names of methods as people type them."""

import pytest

from grounding.benchmarks.names import DEFAULT, KNOWN, parse_methods
from grounding.errors import GroundingError
from helpers.errors import facts


@pytest.mark.parametrize(
    ("text", "names"),
    [
        (DEFAULT, KNOWN[:-1]),  # all but rise, which takes thousands of forward passes
        ("rise", ("rise",)),
        (" Grad_CAM , mwp", ("grad-cam", "mwp")),
        (
            "c-mwp,gradcam,guided_backprop,deconvnet,centre",
            ("contrastive-mwp", "grad-cam", "guided", "deconv", "center"),
        ),
        ("CONTRASTIVE_MWP", ("contrastive-mwp",)),
    ],
)
def test_spelling(text, names):
    assert parse_methods(text) == names


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", facts("unknown method ''", "expected some of contrastive-mwp, mwp")),
        ("mwp,", facts("unknown method ''")),
        ("mwp,grad-can", facts("unknown method 'grad-can'", "grad-cam")),
        ("mwp,cam,mwp", facts("'mwp' is there twice")),
        ("center,centre", facts("'center' is there twice")),
    ],
)
def test_mistakes(text, message):
    with pytest.raises(GroundingError, match=message):
        parse_methods(text)
