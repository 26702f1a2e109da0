"""With CVAT's SDK itself: its check of the specification, and its check of what a function returns."""

import logging
from types import SimpleNamespace

import cvat_sdk.auto_annotation as cvataa
import numpy as np
import pytest
from cvat_sdk.auto_annotation.driver import _AnnotationMapper as Mapper
from PIL import Image

from grounding.errors import GroundingError
from grounding.images import sample_scene
from grounding.integrations import cvat
from grounding.integrations.detector import UnknownLabelWarning
from helpers.errors import facts

IMAGE = Image.fromarray(sample_scene()[:, :384])


class Context(cvataa.DetectionFunctionContext):
    frame_name = "a.jpg"
    conv_mask_to_poly = False

    def __init__(self, conf_threshold=None):
        self.threshold = conf_threshold

    @property
    def conf_threshold(self):
        return self.threshold


def label_of_a_task(name, number, kind="rectangle"):
    return SimpleNamespace(name=name, id=number, type=kind, attributes=[], sublabels=[])


def uploaded(function, found, labels):
    """What the SDK makes of the answer before it uploads it to a task with these labels."""
    logger, loose = logging.getLogger("cvat"), {"allow_unmatched_labels": True, "conv_mask_to_poly": False}
    return Mapper(logger, function.spec.labels, labels, **loose).validate_and_remap(found, 7)[1]


@pytest.fixture(scope="module")
def function():
    return cvat.create(labels="man, hat,dog,man")


def test_the_specification(function):
    assert isinstance(function.spec, cvataa.DetectionFunctionSpec)
    assert [(label.name, label.id, label.type) for label in function.spec.labels] == [
        ("man", 0, "rectangle"),
        ("hat", 1, "rectangle"),
        ("dog", 2, "rectangle"),
    ]


def test_rectangles_reach_a_task(function, localizer):
    found = function.detect(Context(), IMAGE)
    shapes = uploaded(function, found, [label_of_a_task("hat", 41), label_of_a_task("man", 42, "any")])
    expected = localizer(np.asarray(IMAGE), phrases=["man", "hat"])
    boxes = {42: expected["man"].best, 41: expected["hat"].best}
    assert {shape.label_id for shape in shapes} == {41, 42}  # no dog is there
    for shape in shapes:
        assert shape.points == pytest.approx(boxes[shape.label_id].box)
        assert shape.score == pytest.approx(boxes[shape.label_id].score)
        assert (shape.type.value, shape.frame, shape.source) == ("rectangle", 7, "auto")


def test_labels_that_a_task_lacks_are_dropped(function):
    assert uploaded(function, function.detect(Context(), IMAGE), [label_of_a_task("car", 41)]) == []
    assert uploaded(function, [], [label_of_a_task("man", 41)]) == []


def test_the_threshold_of_cvat_counts(function):
    scores = sorted(shape.score for shape in function.detect(Context(0.0), IMAGE))
    assert len(scores) == 3  # the dog too
    assert [shape.score for shape in function.detect(Context(scores[1]), IMAGE)] == scores[:0:-1]
    assert function.detect(Context(1.0), IMAGE) == []
    own = cvat.create("man,hat", threshold=0.9)
    assert own.detect(Context(), IMAGE) == []
    assert len(own.detect(Context(0.0), IMAGE)) == 2


def test_several_boxes():
    assert len(cvat.create("man", boxes=3).detect(Context(), IMAGE)) == 3


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"labels": ""}, facts("blank")),
        ({"labels": "man,,hat"}, facts("blank")),
        ({"labels": "man", "boxes": 0}, facts("boxes", "at least 1")),
        ({"labels": "man", "threshold": 2.0}, facts("threshold", "2.0")),
        ({"labels": "man", "classifier": "nowhere"}, facts("nowhere")),
        ({"labels": "man", "device": "abacus"}, facts("abacus")),
    ],
)
def test_settings_that_are_none(settings, says):
    with pytest.raises(GroundingError, match=says):
        cvat.create(**settings)


def test_an_unknown_label_is_said():
    with pytest.warns(UnknownLabelWarning, match="xyzzy"):
        function = cvat.create("xyzzy,<b>hat</b>")
    assert [label.name for label in function.spec.labels] == ["xyzzy", "<b>hat</b>"]


def test_the_command_line_of_cvat_finds_it():
    parsers = pytest.importorskip(
        "cvat_cli._internal.parsers", reason="cvat-cli is not installed: scripts/check_integrations.py tests it"
    )
    from cvat_cli._internal.common import FunctionLoader

    given = dict(
        [parsers.parse_function_parameter("labels=str:man,hat"), parsers.parse_function_parameter("boxes=int:2")]
    )
    loaded = FunctionLoader(
        function_module="grounding.integrations.cvat", function_file=None, function_parameters=given
    )
    function = loaded.load()
    assert len(function.detect(Context(), IMAGE)) == 4
