"""What each task measures of a map, and the numbers it makes of rows."""

import numpy as np
import pandas as pd
import pytest

from grounding.benchmarks.statistics import Score
from grounding.benchmarks.tasks import (
    PEOPLE,
    TASKS,
    TRUE_BOX,
    Agreement,
    Localization,
    Pointing,
    _digits,
    _held_out,
    _levels,
    _read_digits,
    with_ceiling,
)
from grounding.datasets.labelled import ClassRegion, LabelledImage
from grounding.evaluation.protocols.agreement import auc, human_map, nss, spearman
from grounding.evaluation.protocols.localization import (
    MEAN_MULTIPLES,
    THRESHOLDS,
    max_box_acc,
    max_box_acc_v2,
    measure_overlaps,
    pixel_counts,
    px_ap,
)


def region(name, *boxes, mask=None):
    return ClassRegion(name, np.array(boxes, np.float64).reshape(-1, 4), mask and (lambda: mask_of(*mask)))


def mask_of(width, height, x0, y0, x1, y1):
    mask = np.zeros((height, width), np.bool_)
    mask[y0:y1, x0:x1] = True
    return mask


def dot(width, height, x, y):
    map_ = np.zeros((height, width), np.float32)
    map_[y, x] = 1
    return map_


def box_map(width, height, x0, y0, x1, y1):
    return mask_of(width, height, x0, y0, x1, y1).astype(np.float32)


def values(scores: dict[str, Score], images):
    return {name: float(score.statistic(np.ones((1, images)))[0]) for name, score in scores.items()}


def test_the_tasks_are_called_as_the_commands():
    assert {name: make().name for name, make in TASKS.items()} == {name: name for name in TASKS}


class TestPointing:
    small, large, other = region("a", (10, 10, 20, 20)), region("a", (0, 0, 50, 50)), region("b", (60, 60, 70, 70))

    def image(self, *regions):
        return LabelledImage("i", 100, 100, regions)

    @pytest.mark.parametrize(
        ("x", "y", "hit"),
        [(12, 15, 1), (34, 15, 1), (35, 15, 0), (31, 24, 1), (32, 27, 0)],
        # The last pixel of the box is 19: 15 px away is 34; 12 and 5 are 13 away, 13 and 8 are 15.3 away.
    )
    def test_hits(self, x, y, hit):
        image = self.image(self.small)
        row = Pointing().measure(dot(100, 100, x, y), image, self.small)
        assert row == {"hit": hit, "point": [x, y], "difficult": 0}

    def test_a_map_without_evidence_points_nowhere(self):
        image = self.image(self.small, self.other)
        nowhere = Pointing().measure(np.zeros((100, 100), np.float32), image, self.small)
        assert nowhere == Pointing().miss(image, self.small) == {"hit": 0, "point": None, "difficult": 1}

    def test_difficult_is_small_beside_another_class(self):
        large, small = self.image(self.large, self.other), self.image(self.small, self.other)
        map_ = dot(100, 100, 12, 12)
        assert Pointing().measure(map_, large, self.large)["difficult"] == 0  # exactly a quarter
        assert Pointing().measure(map_, small, self.small)["difficult"] == 1
        assert Pointing().measure(map_, self.image(self.small), self.small)["difficult"] == 0
        assert Pointing().miss(large, self.large)["difficult"] == 0
        assert Pointing().other_rows(small, self.small) == {}

    def test_numbers_by_hand(self):
        """Class 0: hit, hit, miss; class 1: miss. Difficult: the second row of class 0, a hit, and class 1."""
        rows = pd.DataFrame(
            {"image": [0, 1, 2, 1], "class": [0, 0, 0, 1], "hit": [1, 1, 0, 0], "difficult": [0, 1, 0, 1]}
        )
        scores = Pointing().scores(rows, 3, 2)
        assert values(scores, 3) == pytest.approx(
            {"all": 1 / 3, "all, pooled": 1 / 2, "difficult": 1 / 2, "difficult, pooled": 1 / 2}
        )
        assert {name: score.count for name, score in scores.items()} == {
            "all": 4,
            "all, pooled": 4,
            "difficult": 2,
            "difficult, pooled": 2,
        }
        assert Pointing().hits(rows).tolist() == [1, 1, 0, 0]

    def test_without_difficult_rows(self):
        rows = pd.DataFrame({"image": [0], "class": [0], "hit": [1], "difficult": [0]})
        scores = Pointing().scores(rows, 1, 1)
        assert scores["difficult"].count == scores["difficult, pooled"].count == 0


class TestLocalization:
    def test_digits_count_the_ious_reached(self):
        """0.3, 0.5 and 0.7 themselves are reached, what is just below is not."""
        below = [np.nextafter(level, 0) for level in (0.3, 0.5, 0.7)]
        overlaps = np.array([0, below[0], 0.3, below[1], 0.5, below[2], 0.7, 1])
        assert _digits(overlaps) == "00112233"
        assert _levels(overlaps).tolist() == [
            sum(overlap >= level for level in (0.3, 0.5, 0.7)) for overlap in overlaps
        ]
        assert _read_digits(pd.Series(["0123", "3210"]), 4).tolist() == [[0, 1, 2, 3], [3, 2, 1, 0]]
        assert _read_digits(pd.Series([], dtype=object), 4).shape == (0, 4)

    @pytest.mark.parametrize(
        ("width", "digit"),
        [
            (14, "3"),
            (10, "2"),
            (6, "1"),
            (5, "0"),
        ],  # a box of width 20 against 14, 10, 6 and 5: IoU 0.7, 0.5, 0.3, 0.25
    )
    def test_exact_ious_of_maps(self, width, digit):
        true = region("a", (10, 10, 30, 20))
        image = LabelledImage("i", 60, 40, (true,))
        row = Localization().measure(box_map(60, 40, 10, 10, 10 + width, 20), image, true)
        assert set(row) == {"largest", "best", "above_mean", "otsu"}
        assert (len(row["largest"]), len(row["best"]), len(row["above_mean"])) == (100, 100, 21)
        whole = "0"  # threshold 0 keeps everything: 200 of 2,400 px
        assert row["largest"] == row["best"] == whole + digit * 99
        assert row["otsu"] == int(digit)
        reached = sum(multiple <= 2400 / (10 * width) for multiple in np.arange(21) / 2)  # 1 over the mean
        assert row["above_mean"] == whole + digit * (reached - 1) + "0" * (21 - reached)

    def test_largest_and_best_component_differ(self):
        true = region("a", (40, 10, 50, 20))
        map_ = box_map(60, 40, 0, 0, 20, 30) + box_map(60, 40, 40, 10, 50, 20)
        row = Localization().measure(map_, LabelledImage("i", 60, 40, (true,)), true)
        assert row["largest"][1:] == "0" * 99
        assert row["best"][1:] == "3" * 99
        assert row["otsu"] == 0  # of the largest component: no box has chosen anything

    def test_masks(self):
        true = region("a", (10, 10, 30, 20), mask=(60, 40, 10, 10, 30, 20))
        image = LabelledImage("i", 60, 40, (true,))
        row = Localization().measure(box_map(60, 40, 10, 10, 25, 22), image, true)
        assert row["inside"] == [200] + [150] * 99
        assert row["outside"] == [2200] + [30] * 99

    def test_a_miss_is_a_map_of_zeros(self):
        for mask in (None, (60, 40, 10, 10, 30, 20)):
            true = region("a", (10, 10, 30, 20), mask=mask)
            image = LabelledImage("i", 60, 40, (true,))
            zeros = Localization().measure(np.zeros((40, 60), np.float32), image, true)
            assert Localization().miss(image, true) == zeros | {"predicted": None}

    def rows(self, **columns):
        nothing = {"best": ["0" * 100] * 4, "above_mean": ["0" * 21] * 4, "otsu": [0] * 4, "largest": ["0" * 100] * 4}
        return pd.DataFrame({"image": range(4), "class": [0, 1, 0, 1], "predicted": [0, 1, 1, 1]} | nothing | columns)

    def test_gt_known_and_top_1_by_hand(self):
        """Thresholds 10 and 20 matter. Pictures 0 and 2 (even) hit at 10, picture 1 at 10 and 20, picture 3 at 20 only.

        For even pictures the threshold is what is best for 1 and 3: 20, which is hit twice. So 0 and 2 miss. For odd
        pictures it is 10: 1 hits, 3 misses. GT-known is 1 of 4; picture 1 is classified right, so top-1 is 1 of 4, too.
        With one threshold for all, 10 is hit by 3 of 4.
        """

        def hit(*places):
            return "".join("2" if place in places else "1" for place in range(100))

        rows = self.rows(largest=[hit(10), hit(10, 20), hit(10), hit(20)])
        found = values(Localization().scores(rows, 4, 2), 4)
        assert found["MaxBoxAcc"] == 0.75
        assert (found["GT-known"], found["top-1"]) == (0.25, 0.25)
        assert Localization().hits(rows).tolist() == [0, 1, 0, 0]
        rows = rows.assign(predicted=[0, 0, 1, 1])
        assert values(Localization().scores(rows, 4, 2), 4)["top-1"] == 0.0

    def test_top_1_needs_the_class_and_the_box(self):
        rows = self.rows(largest=["2" * 100, "3" * 100, "2" * 100, "1" * 100])
        found = values(Localization().scores(rows, 4, 2), 4)
        assert (found["GT-known"], found["top-1"]) == (0.75, 0.5)  # picture 2 is taken for class 1
        unknown = values(Localization().scores(rows.assign(predicted=[None] * 4), 4, 2), 4)
        assert (unknown["GT-known"], unknown["top-1"]) == (0.75, 0)

    def test_realistic_and_above_the_mean_by_hand(self):
        """Otsu's boxes reach 3, 2, 1 and 0 of three IoUs: 6 of 12."""
        rows = self.rows(otsu=[3, 2, 1, 0], above_mean=["0" * 20 + "2", "0" * 20 + "3", "0" * 20 + "2", "0" * 21])
        found = values(Localization().scores(rows, 4, 2), 4)
        assert found["realistic"] == pytest.approx(0.5)
        assert found["box above a multiple of the mean"] == 0.75
        assert "PxAP" not in found

    def test_against_the_protocols(self):
        random = np.random.default_rng(0)
        measured, masks, overlaps, table = [], [], [], []
        for number in range(6):
            x0, y0 = random.integers(0, 20, 2).tolist()
            true = region("a", (x0, y0, x0 + 25, y0 + 15), mask=(50, 40, x0, y0, x0 + 25, y0 + 15))
            map_ = random.random((4, 5)).repeat(10, 0).repeat(10, 1).astype(np.float32)
            measured.append(Localization().measure(map_, LabelledImage("i", 50, 40, (true,)), true))
            overlaps.append(measure_overlaps(map_, true.boxes))
            masks.append(pixel_counts(map_, true.mask()))
            table.append({"image": number, "class": 0, "predicted": 0} | measured[-1])
        scores = Localization().scores(pd.DataFrame(table), 6, 1)
        found = values(scores, 6)
        assert found["MaxBoxAcc"] == pytest.approx(max_box_acc(np.array([o.largest for o in overlaps]))[0])
        assert found["MaxBoxAccV2"] == pytest.approx(max_box_acc_v2(np.array([o.best for o in overlaps]))[0])
        assert found["PxAP"] == pytest.approx(px_ap(sum(masks)))
        assert 0 < found["PxAP"] < 1
        half = pd.DataFrame(table)
        half.loc[3:, ["inside", "outside"]] = None  # no mask
        scores = Localization().scores(half, 6, 1)
        assert scores["PxAP"].count == 3
        assert values(scores, 6)["PxAP"] == pytest.approx(px_ap(sum(masks[:3])))

    def test_a_threshold_is_not_chosen_on_the_picture_itself(self):
        levels = np.array([[2, 0], [0, 2], [2, 0], [0, 2]], np.uint8)
        assert _held_out(levels, np.arange(4)).tolist() == [0, 0, 0, 0]
        assert _held_out(levels, np.array([0, 1, 3, 2])).tolist() == [1, 0, 1, 0]  # of equals the first
        assert _held_out(levels, np.array([0, 0, 1, 1])).tolist() == [1, 0, 1, 0]  # two classes in each of two pictures
        assert _held_out(levels[:1], np.array([0])).tolist() == [1]  # one picture: nothing is held out
        assert _held_out(levels, np.array([1, 3, 5, 7])).tolist() == [1, 1, 1, 1]
        assert len(THRESHOLDS) == 100
        assert len(MEAN_MULTIPLES) == 21


class TestAgreement:
    """A picture of 256 x 64 px is compared at 128 x 32 px: fixations are halved."""

    viewers = (np.array([[20.0, 40.0, 100.0], [200.0, 10.0, 50.0]]), np.array([[30.0, 44.0, 300.0]]))
    true = region("bird", (10, 30, 50, 60))
    image = LabelledImage("7", 256, 64, (true,))

    def task(self, image="7"):
        return Agreement({image: self.viewers})

    def test_fixations_are_scaled_to_the_compared_map(self):
        random = np.random.default_rng(0)
        map_ = random.random((32, 128)).astype(np.float32)
        large = map_.repeat(2, 0).repeat(2, 1)  # whose mean over 2 x 2 px is the small map
        halved = [viewer * [0.5, 0.5, 1] for viewer in self.viewers]
        row = self.task().measure(large, self.image, self.true)
        people = human_map(halved, 128, 32, 128 / 20)
        together = np.concatenate(halved)
        assert row == pytest.approx(
            {"spearman": spearman(map_, people), "auc": auc(map_, together), "nss": nss(map_, together)}, abs=2e-6
        )

    def test_a_small_picture_is_compared_as_it_is(self):
        image = LabelledImage("7", 64, 48, (self.true,))
        map_ = np.random.default_rng(0).random((48, 64)).astype(np.float32)
        viewers = (self.viewers[1],)
        row = Agreement({"7": viewers}).measure(map_, image, self.true)
        assert row["nss"] == pytest.approx((map_[44, 30] - map_.mean()) / map_.std(), abs=1e-4)
        assert row["auc"] == pytest.approx((map_ < map_[44, 30]).sum() / (64 * 48 - 1), abs=1e-6)

    def test_what_stands_beside_the_methods(self):
        """Viewer 1 looks only into the box, viewer 0 once into it and once outside."""
        rows = self.task().other_rows(self.image, self.true)
        assert list(rows) == [TRUE_BOX, PEOPLE]
        inside = box_map(256, 64, 10, 30, 50, 60)
        assert rows[TRUE_BOX] == self.task().measure(inside, self.image, self.true)
        # In 128 x 32 px the box is 20 x 15 = 300 of 4,096 px, and 2 of 3 fixated px are in it; of the 4,093 others 298
        # are: (2 * (3795 + 298 / 2) + 1 * 3795 / 2) / (3 * 4093).
        assert rows[TRUE_BOX]["auc"] == pytest.approx((2 * (3795 + 149) + 3795 / 2) / (3 * 4093), abs=1e-6)
        assert rows[PEOPLE]["spearman"] is not None

    def test_one_viewer_agrees_with_nobody(self):
        alone = Agreement({"7": self.viewers[:1]})
        assert alone.other_rows(self.image, self.true)[PEOPLE] == {"spearman": None, "auc": None, "nss": None}
        assert alone.miss(self.image, self.true) is None

    def test_numbers_by_hand(self):
        rows = pd.DataFrame(
            {"image": [0, 1, 2], "spearman": [0.5, None, 0.1], "auc": [0.9, 0.7, 0.8], "nss": [None, None, None]}
        )
        scores = Agreement().scores(rows, 3, 1)
        assert {name: score.count for name, score in scores.items()} == {"Spearman": 2, "AUC": 3, "NSS": 0}
        assert not any(score.percent for score in scores.values())
        found = values({name: score for name, score in scores.items() if score.count}, 3)
        assert found == pytest.approx({"Spearman": 0.3, "AUC": 0.8})
        assert Agreement().hits(rows).tolist()[::2] == [0.5, 0.1]

    def test_fractions_of_the_ceiling_by_hand(self):
        """Over the pictures where people agree with each other: Spearman (0.4 + 0.2) / (0.8 + 0.4) = 1 / 2.

        AUC less chance: (0.3 + 0.1) / (0.4 + 0.2) = 2 / 3; on picture 2 people have none, on picture 3 the map none.
        Picture 1 twice as often: (0.3 + 2 * 0.1) / (0.4 + 2 * 0.2) = 5 / 8.
        """
        maps = {"spearman": [0.4, 0.2, 0.9, None], "auc": [0.8, 0.6, 0.7, None], "nss": [1.0] * 4}
        people = {"spearman": [0.8, 0.4, None, 0.3], "auc": [0.9, 0.7, None, 0.8], "nss": [2.0] * 4}
        parts = [
            pd.DataFrame({"image": range(4), "class": [0, 1, 0, 1], "method": method, **numbers})
            for method, numbers in (("cam", maps), (PEOPLE, people))
        ]
        table = with_ceiling(pd.concat(parts, ignore_index=True))
        assert table["method"].tolist() == ["cam"] * 4 + [PEOPLE] * 4
        scores = Agreement().scores(table[table["method"] == "cam"], 4, 2)
        assert (scores["Spearman / ceiling"].count, scores["AUC / ceiling"].count, scores["NSS"].count) == (2, 2, 4)
        found = values(scores, 4)
        assert found["Spearman / ceiling"] == pytest.approx(1 / 2)
        assert found["AUC / ceiling"] == pytest.approx(2 / 3)
        twice = scores["AUC / ceiling"].statistic(np.array([[1.0, 2, 1, 1]]))
        assert twice.tolist() == pytest.approx([5 / 8])
        own = Agreement().scores(table[table["method"] == PEOPLE], 4, 2)
        assert own["Spearman / ceiling"].count == own["AUC / ceiling"].count == 0
        assert own["Spearman"].count == 3

    def test_without_people_there_is_no_fraction(self):
        table = pd.DataFrame({"image": [0], "class": [0], "method": ["cam"], "spearman": [0.1], "auc": [0.6]})
        assert with_ceiling(table) is table

    def test_people_who_agree_no_better_than_chance_are_no_ceiling(self):
        row = {"image": 0, "class": 0, "spearman": 0.1, "auc": 0.6, "nss": 0.0}
        table = with_ceiling(
            pd.DataFrame([row | {"method": "cam"}, row | {"method": PEOPLE, "spearman": -0.1, "auc": 0.5}])
        )
        scores = Agreement().scores(table[table["method"] == "cam"], 1, 1)
        assert np.isnan(scores["Spearman / ceiling"].statistic(np.ones((1, 1)))[0])
        assert np.isnan(scores["AUC / ceiling"].statistic(np.ones((1, 1)))[0])
