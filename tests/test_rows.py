"""Rows in, plain results out: what one row costs another."""

import contextlib
import json
import threading
from types import SimpleNamespace

import pytest
import torch

from grounding.datasets.places import Place
from grounding.errors import GroundingError
from grounding.results import to_json
from grounding.rows import Row, answers, ground_rows
from grounding.workers import one_thread
from helpers.captioned import BLUE, GREEN, RED, picture

KEYS = ["schema_version", "image", "caption", "classifier", "error", "phrases"]


def test_no_rows(localizer):
    assert ground_rows(localizer, []) == []


def test_each_row_has_its_result_or_its_reason(localizer, tmp_path):
    (tmp_path / "a.png").write_bytes(picture(RED, (1, 1)))
    (tmp_path / "cut.jpg").write_bytes(picture(GREEN, (64, 64), "JPEG")[:-400])
    (tmp_path / "b.bin").write_bytes(b"....." + picture(BLUE, (60, 20)) + b"....")
    inside = Place(str(tmp_path / "b.bin"), "b.png in b.bin", 5, len(picture(BLUE, (60, 20))))
    rows = [
        Row("a.png", Place(str(tmp_path / "a.png")), "a man in a red hat"),
        Row("a.png", Place(str(tmp_path / "a.png")), "a dog", ("a dog", "a cat")),
        Row("a.png", Place(str(tmp_path / "a.png")), "a dog", (" ",)),
        Row("gone.png", Place(str(tmp_path / "gone.png")), "a dog"),
        Row("lost", Place(str(tmp_path / "lost.tar"), "x.png in lost.tar", 0, 4), "a dog"),
        Row("cut.jpg", Place(str(tmp_path / "cut.jpg")), "a dog"),
        Row("b", inside, "a dog"),
        Row("c", picture(RED), "a dog"),
        Row("none", b"", "a dog"),
        Row("d", None, "", None, "row 9 is damaged"),
    ]
    results = ground_rows(localizer, rows, 2)
    said = [result.get("error", "") for result in results]
    assert [bool(error) for error in said] == [False, False, True, True, True, True, False, False, True, True]
    for at, error in ((2, "phrase ' ' is blank"), (3, "cannot be read: No such file"), (4, "x.png in lost.tar"),
                      (5, "damaged or cut short"), (8, "image none is empty"), (9, "row 9 is damaged")):  # fmt: skip
        assert error in said[at], at
        assert (list(results[at]), results[at]["phrases"], results[at]["image"]["width"]) == (KEYS, [], None)
    assert [[found["text"] for found in results[at]["phrases"]] for at in (0, 1)] == [
        ["a man", "a red hat"],
        ["a dog", "a cat"],
    ]
    assert [results[at]["image"] for at in (0, 6, 7)] == [
        {"path": path, "width": width, "height": height}
        for path, width, height in (("a.png", 1, 1), ("b", 60, 20), ("c", 4, 2))
    ]
    assert all(len(found["regions"]) <= 2 for result in results for found in result["phrases"])
    alone = [ground_rows(localizer, [row], 2)[0] for row in rows]
    assert list(map(to_json, alone)) == list(map(to_json, results))
    assert [json.loads(to_json(result)) for result in results] == results


def counting(fault=None):
    """A localizer that notes what it encodes and prepares together, and fails as told."""
    encoded = []

    def encode_batch(images, at_once):
        encoded.append([tuple(image[0, 0].tolist()) for image in images])
        if fault and RED in encoded[-1]:
            raise fault
        scene = SimpleNamespace(ground=lambda *asked: SimpleNamespace(to_dict=lambda path: {"asked": asked}))
        return [scene] * len(encoded[-1])

    name, prepared = SimpleNamespace(name="c"), lambda scenes, asked: encoded.append(asked)
    return SimpleNamespace(encode_batch=encode_batch, prepare_together=prepared, classifier=name), encoded


def test_rows_of_a_picture_that_follow_each_other_encode_it_once():
    localizer, encoded = counting()
    rows = [Row("", picture(colour), caption) for colour, caption in zip((RED, RED, GREEN, RED), "abcd", strict=True)]
    assert [result["asked"] for result in ground_rows(localizer, rows, 3)] == [(c, None, 3) for c in "abcd"]
    assert encoded == [[RED], [[("a", None), ("b", None)]], [GREEN], [RED]]  # one walk for both captions


@pytest.mark.parametrize(
    ("at_once", "together"),
    [
        (2, [[RED, GREEN], [BLUE], [RED]]),
        (3, [[RED, GREEN], [BLUE, RED]]),
        (9, [[RED, GREEN, BLUE, RED]]),
    ],
)
def test_pictures_together(at_once, together):
    localizer, encoded = counting()
    colours = (RED, RED, GREEN, BLUE, RED)
    rows = [Row("", picture(colour), caption) for colour, caption in zip(colours, "abcde", strict=True)]
    rows.insert(3, Row("x", None, "", None, "broken"))
    found = [result for result, _ in answers(localizer, rows, 3, at_once)]
    assert [result.get("error") or result["asked"][0] for result in found] == ["a", "b", "c", "broken", "d", "e"]
    assert encoded[::2] == together


@pytest.mark.parametrize("fault", [GroundingError("too dark"), MemoryError(), torch.OutOfMemoryError("CUDA")])
def test_a_picture_that_fails_costs_no_other(fault):
    localizer, _ = counting(fault)
    results = ground_rows(localizer, [Row(name, picture(c), "x") for name, c in (("r", RED), ("g", GREEN))])
    assert results[0]["error"] == (str(fault) if isinstance(fault, GroundingError) else
                                   "image r does not fit the memory: make it smaller first")  # fmt: skip
    assert results[1]["asked"] == ("x", None, 5)


@pytest.mark.parametrize("fault", [KeyboardInterrupt(), RuntimeError("a bug of ours")])
def test_what_is_no_fault_of_a_row_ends_the_run(fault):
    with pytest.raises(type(fault)):
        ground_rows(counting(fault)[0], [Row("r", picture(RED), "x")])


def test_results_come_as_soon_as_they_are_there():
    localizer, encoded = counting()
    found = answers(localizer, [Row("", picture(RED), "a"), Row("", picture(GREEN), "b")])
    assert encoded == []
    next(found)
    assert encoded == [[RED]]


def test_threads_are_as_before():
    seen = []

    def look():
        torch.set_num_threads(3)
        with contextlib.suppress(GroundingError), one_thread():
            seen.append(torch.get_num_threads())
            raise GroundingError("x")
        seen.append(torch.get_num_threads())

    before = torch.get_num_threads()
    thread = threading.Thread(target=look)  # not the one that other tests compute on
    thread.start()
    thread.join()
    torch.set_num_threads(before)
    assert seen == [1, 3]
