"""Others' results become the documented predictions: the shapes that MDETR's and Hugging Face's code write."""

import json
import re

import numpy as np
import pytest

from grounding.datasets.flickr30k import EntityImage, EntityPhrase
from grounding.errors import GroundingError
from grounding.evaluation.predictions.convert import convert
from grounding.evaluation.predictions.reading import read_predictions
from grounding.evaluation.predictions.records import prediction_to_json
from helpers.paths import ROOT


def entity_image(name, width=640, height=480):
    """Three sentences: "A cat" and "the couch" with "two naps" (no box) between; "a cat", twice; no mark."""
    phrases = [
        EntityPhrase(0, 0, "A cat", 0, 5, "1", ("animals",)),
        EntityPhrase(0, 1, "two naps", 12, 20, "3", ("other",)),
        EntityPhrase(0, 2, "the couch", 24, 33, "2", ("other",)),
        EntityPhrase(1, 0, "a cat", 0, 5, "1", ("animals",)),
        EntityPhrase(1, 1, "a cat", 10, 15, "4", ("animals",)),
    ]
    boxes = {chain: np.array([[0.0, 0, 20, 20]]) for chain in "124"}
    captions = ("A cat takes two naps on the couch .", "a cat and a cat .", "Nothing .")
    return EntityImage(name, width, height, captions, tuple(phrases), boxes, frozenset(), frozenset())


IMAGES = [entity_image("39769"), entity_image("7")]
SPLITS = {"val": ["39769", "7"], "test": ["8"]}


@pytest.fixture
def run(tmp_path):
    def call(style, records, name="theirs.jsonl"):
        path = tmp_path / name
        lines = json.dumps(records) if name.endswith(".json") else "\n".join(map(json.dumps, records))
        path.write_text(lines)
        predictions, notes = convert(path, style, IMAGES, "val", SPLITS)
        written = {key: prediction_to_json(key, prediction) for key, prediction in predictions.items()}
        return written, [note.replace(str(path), "theirs") for note in notes]

    return call


def mdetr(image=39769, sentence=0, boxes=((), ()), **more):
    return {"image_id": image, "sentence_id": sentence, "boxes": boxes} | more


# MDETR


@pytest.mark.parametrize("name", ["theirs.json", "theirs.jsonl"])
def test_mdetr_boxes_go_to_the_phrases_with_a_box_in_order(name, run):
    cat, couch = [[1.234, 2, 3, 4], [5, 6, 7, 8]], [[9, 10, 11, 12]]
    found, notes = run("mdetr", [mdetr(boxes=[cat, couch]), mdetr("7", 1, [couch, []])], name)
    assert {key: one["boxes"] for key, one in found.items()} == {
        ("39769", 0, 0): [[1.23, 2, 3, 4], [5, 6, 7, 8]],
        ("39769", 0, 2): [[9, 10, 11, 12]],
        ("7", 1, 0): [[9, 10, 11, 12]],
        ("7", 1, 1): [],
    }
    assert "scores" not in found["39769", 0, 0]
    assert [found["7", 1, phrase]["status"] for phrase in (0, 1)] == ["localized", "no-proposals"]
    assert notes == ["4 of 8 phrases with a box are not in theirs"]


def test_mdetr_scores_are_optional_and_rank(run):
    boxes = [[[1, 2, 3, 4], [5, 6, 7, 8]], [[9, 9, 9, 9]]]
    found, _ = run("mdetr", [mdetr(boxes=boxes, scores=[[0.2, 0.7], [1]])])
    assert found["39769", 0, 0]["boxes"] == [[5, 6, 7, 8], [1, 2, 3, 4]]
    assert found["39769", 0, 0]["scores"] == [0.7, 0.2]


def test_mdetr_of_two_results_for_a_sentence_the_first_counts(run):
    records = [mdetr(boxes=[[[side, 0, 9, 9]], []]) for side in (1, 2)]
    found, notes = run("mdetr", [*records, mdetr("39769", 2, [[[0, 0, 1, 1]]]), mdetr("7", 2, [])])
    assert found["39769", 0, 0]["boxes"] == [[1, 0, 9, 9]]
    assert notes == [
        "1 results are for a sentence that had one before: ignored",
        "1 results are for a sentence without a phrase that has a box: ignored",
        "6 of 8 phrases with a box are not in theirs",
    ]


def test_what_is_converted_can_be_read(run, tmp_path):
    records = [mdetr(image, sentence, [[[1, 2, 3, 4]], []]) for image in ("39769", 7) for sentence in (0, 1)]
    found, notes = run("mdetr", records)
    assert notes == []
    path = tmp_path / "ours.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in found.values()))
    loaded = read_predictions(path, IMAGES, "val", SPLITS, False)
    assert (set(loaded.predictions), loaded.notes) == (set(found), ())


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({}, "'image_id' is missing; the keys are none"),
        ({"image_id": 7}, "'sentence_id' is missing; the keys are image_id"),
        ({"image_id": 7, "sentence_id": 1}, "'boxes' is missing"),
        (mdetr(sentence=3), "sentence_id is 3: image 39769 has 3, counted from 0"),
        (mdetr(sentence="0"), "sentence_id is '0': expected a whole number from 0"),
        (
            mdetr(boxes=[[], [], []]),
            "boxes is 3 lists, but image 39769, sentence 0 has 2 phrases with a box: "
            "expected a list for each of 'A cat', 'the couch'$",
        ),
        (mdetr(boxes={}), "boxes is {}, but image 39769"),
        (mdetr(scores=[[]]), "scores is 1 lists, but image 39769"),
        (mdetr(boxes=[[], [[3, 0, 1, 1]]]), r"item 1 \('the couch'\): boxes\[0\] is \[3, 0, 1, 1\]: expected finite"),
        (mdetr(boxes=[[1, 2, 3, 4], []]), r"item 0 \('A cat'\): boxes\[0\] is 1: expected four numbers"),
        (mdetr(scores=[[0.5], []]), r"item 0 \('A cat'\): scores is 1 numbers: expected 0 finite numbers"),
    ],
)
def test_mdetr_errors_name_the_line(record, message, run):
    with pytest.raises(GroundingError, match=rf"theirs.jsonl, line 2: {message}") as caught:
        run("mdetr", [mdetr("7"), record])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("theirs.json", "{}", r"theirs.json holds {}: expected a list of objects, or .jsonl with one a line"),
        ("theirs.json", "[{}, 3]", r"theirs.json, item 0: 'image_id' is missing"),
        ("theirs.json", "[3]", r"theirs.json, item 0: 3 is no object"),
        ("theirs.json", "[", r"theirs.json is not JSON"),
        ("theirs.jsonl", "[]", r"theirs.jsonl, line 1: \[\] is no object"),
        ("theirs.pt", "", r"results \S*theirs.pt end in '.pt': expected .json or .jsonl"),
        (
            "theirs.json",
            json.dumps([mdetr("8")]),
            r"1 of 1 results are .* 'val' \(first: 8, item 0\); they are in 'test'",
        ),
    ],
)
def test_files_that_are_refused(name, content, message, tmp_path):
    (tmp_path / name).write_text(content)
    with pytest.raises(GroundingError, match=message):
        convert(tmp_path / name, "mdetr", IMAGES, "val", SPLITS)
    with pytest.raises(GroundingError, match=r"gone.json cannot be read: No such file"):
        convert(tmp_path / "gone.json", "mdetr", IMAGES, "val", SPLITS)


# Hugging Face: two cats and a couch, as the pipeline's own documentation shows them

PIPELINE = [
    {"score": 0.287, "label": "cat", "box": {"xmin": 324, "ymin": 20, "xmax": 640, "ymax": 373}},
    {"score": 0.254, "label": "cat", "box": {"xmin": 1, "ymin": 55, "xmax": 315, "ymax": 472}},
    {"score": 0.121, "label": "couch", "box": {"xmin": 4, "ymin": 0, "xmax": 642, "ymax": 476}},
]
CATS, COUCH = [[324, 20, 640, 373], [1, 55, 315, 472]], [[4, 0, 642, 476]]


def columns(label_key, names=("a cat", "a cat", "the couch")):
    """The same as a post-processor's dictionary."""
    boxes = [list(found["box"].values()) for found in PIPELINE]
    return {"scores": [found["score"] for found in PIPELINE], label_key: list(names), "boxes": boxes}


def named(*names):
    return [found | {"label": name} for found, name in zip(PIPELINE, names, strict=True)]


@pytest.mark.parametrize(
    "results",
    [
        named("a cat", "a cat", "the couch"),
        columns("labels"),
        columns("text_labels"),
        columns("text_labels") | {"labels": [0, 0, 1]},
        columns("labels") | {"text_labels": None},
        named("a cat.", " A  Cat", "THE COUCH ."),
    ],
)
def test_huggingface_detections_go_to_the_phrases_with_their_label(results, run):
    found, notes = run("huggingface", [{"image": 39769, "results": results}])
    assert {key: one["boxes"] for key, one in found.items()} == {
        ("39769", 0, 0): CATS,
        ("39769", 0, 2): COUCH,
        ("39769", 1, 0): CATS,
        ("39769", 1, 1): CATS,
    }
    assert found["39769", 0, 0]["scores"] == [0.287, 0.254]
    assert {one["status"] for one in found.values()} == {"localized"}
    assert notes == ["4 of 8 phrases with a box are not in theirs"]


def test_huggingface_labels_that_are_no_phrase_are_counted(run):
    found, notes = run("huggingface", [{"image": "39769", "results": PIPELINE}, {"image": "7", "results": []}])
    assert {(tuple(one["boxes"]), one["status"]) for one in found.values()} == {((), "no-proposals")}
    assert len(found) == 8
    assert notes == [
        "3 of 3 labels are no phrase of their image: 'cat' (2 times), 'couch' (1 time)",
        "8 of 8 phrases are no label of any box: left without boxes",
    ]


def test_huggingface_a_phrase_without_a_box_is_no_stranger(run):
    _, notes = run("huggingface", [{"image": "39769", "results": named("two naps", "Two naps.", "a cat")}])
    assert not any("no phrase of their image" in note for note in notes)


def test_huggingface_the_exact_text_comes_first(run):
    found, _ = run("huggingface", [{"image": "39769", "results": named("a cat", "A cat", "the couch")}])
    assert found["39769", 0, 0]["boxes"] == CATS[1:]
    assert found["39769", 1, 0]["boxes"] == found["39769", 1, 1]["boxes"] == CATS[:1]


def test_huggingface_a_sentence_gets_only_its_own_results(run):
    results = named("a cat", "a cat", "the couch")
    found, notes = run("huggingface", [{"image": "39769", "sentence": 1, "results": results}])
    assert {key: one["boxes"] for key, one in found.items()} == {("39769", 1, 0): CATS, ("39769", 1, 1): CATS}
    assert notes == [
        "1 of 3 labels are no phrase of their image: 'the couch' (1 time)",
        "6 of 8 phrases with a box are not in theirs",
    ]


def test_huggingface_lines_of_one_image_add_up_and_are_ranked_together(run):
    lines = [{"image": "39769", "results": [one]} for one in reversed(named("a cat", "a cat", "the couch"))]
    found, _ = run("huggingface", lines)
    assert found["39769", 0, 0]["boxes"] == CATS
    assert found["39769", 0, 0]["scores"] == [0.287, 0.254]


def test_huggingface_boxes_are_scaled_to_the_photograph(run):
    line = {"image": "39769", "width": 320, "height": 480, "results": named("a cat", "a cat", "the couch")}
    found, _ = run("huggingface", [line])
    assert found["39769", 0, 0]["boxes"] == [[648, 20, 1280, 373], [2, 55, 630, 472]]
    relative = {"scores": [1], "text_labels": ["a cat"], "boxes": [[0.25, 0.5, 0.75, 1]]}
    found, _ = run("huggingface", [{"image": "39769", "width": 1, "height": 1, "results": relative}])
    assert found["39769", 1, 1]["boxes"] == [[160, 240, 480, 480]]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "'results' is missing; the keys are image"),
        ({"results": "none"}, "results is 'none': expected a list of detections, or scores, boxes and labels"),
        ({"results": {"scores": []}}, "'boxes' is missing; the keys are scores"),
        ({"results": [columns("labels")]}, "results is .*: expected each to have score, label and box"),
        ({"results": [{"score": 1, "label": "a", "box": [1, 2, 3, 4]}]}, "results is .*: expected each to have score"),
        ({"results": [3]}, r"results is \[3\]: expected each to have score"),
        ({"results": columns("labels", [0, 0, 1])}, r"the labels are \[0, 0, 1\]: expected 3 texts, one a box"),
        ({"results": columns("labels", ["a cat"])}, r"the labels are \['a cat'\]: expected 3 texts, one a box"),
        ({"results": columns("names")}, "the labels are None: expected 3 texts, one a box, in text_labels or labels"),
        ({"results": columns("labels") | {"scores": [1]}}, "scores is 1 numbers: expected 3 finite numbers, one a box"),
        ({"results": columns("labels") | {"boxes": [[4, 3, 2, 1]]}}, r"boxes\[0\] is \[4, 3, 2, 1\]: expected finite"),
        ({"results": [], "sentence": 3}, "sentence is 3: image 7 has 3, counted from 0"),
        ({"results": [], "width": 10}, r"width and height is \[10, None\]: expected two numbers above 0, or neither"),
        ({"results": [], "width": 0, "height": 9}, r"width and height is \[0, 9\]: expected two numbers above 0"),
    ],
)
def test_huggingface_errors_name_the_line(values, message, run):
    with pytest.raises(GroundingError, match=rf"theirs.jsonl, line 2: {message}") as caught:
        run("huggingface", [{"image": "7", "results": []}, {"image": "7"} | values])
    assert "\n" not in str(caught.value)


def test_the_documented_examples_are_of_the_shapes_that_are_read(run):
    text = (ROOT / "docs" / "reference" / "predictions.md").read_text()
    _, mdetr_list, lines = re.findall(r"^```json\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    found, _ = run("mdetr", [one | {"image_id": 7} for one in json.loads(mdetr_list)])
    assert [len(one["boxes"]) for one in found.values()] == [2, 1]
    records = [json.loads(line) | {"image": "7", "sentence": 0} for line in lines.splitlines()]
    _, notes = run("huggingface", records)
    assert "2 of 2 labels are no phrase of their image: 'a red hat' (2 times)" in notes
