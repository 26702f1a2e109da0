"""Which tags stand for a class, and the top-down signal that they make."""

import json

import pytest
import torch
from torch import nn

from grounding.benchmarks.signals import ClassSignal, class_signals, read_given, stack
from grounding.errors import GroundingError
from grounding.tagging.classifier import Preprocessing, TagClassifier
from helpers.errors import facts


def classifier(*tags, multi_label=True):
    return TagClassifier(nn.Identity(), tags, Preprocessing(8), "theirs", multi_label)


def only(name, tags, multi_label=True, given=None):
    """The signal of a class that is not alone in its data set."""
    others = [tags[0]] if tags[0] != name else []
    return class_signals([name, *others], classifier(*tags, multi_label=multi_label), given)[name]


@pytest.mark.parametrize(
    ("name", "tags", "multi_label", "weights", "reason"),
    [
        ("Potted_Plant", ["car", "potted-plant"], True, {"potted-plant": 1}, "tag"),
        ("dog", ["dog", "Dog"], True, {"dog": 1}, "tag"),  # of equals the first
        ("dog", ["beagle", "dog"], False, {"dog": 1}, "tag"),  # before kinds
        # A beagle and a collie are dogs; a siamese cat and a car are none.
        ("dog", ["car", "beagle", "collie", "siamese cat"], False, {"beagle": 0.5, "collie": 0.5}, "kinds"),
        ("plant", ["factory", "rose", "tree"], False, {"rose": 0.5, "tree": 0.5}, "kinds"),  # its usual meaning
        # Tags that do not exclude each other: what the word itself is called, and it has no tag below it.
        ("sofa", ["car", "couch"], True, {"couch": 1}, "sofa -> couch (synonym)"),
        ("bear", ["car", "animal"], True, {"animal": 1}, "bear -> animal (kind)"),
        ("dogs", ["car", "dog"], True, {"dog": 1}, "dogs -> dog (stem)"),
        ("red car", ["car", "red"], True, {"red": 0.5, "car": 0.5}, "red -> red (exact), car -> car (exact)"),
        ("qwrtz", ["car", "dog"], True, {}, "qwrtz (out-of-vocabulary)"),
    ],
)
def test_ways_from_a_class_to_tags(name, tags, multi_label, weights, reason):
    signal = only(name, tags, multi_label)
    assert (dict(signal.weights), signal.reason) == (weights, reason)


def test_a_neighbour_does_not_count():
    """'surfing' is near to 'surfboard' in meaning: a phrase takes it, a class does not."""
    from grounding.text.vocabulary import Vocabulary

    tags = ["car", "surfboard"]
    assert Vocabulary(tags).lookup("surfing").reason == "neighbour"
    signal = only("surfing", tags)
    assert (signal.weights, signal.reason) == ({}, "surfing -> surfboard (neighbour)")
    half = only("surfing car", tags)
    assert half.weights == {"car": 1}


def test_given_comes_before_all_else_and_shares_equally():
    tags = ["dog", "cat", "car"]
    assert only("dog", tags, given={"dog": ["cat", "car"]}) == ClassSignal("dog", {"cat": 0.5, "car": 0.5}, "given")
    assert only("dog", tags, given={"dog": ["cat", "cat"]}).weights == {"cat": 1}
    assert only("cat", tags, given={"cat": []}).weights == {}  # left out on purpose
    assert only("dog", tags, given={"dog": ["cat"]}).reason == "given"


def test_wordnet_ids_are_the_tags_in_order():
    ids = [f"n{number:08}" for number in range(1000)]
    tags = [f"tag {number}" for number in range(1000)]
    signals = class_signals(ids, classifier(*tags, multi_label=False))
    assert signals["n00000517"].weights == {"tag 517": 1}
    assert {signal.reason for signal in signals.values()} == {"order"}
    with pytest.raises(GroundingError, match="no tag of theirs stands for any of 999 classes"):
        class_signals(ids[:-1], classifier(*tags, multi_label=False))  # other classes than the tags


@pytest.mark.parametrize(
    ("classes", "places"),
    [
        (["0", "1", "10", *"23456789"], [0, 1, 10, *range(2, 10)]),  # however they are sorted
        ([str(number) for number in range(1, 12)], None),  # not from 0
        ([*"0123456789", "x"], None),
        ([*"0123456789", "9"], None),
    ],
    ids=["by name", "from 1", "a word", "twice"],
)
def test_numbers_are_the_tags_in_order(classes, places):
    theirs = classifier(*(f"tag {letter}" for letter in "abcdefghijk"))
    if places is None:
        with pytest.raises(GroundingError, match="no tag of theirs"):
            class_signals(classes, theirs)
    else:
        signals = [class_signals(classes, theirs)[name] for name in classes]
        assert [signal.place for signal in signals] == places
        assert signals[2].weights == {"tag k": 1}


def test_two_tags_of_one_name_in_order_are_two_outputs():
    """ImageNet calls a dog and a jacket cardigan."""
    tags = ["cardigan", "car", "cardigan"]
    theirs = classifier(*tags, multi_label=False)
    signals = class_signals(["n00000001", "n00000002", "n00000003"], theirs)
    rows = stack(list(signals.values()), theirs, torch.full((3,), 1 / 3))
    assert torch.equal(rows, torch.eye(3))
    assert signals["n00000003"].outputs(theirs) == {2: 1.0}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"dgo": ["dog"]}, facts("no class 'dgo'", "dog")),
        ({"dog": ["catt"]}, facts("class 'dog'", "no tag 'catt'", "cat")),
        ({"dog": ["zzzzzz"]}, facts("no tag 'zzzzzz'", "config.json")),
    ],
)
def test_given_classes_and_tags_must_exist(given, message):
    with pytest.raises(GroundingError, match=message):
        class_signals(["dog", "cat"], classifier("dog", "cat"), given)


def test_no_class_with_a_tag_says_what_to_write():
    with pytest.raises(GroundingError) as error:
        class_signals(["qwrtz", "zrtwq"], classifier("dog"))
    assert "any of 2 classes, such as qwrtz, zrtwq" in str(error.value)
    advice = str(error.value).partition("--classes, ")[2]
    assert json.loads(advice) == {"qwrtz": ["dog"]}


def test_stack_of_independent_tags_is_the_weights():
    theirs = classifier("a", "b", "c")
    signals = [ClassSignal("x", {"c": 0.25, "a": 0.75}, ""), ClassSignal("y", {"b": 1.0}, "")]
    rows = stack(signals, theirs, torch.tensor([0.9, 0.1, 0.5]))
    assert rows.dtype == torch.float32
    assert rows.tolist() == [[0.75, 0, 0.25], [0, 1, 0]]
    assert stack([], theirs, torch.ones(3)).shape == (0, 3)


def test_stack_of_tags_that_exclude_each_other_asks_for_the_one_that_is_seen():
    theirs = classifier("a", "b", "c", multi_label=False)
    signals = [ClassSignal("x", {"a": 0.5, "b": 0.5}, ""), ClassSignal("y", {"c": 1.0}, "")]
    rows = stack(signals, theirs, torch.tensor([0.6, 0.2, 0.2]))
    torch.testing.assert_close(rows, torch.tensor([[0.75, 0.25, 0], [0, 0, 1.0]]))  # 0.6 and 0.2 of 0.8
    rows = stack(signals, theirs, torch.tensor([0.0, 0.0, 1.0]))  # none is seen: equal shares, not 0 / 0
    torch.testing.assert_close(rows, torch.tensor([[0.5, 0.5, 0], [0, 0, 1.0]]))


def test_read_given(tmp_path):
    path = tmp_path / "classes.json"
    path.write_text('{"tv monitor": ["television", "screen"], "sofa": "couch", "nothing": []}')
    assert read_given(path) == {"tv monitor": ["television", "screen"], "sofa": ["couch"], "nothing": []}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, facts("cannot be read", "expected JSON such as")),
        ("{", facts("is not JSON", "expected JSON such as")),
        ("[]", "holds a list"),
        ("null", "holds a NoneType"),
        ('{"dog": 3}', facts("'dog' has 3")),
        ('{"dog": ["a", 3]}', facts(r"'dog' has \[\"a\", 3\]")),
        ('{"dog": null}', facts("'dog' has null")),
        (b"\xff\xfe\x00", "is not JSON"),
    ],
)
def test_a_file_of_classes_that_cannot_be_used(tmp_path, text, message):
    path = tmp_path / "classes.json"
    if text is not None:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(GroundingError, match=message) as error:
        read_given(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)
