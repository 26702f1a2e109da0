import base64
import io
import itertools
import json
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image
from starlette.applications import Starlette
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

import grounding
from grounding.errors import GroundingError
from grounding.images import sample_scene
from grounding.integrations.detector import UnknownLabelWarning, check_labels, unknown_labels, warn_of_unknown
from grounding.integrations.fetching import data_bytes, fetch
from grounding.integrations.zero_shot import ZeroShotObjectDetector
from helpers.browser import serving
from helpers.errors import facts
from helpers.owlvit import zero_shot_pipeline

MAN = {"image": Image.fromarray(sample_scene()), "candidate_labels": ["man", "hat"]}


@pytest.fixture(scope="module")
def theirs():
    return zero_shot_pipeline()


@pytest.fixture(scope="module")
def ours(localizer):
    return ZeroShotObjectDetector(localizer)


class Pictures:
    """A data set as torch knows them: a length and items."""

    def __len__(self):
        return 2

    def __getitem__(self, number):
        return MAN


def form(value):
    """The types all the way down; of a list, of any item it has, and of an outer list how many."""
    if isinstance(value, Iterator) or type(value).__name__ == "PipelineIterator":
        return "iterator", [form(each) for each in value]
    if isinstance(value, list) and value and isinstance(value[0], list):
        return "list", [form(each) for each in value]
    if isinstance(value, list):
        return "list", *{json.dumps(form(each)) for each in value}
    if isinstance(value, dict):
        return {key: form(each) for key, each in value.items()}
    return type(value).__name__


IMAGE = MAN["image"]
CALLS = {
    "no image": lambda call: call([], ["man"]),
    "one": lambda call: call(IMAGE, candidate_labels=["man", "hat"]),
    "by position": lambda call: call(IMAGE, ["man"]),
    "a text": lambda call: call(IMAGE, "man,hat"),
    "former name": lambda call: call(IMAGE, text_queries=["man"]),
    "dict": lambda call: call(MAN),
    "list": lambda call: call([IMAGE, IMAGE], ["man"]),
    "tuple": lambda call: call((IMAGE, IMAGE), "man"),
    "labels of each": lambda call: call([IMAGE, IMAGE], [["man"], ["man", "hat"]]),
    "dicts": lambda call: call([MAN, MAN]),
    "generator": lambda call: call(each for each in [MAN, MAN]),
    "nothing above": lambda call: call(IMAGE, ["man"], threshold=1.0),
    "all of them": lambda call: call(IMAGE, ["man", "hat"], threshold=0.0, top_k=0),
    "the best": lambda call: call(IMAGE, ["man", "hat"], threshold=0.0, top_k=1),
    "workers": lambda call: call(IMAGE, ["man"], num_workers=0, batch_size=1, timeout=3.0),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_values_have_the_form_of_transformers(theirs, ours, call):
    assert form(call(ours)) == form(call(theirs))


@pytest.mark.parametrize("call", [CALLS["one"], CALLS["all of them"]])
def test_both_are_sorted_by_score(theirs, ours, call):
    for detector in (theirs, ours):
        scores = [each["score"] for each in call(detector)]
        assert len(scores) > 2
        assert scores == sorted(scores, reverse=True)


def test_keys_come_in_the_same_order(theirs, ours):
    one, other = (CALLS["one"](detector)[0] for detector in (theirs, ours))
    assert list(one) == list(other)
    assert list(one["box"]) == list(other["box"])


def test_top_k_is_over_all_labels(theirs, ours):
    for detector in (theirs, ours):
        every = detector(IMAGE, ["man", "hat"], threshold=0.0)
        assert detector(IMAGE, ["man", "hat"], threshold=0.0, top_k=3) == every[:3]


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda call: call("nowhere.jpg", ["man"]), facts("nowhere.jpg")),
        (lambda call: call([IMAGE], [["man"], ["hat"]]), facts("1 image", "2 ")),
        (lambda call: call([IMAGE], None), facts("candidate_labels")),
        (lambda call: call([IMAGE], ["man", 1]), facts("candidate_labels")),
        (lambda call: call(IMAGE, [1]), facts("str|text")),
    ],
)
def test_both_refuse_with_a_value_error(theirs, ours, call, says):
    for detector in (theirs, ours):
        with pytest.raises(ValueError, match=says):
            call(detector)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda call: call(IMAGE), facts("no labels", "candidate_labels")),
        (lambda call: call(IMAGE, []), facts("empty")),
        (lambda call: call(IMAGE, "man, ,hat"), facts("blank")),
        (lambda call: call(IMAGE, ["man"], threshold="x"), facts("threshold", "'x'", "from 0 to 1")),
        (lambda call: call(IMAGE, ["man"], threshold=True), facts("threshold", "True")),
        (lambda call: call(IMAGE, ["man"], threshold=float("nan")), facts("threshold", "nan")),
        (lambda call: call(IMAGE, ["man"], top_k=-1), facts("top_k", "-1")),
        (lambda call: call(3, ["man"]), facts("int", "picture")),
        (lambda call: call([{"image": IMAGE}]), facts("image", "candidate_labels")),
        (lambda call: list(call(iter([3]))), facts("int", "candidate_labels")),
        (lambda call: call("data:text/plain,man", ["man"]), facts("data:image/png;base64")),
        (lambda call: call("data:image/png;base64,%%%", ["man"]), facts("base64")),
        (lambda call: call("http://[", ["man"]), facts("cannot be read")),
    ],
)
def test_other_mistakes_are_one_line(ours, call, says):
    with pytest.raises(GroundingError, match=says):
        call(ours)


def test_scores_and_boxes_are_those_of_the_localizer(localizer, ours):
    found = ours(IMAGE, ["hat"], threshold=0.0)
    regions = localizer(sample_scene(), phrases=["hat"]).phrases[0].regions
    assert [each["score"] for each in found] == [region.score for region in regions]
    assert [[*each["box"].values()] for each in found] == [[round(edge) for edge in region.box] for region in regions]
    assert {each["label"] for each in found} == {"hat"}


def test_labels_are_independent_and_stripped(ours):
    alone = ours(IMAGE, "hat", threshold=0.0)
    together = ours(IMAGE, " man , hat ", threshold=0.0)
    hats = [each for each in together if each["label"] == "hat"]
    assert [each["box"] for each in hats] == [each["box"] for each in alone]
    assert [each["score"] for each in hats] == pytest.approx([each["score"] for each in alone], rel=1e-4)
    assert {each["label"] for each in together} == {"man", "hat"}


def test_a_threshold_is_exceeded_not_met(ours):
    best = ours(IMAGE, ["hat"], threshold=0.0)[0]["score"]
    assert ours(IMAGE, ["hat"], threshold=best) == []


def test_nothing_is_drawn_for_a_word_of_which_nothing_is_known(ours, localizer):
    assert ours(IMAGE, ["xyzzy"], threshold=0.0) == []
    assert unknown_labels(localizer, ["hat", "xyzzy"]) == ["xyzzy"]
    with pytest.warns(UnknownLabelWarning, match="xyzzy"):
        warn_of_unknown(localizer, ["hat", "xyzzy"])


def test_settings_of_the_detector_count_where_a_call_gives_none(localizer):
    detector = ZeroShotObjectDetector(localizer, threshold=0.0, top_k=1)
    assert len(detector(IMAGE, ["man", "hat"])) == 1
    assert len(detector(IMAGE, ["man", "hat"], top_k=2)) == 2
    assert "threshold 0.0" in repr(detector)


def test_a_generator_is_read_as_it_goes(ours):
    taken = []
    endless = (taken.append(number) or MAN for number in itertools.count())
    results = ours(endless)
    assert taken == []
    assert next(results)
    assert len(taken) == 1


def test_a_data_set_with_items_is_read_too(ours):
    assert len(list(ours(Pictures()))) == 2


def png(image):
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def test_paths_arrays_and_addresses_are_pictures(ours, tmp_path):
    content = png(IMAGE)
    (tmp_path / "a.png").write_bytes(content)
    address = "data:image/png;base64," + base64.b64encode(content).decode()
    expected = ours(IMAGE, ["hat"])
    forms = [tmp_path / "a.png", str(tmp_path / "a.png"), np.asarray(IMAGE), address]
    assert ours(forms, ["hat"]) == [expected] * len(forms)
    assert data_bytes(address) == content


def test_pictures_of_the_web(ours):
    content = png(IMAGE)

    async def picture(_):
        return Response(content)

    async def moved(_):
        return RedirectResponse("/a.png")

    async def outside(_):
        return RedirectResponse("file:///etc/passwd")

    routes = [Route("/a.png", picture), Route("/moved", moved), Route("/file", outside)]
    with serving(Starlette(routes=routes)) as address:
        assert ours(f"{address}a.png", ["hat"], timeout=10) == ours(IMAGE, ["hat"])
        assert ours(f"{address}moved", ["hat"], timeout=10) == ours(IMAGE, ["hat"])
        for path, says in (("gone", "404"), ("file", "302|cannot be read|not allowed")):
            with pytest.raises(GroundingError, match=says):
                ours(address + path, ["hat"], timeout=10)
        with pytest.raises(GroundingError, match=facts("leads elsewhere")):
            fetch(f"{address}moved", timeout_s=10)
    with pytest.raises(GroundingError, match=facts("cannot be read")):
        ours(f"{address}a.png", ["hat"], timeout=1)


@pytest.mark.parametrize("address", ["file:///etc/passwd", "ftp://localhost/a", "gopher://localhost/", "nothing"])
def test_nothing_but_the_web_is_fetched(address):
    with pytest.raises(GroundingError, match=facts("http|unknown url type")):
        fetch(address, timeout_s=1)


@pytest.mark.parametrize(
    ("labels", "expected"),
    [("bird", ["bird"]), ("bird, car", ["bird", "car"]), (["a, b"], ["a, b"]), (("bird",), ["bird"])],
)
def test_labels(labels, expected):
    assert check_labels(labels) == expected


@pytest.mark.parametrize("labels", ["", ",", "bird,", [], [" "], [None], None, 3])
def test_labels_that_are_none(labels):
    with pytest.raises(GroundingError, match=facts("label|phrase")):
        check_labels(labels)


def test_it_is_one_line_from_the_package():
    detector = grounding.zero_shot_object_detector(threshold=0.2)
    assert isinstance(detector, ZeroShotObjectDetector)
    assert detector(IMAGE, candidate_labels=["hat"])[0]["label"] == "hat"
