"""Every number of every protocol, worked out by hand on the invented data set of `entities_fixture`."""

from math import nan

import numpy as np
import pandas as pd
import pytest

from grounding.boxes import enclosing
from grounding.datasets.flickr30k import TYPES, Flickr30kEntities, boxed_phrases
from grounding.evaluation.predictions.prediction import Prediction, phrase_index
from grounding.evaluation.protocols.measure import mean_map_point, measure, point_of
from grounding.evaluation.protocols.protocol import CURVE, HEADLINE, POINTING, recall
from grounding.evaluation.protocols.summary import resample, summarize, type_members
from helpers.entities import write_entities


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return list(Flickr30kEntities(write_entities(tmp_path_factory.mktemp("data") / "entities")).read("val"))


def says(boxes=(), point=None, cells=None, point_cells=None, proposal_iou=None):
    """A prediction from plain lists."""
    return Prediction(
        boxes=np.array(boxes, np.float64).reshape(-1, 4),
        point=point,
        map=None if cells is None else np.array(cells, np.float32),
        point_map=None if point_cells is None else np.array(point_cells, np.float32),
        proposal_iou=proposal_iou,
    )


def wrong(count, x0, y0, x1, y1):
    """Different boxes that share their upper left corner, none on a target."""
    return [(x0, y0, x1 + more / 10, y1) for more in range(count)]


def lit(rows, columns, **cells):
    """A map that is zero but for cells, as r0c2=5."""
    values = np.zeros((rows, columns))
    for name, value in cells.items():
        row, column = name[1:].split("c")
        values[int(row), int(column)] = value
    return values


# What is said of each of the 20 phrases with a box (chain and its boxes in the comment), and what it is worth.
# (image, sentence, phrase); a phrase's index counts the marked phrases without a box too.
SAID = {
    # 1001: 200 x 100. Chain 1: 0-40 x 0-50 and 60-100 x 0-50; enclosing 0-100 x 0-50. Cells: 100 x 50.
    ("1001", 0, 0): says([(0, 0, 40, 50)], cells=lit(2, 2, r0c0=1)),  # no point: the centre of the box, (20, 25)
    # Chain 4: 100-150 x 20-40. The second box covers the upper half: IoU 500 / 1000. On its upper left corner: inside.
    ("1001", 0, 1): says([(150, 20, 200, 40), (100, 20, 150, 30)], point=(100, 20)),
    # Chain 1 again. Between its two boxes, 10 px from each; 5000 px of which a box has 2000.
    ("1001", 1, 0): says([(0, 0, 100, 50)], point=(50, 25), cells=[[0, 6], [5, 5]]),
    # ("1001", 1, 2), chain 4 again: nothing is said.
    # 1002: 60 x 120. Chain 5: 10-30 x 20-60. A point on the right edge is not in 5 (but in 6, of equal words).
    ("1002", 0, 0): says([(10, 20, 30, 60)], point=(30, 30), cells=lit(4, 6, r1c2=1, r2c0=1)),
    # Chain 6: 30-50 x 20-60. Nothing found, but a proposal was good.
    ("1002", 0, 1): says(cells=np.zeros((4, 6)), proposal_iou=(0.7, 0.7)),
    # Chain 7: 0-60 x 60-78. The sixth box has 42 of 60 columns. A point on the lower edge is outside.
    ("1002", 1, 0): says([*wrong(5, 0, 0, 10, 10), (0, 60, 42, 78)], point=(30, 78), cells=[[5]]),
    # Chain 8: 20-40 x 80-118. The eleventh box. A point exactly 15 px above. Cells of the 3 x 2 map: 30 x 40.
    ("1002", 1, 1): says(
        [*wrong(10, 0, 0, 10, 10), (20, 80, 40, 118)], point=(30, 65), cells=lit(3, 2, r2c0=3, r2c1=1)
    ),
    # Chain 9: the same box. A point 14.9 px to the left. The lit cell of the 3 x 3 map: 20-40 x 80-120.
    ("1002", 1, 2): says([(20, 80, 40, 118)], point=(5.1, 100), cells=lit(3, 3, r2c1=2)),
    # 1003: 100 x 50. Chain 10: 0-10 x 0-10 and 70-100 x 30-50; enclosing: all. Cells of the 1 x 4 map: 25 x 50.
    ("1003", 0, 0): says([(70, 30, 100, 50)], point=(85, 40), cells=lit(1, 4, r0c0=1, r0c3=1)),
    # Chain 12: all. The upper half. A point on the right edge of the image.
    ("1003", 0, 2): says([(0, 0, 100, 25)], point=(100, 25), cells=np.zeros((1, 4))),
    # Chain 13: 40-50 x 10-20. The left 3 of 10 columns.
    ("1003", 1, 0): says([(40, 10, 43, 20)], point=(41, 12), cells=lit(5, 10, r1c4=1)),
    # 1004: 50 x 80. Chain 15: 0-20 x 0-40 and 10-30 x 20-60; enclosing 0-30 x 0-60. Its centre, (15, 30), is in both.
    ("1004", 0, 0): says([(0, 0, 30, 60)], cells=np.ones((4, 5))),
    # Chain 14: 10-40 x 10-50. The tenth box. A point on the lower edge. Cells of the 2 x 2 maps: 25 x 40.
    ("1004", 0, 1): says([*wrong(9, 0, 60, 5, 70), (10, 10, 40, 50)], point=(25, 50), cells=lit(2, 2, r0c0=1)),
    # Chain 14 again. A point but no box.
    ("1004", 1, 0): says(point=(25, 30), cells=lit(2, 2, r0c1=1)),
    # Chain 16: 0-5 x 60-70 and 10-20 x 60-70; enclosing 0-20 x 60-70: 5% of the image. The second box. Cells: 5 x 10.
    ("1004", 1, 1): says([(10, 60, 20, 70)], point=(4, 65), cells=lit(8, 10, r6c0=1)),
    # Chain 15 again. The second of its boxes; 5 px to the right of the first, inside the enclosing one. Cells: 10 x 20.
    ("1004", 2, 0): says([(10, 20, 30, 60)], (25, 10), lit(4, 5, r0c0=0.2, r3c4=0.3), proposal_iou=(1.0, 0.45)),
    # Chain 14 again. Its upper half. A point 9 px to the right and 12 px below: 15 px.
    ("1004", 2, 1): says([(10, 10, 40, 30)], point=(49, 62), cells=lit(2, 2, r1c1=3)),
    # 1005: 120 x 40. Chain 5: 0-30 x 0-10. A point 14.9 px to the right. The lit cells of the 4 x 4 maps: 30 x 10.
    ("1005", 1, 0): says(
        [(60, 0, 90, 10)], (44.9, 5), lit(4, 4, r0c0=1, r0c3=3), lit(4, 4, r0c0=2), proposal_iou=(0.5, 0.5)
    ),
    # Chain 18: 0-120 x 20-40. The fifth box. The lower row of the map.
    ("1005", 1, 1): says([*wrong(4, 0, 0, 10, 20), (0, 20, 120, 40)], point=(60, 30), cells=[[0] * 6, [1] * 6]),
}

# Each phrase's types; the best IoU with any box and with the enclosing one, of the first 1, 5, 10 and all; whether
# the point is in any box, in the enclosing one, near any box; the map's share in the boxes and in the enclosing one.
CART = (10 * 38) / (30 * 40)  # of both cells, 10 of 30 columns and 38 of 40 rows are inside
WORTH = [
    # types             any: 1  5    10   all  enclosing: 1  5  10   all      in in+ near  mass  mass+
    ("people",         (   1,    1,    1,    1), ( 0.4,  0.4,  0.4,  0.4),   1, 1, 1,    0.8,    1),
    ("clothing",       (   0,  0.5,  0.5,  0.5), (   0,  0.5,  0.5,  0.5),   1, 1, 1,      0,    0),
    ("people",         ( 0.4,  0.4,  0.4,  0.4), (   1,    1,    1,    1),   0, 1, 1,      0,    0),
    ("clothing",       (   0,    0,    0,    0), (   0,    0,    0,    0),   0, 0, 0,      0,    0),
    ("people",         (   1,    1,    1,    1), (   1,    1,    1,    1),   0, 0, 1,    0.5,  0.5),
    ("people",         (   0,    0,    0,  0.7), (   0,    0,    0,  0.7),   0, 0, 0,      0,    0),
    ("animals other",  (   0,    0,  0.7,  0.7), (   0,    0,  0.7,  0.7),   0, 0, 1,   0.15, 0.15),
    ("vehicles",       (   0,    0,    0,    1), (   0,    0,    0,    1),   0, 0, 0,   CART, CART),
    ("other",          (   1,    1,    1,    1), (   1,    1,    1,    1),   0, 0, 1,   0.95, 0.95),
    ("instruments",    (   1,    1,    1,    1), (0.12, 0.12, 0.12, 0.12),   1, 1, 1,   0.24,    1),
    ("scene",          ( 0.5,  0.5,  0.5,  0.5), ( 0.5,  0.5,  0.5,  0.5),   0, 0, 1,      0,    0),
    ("bodyparts",      ( 0.3,  0.3,  0.3,  0.3), ( 0.3,  0.3,  0.3,  0.3),   1, 1, 1,      1,    1),
    ("people",         ( 4/9,  4/9,  4/9,  4/9), (   1,    1,    1,    1),   1, 1, 1,   0.35, 0.45),
    ("clothing",       (   0,    0,    1,    1), (   0,    0,    1,    1),   0, 0, 1,   0.45, 0.45),
    ("other",          (   0,    0,    0,    0), (   0,    0,    0,    0),   1, 1, 1,   0.45, 0.45),
    ("bodyparts",      (   1,    1,    1,    1), ( 0.5,  0.5,  0.5,  0.5),   1, 1, 1,      1,    1),
    ("people",         (   1,    1,    1,    1), ( 4/9,  4/9,  4/9, 0.45),   0, 1, 1,    0.4,  0.4),
    ("clothing",       ( 0.5,  0.5,  0.5,  0.5), ( 0.5,  0.5,  0.5,  0.5),   0, 0, 0,   0.15, 0.15),
    ("vehicles",       (   0,    0,    0,  0.5), (   0,    0,    0,  0.5),   0, 0, 1,   0.25, 0.25),
    ("scene",          (   0,    1,    1,    1), (   0,    1,    1,    1),   1, 1, 1,      1,    1),
]  # fmt: skip
# 1003 chain 10: cell 0-25 has 10 x 10 of 25 x 50 inside (0.08), cell 75-100 has 25 x 20 (0.4): (0.08 + 0.4) / 2 = 0.24.
# 1004 chain 15: the boxes cover 800 + 800 - 10 x 20 = 1400 of 4000 px; chain 14: 15 x 30 of 25 x 40, and 15 x 10.

# The chain's point, at its first mention: 1 hit, 0 miss, nan not counted (a later mention; a first box of 5% or less).
CHAINS = [
    1,    # 1001 chain 1: 1/2 in cell (0, 0), 6/32 in (0, 1): (50, 25), between its boxes. Not normalised: (150, 25)
    nan,  # chain 4: 5%
    nan, nan,
    1,    # 1002 chain 5: two equal cells, (1, 2) comes first by row: (25, 45); by column, or the last: (5, 75)
    0,    # chain 6: the map is empty
    1,    # chain 7: (30, 60), on the upper edge
    0,    # chain 8: (15, 100)
    1,    # chain 9: (30, 100)
    nan,  # 1003 chain 10: first box 2%, though the enclosing one is all of the image
    0,    # chain 12: the map is empty
    nan,  # chain 13: 2%
    0,    # 1004 chain 15: 1/20 everywhere, and 2/5 and 3/5 in two cells: (3, 4), at (45, 70)
    1,    # chain 14: three cells of 1/3, (0, 0) is the first: (12.5, 20). Not normalised: (37.5, 60)
    nan,
    nan,  # chain 16: 1.25%
    nan, nan,
    1,    # 1005 chain 5: the point's map, (15, 5); the phrase map has its maximum at (105, 5)
    1,    # chain 18: six equal cells, (1, 0) is the first: (10, 30)
]  # fmt: skip

# Sums over the phrases, to be divided by their number (`SIZES`); "a/b" where a filter leaves b, None where none.
# Columns as in `ORDER`: all, people, clothing, bodyparts, animals, vehicles, instruments, scene, other.
# The phrase with two types is in two columns: the sums over types exceed "all" by what it is worth.
NUMBERS = {
    "pointing/phrase": "8 2 1 2 0 0 1 1 1",
    "pointing/phrase-merged": "10 4 1 2 0 0 1 1 1",
    "pointing/phrase-5%": "7/19 2 1 1/1 0 0 1 1 1",
    "pointing/chain-5%": "7/11 2/4 1/1 None 1/1 1/2 None 1/2 2/2",
    "pointing/phrase-15px": "16 5 2 2 1 1 1 2 3",
    "recall@1/any-box": "8 3 1 1 0 0 1 1 1",
    "recall@5/any-box": "10 3 2 1 0 0 1 2 1",
    "recall@10/any-box": "12 3 3 1 1 0 1 2 2",
    "upper-bound/any-box": "15 4 3 1 1 2 1 2 2",
    "recall@1/merged-box": "7 3 1 1 0 0 0 1 1",
    "recall@5/merged-box": "9 3 2 1 0 0 0 2 1",
    "recall@10/merged-box": "11 3 3 1 1 0 0 2 2",
    "upper-bound/merged-box": "14 4 3 1 1 2 0 2 2",
    "mean-iou/any-box": f"{7.7 + 4 / 9} {3.4 + 4 / 9} .5 1.3 0 0 1 .5 1",
    "mean-iou/merged-box": f"{6.32 + 4 / 9} {3.4 + 4 / 9} .5 .8 0 0 .12 .5 1",
    "attention-correctness/any-box": f"{7.69 + 19 / 60} 2.05 .6 2 .15 {0.25 + 19 / 60} .24 1 1.55",
    "attention-correctness/merged-box": f"{8.75 + 19 / 60} 2.35 .6 2 .15 {0.25 + 19 / 60} 1 1 1.55",
}
SIZES = (20, 6, 4, 2, 1, 2, 1, 2, 3)
ORDER = ("all", "people", "clothing", "bodyparts", "animals", "vehicles", "instruments", "scene", "other")

# How many of the 20 phrases are hit at IoU 0.1, 0.2, 0.3, 0.4, 0.6, 0.7, 0.8, 0.9. IoUs of 0.3, 0.4 and 0.7 occur.
CURVES = {
    "recall@1/any-box": (11, 11, 11, 10, 6, 6, 6, 6),
    "recall@5/any-box": (13, 13, 13, 12, 7, 7, 7, 7),
    "recall@10/any-box": (15, 15, 15, 14, 9, 9, 8, 8),
    "upper-bound/any-box": (18, 18, 18, 17, 11, 11, 9, 9),
    "recall@1/merged-box": (11, 10, 10, 9, 4, 4, 4, 4),
    "recall@5/merged-box": (13, 12, 12, 11, 5, 5, 5, 5),
    "recall@10/merged-box": (15, 14, 14, 13, 7, 7, 6, 6),
    "upper-bound/merged-box": (18, 17, 17, 16, 9, 9, 7, 7),
}


def by_hand(entry, size):
    """The (value in percent, count) of an entry of `NUMBERS`."""
    if entry == "None":
        return None, 0
    total, _, count = entry.partition("/")
    return 100 * float(total) / int(count or size), int(count or size)


@pytest.fixture(scope="module")
def columns(images):
    return measure(images, SAID)


@pytest.fixture(scope="module")
def summary(images, columns):
    return summarize(images, columns)


def test_the_phrases_counted_are_those_with_a_box(images):
    keys = list(phrase_index(images))
    said = list(SAID)
    assert keys == [*said[:3], ("1001", 1, 2), *said[3:]]
    assert [" ".join(phrase.types) for _, phrase in boxed_phrases(images)] == [row[0] for row in WORTH]
    assert {kind: int(member.sum()) for kind, member in type_members(images).items()} == dict(
        zip(ORDER[1:], SIZES[1:], strict=True)
    )


def test_what_is_measured_of_every_phrase(columns):
    rows = [(*of_any, *of_merged, *rest) for _, of_any, of_merged, *rest in WORTH]
    names = [f"best_iou_{k}_{target}" for target in ("any", "merged") for k in (1, 5, 10, "all")]
    names += ["point_on_any", "point_on_merged", "point_near_any", "mass_any", "mass_merged"]
    for name, expected in zip(names, zip(*rows, strict=True), strict=True):
        np.testing.assert_allclose(columns[name], expected, rtol=1e-6, err_msg=name)


def test_the_point_of_every_chain(columns):
    protocol = next(protocol for protocol in POINTING if protocol.name == "pointing/chain-5%")
    np.testing.assert_array_equal(protocol.values(columns), CHAINS)


@pytest.mark.parametrize("protocol", HEADLINE, ids=lambda protocol: protocol.name)
def test_headline_numbers_are_those_worked_out_by_hand(protocol, summary):
    result = summary[protocol.name]
    entries = NUMBERS[protocol.name].split()
    for name, entry, size in zip(ORDER, entries, SIZES, strict=True):
        value, count = by_hand(entry, size)
        found = result if name == "all" else result["types"][name]
        assert found["count"] == count, name
        if count:
            assert found["value"] == pytest.approx(value, rel=1e-6), name
            assert found["low"] <= found["value"] <= found["high"], name
        else:
            assert found == {"count": 0}, name


def test_curve_numbers_are_those_worked_out_by_hand(summary):
    assert set(summary) == {protocol.name for protocol in (*HEADLINE, *CURVE)}
    assert len(CURVE) == 64
    for name, hits in CURVES.items():
        for threshold, hit in zip(("0.1", "0.2", "0.3", "0.4", "0.6", "0.7", "0.8", "0.9"), hits, strict=True):
            assert summary[f"{name}/iou-{threshold}"]["value"] == pytest.approx(5 * hit), (name, threshold)
            assert summary[f"{name}/iou-{threshold}"]["count"] == 20


def perfect(images, target):
    """For every phrase its first box, or the enclosing one, the centre of its first pixel, and a map lit there."""
    said = {}
    for image, phrase in boxed_phrases(images):
        group = image.boxes[phrase.chain]
        x, y = group[0, :2].astype(int).tolist()
        cells = np.zeros((image.height, image.width))
        cells[y, x] = 2
        boxes = group if target == "any-box" else enclosing(group)
        said[image.id, phrase.sentence, phrase.index] = says(boxes, (x + 0.5, y + 0.5), cells)
    return said


@pytest.mark.parametrize("target", ["any-box", "merged-box"])
def test_perfect_predictions_score_100(images, target):
    other = {"any-box": "merged-box", "merged-box": "any-box"}[target]
    summary = summarize(images, measure(images, perfect(images, target)))
    for protocol in HEADLINE:
        if protocol.name.startswith(("recall", "upper", "mean")) and protocol.name.endswith(other):
            assert summary[protocol.name]["value"] < 100, "the two targets must differ in this data set"
            continue
        found = summary[protocol.name]
        numbers = [found, *(of_type for of_type in found["types"].values() if of_type["count"])]
        assert {round(entry[key], 9) for entry in numbers for key in ("value", "low", "high")} == {100.0}, protocol.name


@pytest.mark.parametrize("said", ["nothing found", "nothing said but once"])
def test_empty_predictions_score_0(images, said):
    empty = says(cells=np.zeros((2, 3)))
    keys = list(phrase_index(images))
    predictions = dict.fromkeys(keys if said == "nothing found" else keys[:1], empty)
    summary = summarize(images, measure(images, predictions))
    for name in (protocol.name for protocol in (*HEADLINE, *CURVE)):
        assert [summary[name][key] for key in ("value", "low", "high")] == [0.0, 0.0, 0.0], name
        assert summary[name]["count"] == {"pointing/phrase-5%": 19, "pointing/chain-5%": 11}.get(name, 20)


@pytest.mark.parametrize("said", [{}, dict.fromkeys(SAID, says([(0, 0, 10, 10)], point=(5, 5)))], ids=["none", "boxes"])
def test_without_any_map_the_protocols_of_maps_are_not_measured(images, said):
    summary = summarize(images, measure(images, said))
    for protocol in HEADLINE:
        entry = dict(summary[protocol.name])
        types = entry.pop("types")
        assert set(types) == set(TYPES)
        if protocol.name == "pointing/chain-5%" or protocol.name.startswith("attention-correctness"):
            assert entry == {"count": 0}
            assert all(of_type == {"count": 0} for of_type in types.values())
        else:
            assert entry["count"] in (19, 20)


def test_a_prediction_of_an_unmarked_or_boxless_phrase_changes_nothing(images, summary):
    extra = {key: says([(0, 0, 200, 100)], (10, 10), [[1]]) for key in [("1001", 0, 2), ("1001", 4, 0), ("9", 0, 0)]}
    assert summarize(images, measure(images, SAID | extra)) == summary


def test_one_prediction_for_all_phrases_is_measured_anew_for_each(images):
    """Equal objects, equal chain ids (5 in two images): what is remembered of one must not stand for another."""
    keys, answer = list(SAID), ([(0, 0, 40, 50)], (15, 30), [[1, 2], [3, 4]])
    shared, own = dict.fromkeys(keys, says(*answer)), {key: says(*answer) for key in keys}
    pd.testing.assert_frame_equal(measure(images, shared), measure(images, own), check_exact=True)


def test_images_may_be_measured_one_by_one_and_in_any_order(images, columns):
    backwards = measure(images[::-1], SAID)
    assert list(backwards.index) != list(columns.index)
    pd.testing.assert_frame_equal(backwards.loc[columns.index], columns, check_exact=True)


@pytest.mark.parametrize(
    ("prediction", "point"),
    [
        (says(), None),
        (says([(10, 0, 21, 5), (0, 0, 2, 2)]), (15.5, 2.5)),
        (says([(10, 0, 20, 5)], point=(3.0, 4.0)), (3.0, 4.0)),
        (says(point=(3.0, 4.0)), (3.0, 4.0)),
        (says(cells=[[0, 1]]), None),
    ],
)
def test_the_point_is_the_one_given_else_the_centre_of_the_first_box(prediction, point):
    assert point_of(prediction) == point


@pytest.mark.parametrize(
    ("mentions", "point"),
    [
        ([], None),
        ([says()], None),
        ([says(cells=[[0, 0]]), says()], None),
        ([says(cells=[[0, 1]]), says(cells=[[0, 0]]), says()], (45.0, 10.0)),  # 60 x 20: the second of two columns
        ([says(cells=[[9, 0, 0]]), says(cells=[[0, 0, 1]]), says(cells=[[0, 1, 1]])], (50.0, 10.0)),  # 1, 1/2, 3/2
        ([says(cells=[[1, 1, 1, 0]]), says(cells=[[0, 0, 0, 1]])], (52.5, 10.0)),  # 1/3 and 1; by their maxima: 1 and 1
        ([says(cells=[[0, 1], [1, 0]])], (45.0, 5.0)),
        ([says(cells=[[1], [1]], point_cells=[[0], [1]])], (30.0, 15.0)),
    ],
)
def test_the_point_of_a_chain(mentions, point):
    assert mean_map_point(mentions, 60, 20) == point


@pytest.mark.parametrize("name", ["pointing/phrase-5%", "mean-iou/any-box", "attention-correctness/merged-box"])
@pytest.mark.parametrize("kind", ["all", "people", "other"])
def test_the_interval_of_a_protocol_is_over_images(images, columns, summary, name, kind):
    values = next(protocol for protocol in HEADLINE if protocol.name == name).values(columns)
    if kind != "all":
        values = np.where([kind in types.split() for types, *_ in WORTH], values, np.nan)
    by_image = np.split(values, np.cumsum([len(image.boxed_phrases) for image in images])[:-1])
    means = []
    for draws in resample(5, 0).astype(int):
        sample = np.concatenate([by_image[image] for image in range(5) for _ in range(draws[image])])
        if not np.isnan(sample).all():
            means.append(100 * np.nanmean(sample))
    found = summary[name] if kind == "all" else summary[name]["types"][kind]
    np.testing.assert_allclose([found["low"], found["high"]], np.percentile(means, [2.5, 97.5]))


def test_names_are_unique_and_descriptions_say_the_rule():
    protocols = (*HEADLINE, *CURVE)
    assert len({protocol.name for protocol in protocols}) == len(protocols) == 81
    assert recall(5, "any-box").description == (
        "a phrase is hit when one of the first 5 boxes has IoU >= 0.5 with any box of its chain"
    )
    for protocol in protocols:
        merged = protocol.name.endswith("merged-box") or "merged-box/" in protocol.name
        assert not merged or "encloses all boxes" in protocol.description
        assert "\n" not in protocol.description
