"""The trivial baselines: numbers by hand, by a loop over pixels, by the normal distribution, by regex."""

import itertools
import json
import math
import re
import zipfile
from collections import defaultdict
from importlib import resources

import numpy as np
import pytest

from grounding.datasets.flickr30k import EntityImage, EntityPhrase, Flickr30kEntities
from grounding.errors import GroundingError
from grounding.evaluation.protocols.baselines import BLIND_BOXES_FILE, baselines, blind_boxes
from grounding.evaluation.protocols.measure import measure
from grounding.evaluation.protocols.protocol import HEADLINE
from grounding.evaluation.protocols.summary import summarize
from helpers.paths import SHARED

ANNOTATIONS = SHARED / "data" / "flickr30k_entities_trainval.zip"
POINTS = {"point_on_any", "point_on_merged", "point_near_any", "chain_point_on_merged"}
MASSES = {"mass_any", "mass_merged"}
RECALLS = {f"best_iou_{k}_{target}" for k in (1, 5, 10) for target in ("any", "merged")}
BOUNDS = {"best_iou_all_any", "best_iou_all_merged"}
ANSWERED = {
    "centre point": POINTS,
    "random point": POINTS | MASSES,
    "whole image": RECALLS | BOUNDS,
    "blind boxes": RECALLS,
    "centre Gaussian": POINTS | MASSES,
}

OVERLAPPING = [(10, 10, 30, 30), (20, 5, 50, 25)]  # union 400 + 600 - 150, enclosing (10, 5, 50, 30)
CORNERS = [(0, 0, 10, 10), (50, 30, 60, 40)]  # enclosing: everything
NEAR, FAR = [(44, 20, 60, 40)], [(45, 0, 60, 40)]  # 14 and 15 px to the right of the centre (30, 20)
HALF = [(0, 0, 30, 40)]  # the centre is on its open edge
ENDS_AT_CENTRE = [(20, 10, 40, 20)]  # likewise below
WIDE = {"1": OVERLAPPING, "2": CORNERS, "3": NEAR, "4": FAR, "5": HALF, "6": ENDS_AT_CENTRE, "7": [(1, 1, 2, 2)]}
WIDE_PHRASES = ["1", "2", "0", "3", "1", "4", "5", "6"]  # "0" has no box, "7" no phrase
TALL = {"1": [(0, 0, 9, 30), (3, 70, 31, 71)]}


def entity_image(name, width, height, boxes, chains):
    phrases = tuple(EntityPhrase(0, i, "it", 0, 2, chain, ("other",)) for i, chain in enumerate(chains))
    arrays = {chain: np.array(group, np.float64) for chain, group in boxes.items()}
    return EntityImage(name, width, height, ("it",), phrases, arrays, frozenset(), frozenset())


IMAGES = [
    entity_image("wide", 60, 40, WIDE, WIDE_PHRASES),
    entity_image("nothing", 10, 10, {}, ["0"]),
    entity_image("tall", 31, 77, TALL, ["1", "1"]),
]
ROWS = [(60, 40, WIDE[chain]) for chain in WIDE_PHRASES if chain != "0"] + [(31, 77, TALL["1"])] * 2
FIRST = [True, True, True, False, True, True, True, True, False]  # of its chain


@pytest.fixture(scope="module")
def found():
    return baselines(IMAGES)


def test_without_a_phrase_that_has_a_box():
    for images in ([], [IMAGES[1]]):
        with pytest.raises(GroundingError, match=r"^no phrase of these images has a box: expected .*choose[^\n]*$"):
            baselines(images)


def test_names_columns_and_what_is_not_answered(found):
    assert list(found) == list(ANSWERED)
    names = list(measure(IMAGES, {}))
    assert set(names) == POINTS | MASSES | RECALLS | BOUNDS | {"merged_share", "first_share"}
    for baseline, columns in found.items():
        assert list(columns) == names
        for name, values in columns.items():
            assert values.shape == (9,)
            assert values.dtype == np.float64
            if name in {"merged_share", "first_share"}:
                known = [True] * 9
            elif name not in ANSWERED[baseline]:
                known = [False] * 9
            else:
                known = FIRST if name == "chain_point_on_merged" else [True] * 9
            assert (~np.isnan(values)).tolist() == known, (baseline, name)


@pytest.mark.parametrize("baseline", ["centre point", "centre Gaussian"])
def test_the_centre_by_hand(found, baseline):
    columns = found[baseline]  # chains    1  2  3  1  4  5  6, then the tall picture's
    assert columns["point_on_any"].tolist() == [1, 0, 0, 1, 0, 0, 0, 0, 0]
    assert columns["point_on_merged"].tolist() == [1, 1, 0, 1, 0, 0, 0, 1, 1]
    assert columns["point_near_any"].tolist() == [1, 0, 1, 1, 0, 1, 1, 1, 1]  # tall: (15.5, 38.5) to (9, 30)
    np.testing.assert_array_equal(columns["chain_point_on_merged"], [1, 1, 0, np.nan, 0, 0, 0, 1, np.nan])


def test_the_whole_image_by_hand(found):
    columns = found["whole image"]
    for k in (1, 5, 10, "all"):
        best = np.array([600, 100, 320, 600, 600, 1200, 200]) / 2400
        np.testing.assert_array_equal(columns[f"best_iou_{k}_any"], [*best, *[270 / (31 * 77)] * 2])
        best = np.array([1000, 2400, 320, 1000, 600, 1200, 200]) / 2400
        np.testing.assert_array_equal(columns[f"best_iou_{k}_merged"], [*best, *[31 * 71 / (31 * 77)] * 2])
    recall = {p.name: p.values(columns).tolist() for p in HEADLINE}
    assert recall["recall@1/any-box"] == [0, 0, 0, 0, 0, 1, 0, 0, 0]  # IoU of exactly 1/2
    assert recall["recall@1/merged-box"] == [0, 1, 0, 0, 0, 1, 0, 1, 1]


def test_the_random_point_and_its_uniform_map(found):
    columns = found["random point"].reset_index()
    for row, (width, height, boxes) in enumerate(ROWS):
        on, near = 0, 0
        for x, y in itertools.product(range(width), range(height)):
            away = [
                math.hypot(max(x0 - x - 0.5, 0, x + 0.5 - x1), max(y0 - y - 0.5, 0, y + 0.5 - y1))
                for x0, y0, x1, y1 in boxes
            ]
            on, near = on + (min(away) == 0), near + (min(away) < 15)
        x0, y0, x1, y1 = (pick(edges) for pick, edges in zip((min, min, max, max), np.transpose(boxes), strict=True))
        pixels, merged = width * height, (x1 - x0) * (y1 - y0)
        assert columns["point_near_any"][row] == near / pixels
        for name in ("point_on_any", "mass_any"):
            assert columns[name][row] == pytest.approx(on / pixels, abs=1e-12)
        for name in ("point_on_merged", "mass_merged"):
            assert columns[name][row] == pytest.approx(merged / pixels, abs=1e-12)
    assert columns["point_on_any"][0] == pytest.approx(850 / 2400, abs=1e-12)
    on_merged = np.where(FIRST, columns["point_on_merged"], np.nan)
    np.testing.assert_array_equal(columns["chain_point_on_merged"], on_merged)


def test_the_tolerance_at_the_edges_of_a_larger_picture():
    boxes = {"1": [(0, 0, 1, 1)], "2": [(99, 50, 100, 80)], "3": [(40, 30, 60, 50), (50, 40, 70, 60), (90, 0, 91, 2)]}
    columns = baselines([entity_image("large", 100, 80, boxes, ["1", "2", "3"])])["random point"].reset_index()
    for chain, group in boxes.items():
        near = sum(
            any(
                max(x0 - x - 0.5, 0, x + 0.5 - x1) ** 2 + max(y0 - y - 0.5, 0, y + 0.5 - y1) ** 2 < 225
                for x0, y0, x1, y1 in group
            )
            for y in range(80)
            for x in range(100)
        )
        assert columns["point_near_any"][int(chain) - 1] == near / 8000


def test_the_blind_boxes_by_a_loop(found):
    columns = found["blind boxes"].reset_index()
    scaled = [
        [(x0 * width, y0 * height, x1 * width, y1 * height) for x0, y0, x1, y1 in blind_boxes()]
        for width, height, _ in ROWS
    ]

    def best(first, second):
        return max(plain_iou(one, other) for one in first for other in second)

    for k in (1, 5, 10):
        for row, (_, _, boxes) in enumerate(ROWS):
            edges = np.array(boxes)
            merged = [(*edges[:, :2].min(0), *edges[:, 2:].max(0))]
            assert columns[f"best_iou_{k}_any"][row] == pytest.approx(best(scaled[row][:k], boxes))
            assert columns[f"best_iou_{k}_merged"][row] == pytest.approx(best(scaled[row][:k], merged))


def test_the_gaussian_against_the_normal_distribution(found):
    def within(low, high, side):
        between = [math.erf((edge / side - 0.5) * 4 / math.sqrt(2)) for edge in (low, high)]
        return (between[1] - between[0]) / (2 * math.erf(math.sqrt(2)))  # of what lies inside the picture: 2 sigma

    def mass(box, width, height):
        return within(box[0], box[2], width) * within(box[1], box[3], height)

    columns = found["centre Gaussian"].reset_index()
    both = mass((20, 10, 30, 25), 60, 40)  # of the overlapping boxes
    union = sum(mass(box, 60, 40) for box in OVERLAPPING) - both
    assert columns["mass_any"][0] == pytest.approx(union, abs=2e-4)
    assert columns["mass_merged"][0] == pytest.approx(mass((10, 5, 50, 30), 60, 40), abs=2e-4)
    assert columns["mass_merged"][1] == pytest.approx(1)
    assert columns["mass_any"][7] == pytest.approx(sum(mass(box, 31, 77) for box in TALL["1"]), abs=2e-4)


def test_other_images_change_nothing(found):
    alone = baselines(IMAGES[2:])
    for baseline, columns in alone.items():
        for name, values in columns.items():
            np.testing.assert_array_equal(values, found[baseline][name][-2:])


def test_exactly_5_percent_counts_for_phrases_and_not_for_chains():
    columns = baselines([entity_image("five", 60, 40, {"1": [(24, 15, 36, 25)]}, ["1"])])["centre point"]
    values = {protocol.name: protocol.values(columns).tolist() for protocol in HEADLINE}
    assert values["pointing/phrase-5%"] == [1]
    assert np.isnan(values["pointing/chain-5%"]).tolist() == [True]


def test_a_summary_can_be_made(found):
    summary = {baseline: summarize(IMAGES, columns) for baseline, columns in found.items()}
    assert summary["centre point"]["pointing/phrase"]["value"] == pytest.approx(100 * 2 / 9)
    assert summary["centre point"]["pointing/chain-5%"]["value"] == pytest.approx(100 * 2 / 6)  # not chain 2
    assert summary["centre point"]["recall@1/any-box"]["count"] == 0
    assert summary["blind boxes"]["upper-bound/merged-box"]["count"] == 0


def plain_iou(one, other):
    across, down = min(one[2], other[2]) - max(one[0], other[0]), min(one[3], other[3]) - max(one[1], other[1])
    both = max(across, 0) * max(down, 0)
    sizes = [(x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in (one, other)]
    return both / (sum(sizes) - both)


def test_the_file_in_the_package():
    content = json.loads(resources.files("grounding.evaluation.protocols").joinpath(BLIND_BOXES_FILE).read_text())
    assert list(content) == ["recipe", "boxes", "train_recall"]
    assert (content["recipe"]["split"], content["recipe"]["phrases"]) == ("train", 427_226)
    boxes = blind_boxes()
    assert boxes.tolist() == content["boxes"]
    assert boxes.shape == (10, 4)
    assert boxes.dtype == np.float64
    assert len(np.unique(boxes, axis=0)) == 10
    assert ((boxes[:, :2] >= 0) & (boxes[:, :2] < boxes[:, 2:]) & (boxes[:, 2:] <= 1)).all()
    steps = np.diff([0, *content["train_recall"]])
    assert (steps > 0).all()
    assert (np.diff(steps) <= 1e-2).all()  # greedy: no box adds more than the one before


def val_by_regex():
    """For each phrase, in whole numbers: centre on any box, in the enclosing one, near; whole image; 5% of the area."""
    archive, rows = zipfile.ZipFile(ANNOTATIONS), []
    for name in archive.read("val.txt").decode().split():
        xml, boxes = archive.read(f"Annotations/{name}.xml").decode(), defaultdict(list)
        w, h = (int(re.search(rf"<{side}>(\d+)<", xml)[1]) for side in ("width", "height"))
        for thing in xml.split("<object>")[1:]:
            for chain in re.findall(r"<name>(\d+)<", thing) if "<xmin>" in thing else ():
                edges = [int(re.search(rf"<{edge}>(\d+)<", thing)[1]) for edge in ("xmin", "ymin", "xmax", "ymax")]
                boxes[chain].append((edges[0] - 1, edges[1] - 1, edges[2], edges[3]))
        for chain in re.findall(r"\[/EN#(\d+)/", archive.read(f"Sentences/{name}.txt").decode()):
            if chain in boxes:
                lefts, tops, rights, bottoms = zip(*boxes[chain], strict=True)
                merged = (min(lefts), min(tops), max(rights), max(bottoms))
                on = [2 * a <= w < 2 * c and 2 * b <= h < 2 * d for a, b, c, d in (*boxes[chain], merged)]
                sizes = [(c - a) * (d - b) for a, b, c, d in (*boxes[chain], merged)]
                gaps = [(max(2 * a - w, 0, w - 2 * c), max(2 * b - h, 0, h - 2 * d)) for a, b, c, d in boxes[chain]]
                near = any(x * x + y * y < 30 * 30 for x, y in gaps)
                whole = [2 * size >= w * h for size in sizes]
                rows.append((any(on[:-1]), on[-1], near, any(whole[:-1]), whole[-1], 20 * sizes[-1] >= w * h))
    return np.array(rows, float).T


@pytest.mark.skipif(not ANNOTATIONS.exists(), reason="needs the Flickr30k Entities annotations in ../shared")
@pytest.mark.slow
def test_val_to_the_last_phrase():
    found = baselines(list(Flickr30kEntities(ANNOTATIONS).read("val")))
    on_any, on_merged, near, whole_any, whole_merged, large = val_by_regex()
    centre, whole = found["centre point"], found["whole image"]
    np.testing.assert_array_equal(centre["point_on_any"], on_any)
    np.testing.assert_array_equal(centre["point_on_merged"], on_merged)
    np.testing.assert_array_equal(centre["point_near_any"], near)
    protocols = {protocol.name: protocol for protocol in HEADLINE}
    filtered = protocols["pointing/phrase-5%"].values(centre)
    np.testing.assert_array_equal(filtered, np.where(large == 1, on_any, np.nan))
    np.testing.assert_array_equal(protocols["recall@1/any-box"].values(whole), whole_any)
    np.testing.assert_array_equal(protocols["recall@1/merged-box"].values(whole), whole_merged)
    assert (len(on_any), int(large.sum())) == (14_433, 11_653)
    shares = [on_any.mean(), on_merged.mean(), on_any[large == 1].mean(), whole_any.mean(), whole_merged.mean()]
    assert [round(100 * share, 2) for share in shares] == [48.60, 53.78, 58.18, 15.74, 22.31]
    blind = [protocols[f"recall@{k}/merged-box"].values(found["blind boxes"]).mean() for k in (1, 5, 10)]
    assert [round(100 * share, 2) for share in blind] == [27.67, 44.61, 53.96]
