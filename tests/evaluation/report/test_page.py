"""The pages of an evaluation: what they say is what was measured, and they load nothing."""

import base64
import io
import json
import re
import subprocess
import sys
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from grounding.boxes import enclosing, iou
from grounding.datasets.flickr30k import boxed_phrases
from grounding.evaluation.predictions.prediction import Prediction
from grounding.evaluation.protocols.measure import measure
from grounding.evaluation.protocols.protocol import HEADLINE, POINTING, recall
from grounding.evaluation.protocols.raking import cells
from grounding.evaluation.report import galleries, sections
from grounding.evaluation.report.page import render_comparison, render_report
from grounding.evaluation.runs.comparison import compare
from grounding.evaluation.runs.scoring import Run, Selection, score
from helpers.entities import image_with
from helpers.html import Page
from helpers.reports import HOSTILE, entity_image, make_run, photograph, predict

COVERAGE = "val: 247 of 1,000 images present"


@pytest.fixture(scope="module")
def images():
    rng = np.random.default_rng(5)
    kinds = ("people", "clothing", "animals", "scene")
    made = []
    for number in range(30):
        chains = []
        for place in range(4):
            corners = rng.integers(0, (120, 60), (2, 2))
            group = np.concatenate([corners, corners + rng.integers(5, 40, (2, 2))], 1)[: 1 + (number + place) % 2]
            chains.append((kinds[(number + place) % 4], group))
        made.append(entity_image(number, chains))
    return made


@pytest.fixture(scope="module")
def run(images):
    return make_run(images, predict(images))


@pytest.fixture(scope="module")
def html(run):
    return render_report(run, photograph)


@pytest.fixture(scope="module")
def page(html):
    return Page(html)


def shown(summary):
    if not summary["count"]:
        return "–"
    return f"{summary['value']:.1f} [{summary['low']:.1f}, {summary['high']:.1f}]"


def test_every_headline_number_is_the_one_of_metrics_json_with_its_protocol_and_baselines(run, page):
    metrics = run.metrics
    columns = [metrics["run"], *metrics["baselines"].values()]
    for protocol in HEADLINE:
        row = page.row(protocol.name)
        assert row[: len(columns)] == [shown(summary[protocol.name]) for summary in columns]
        assert row[-1] == f"{metrics['run'][protocol.name]['count']:,}"
        assert protocol.description.replace(">=", "≥") in page.text
    assert len(metrics["baselines"]) == 5


def test_a_part_is_shown_standardised_beside_what_it_is(images):
    part = images[:20]
    predictions = predict(part)
    whole = [*images, image_with("more", [(0, "1", "vehicles", [(0, 0, 9, 9)])])]
    selection = Selection("val", 31, part, missing=tuple(map(str, range(11))), whole=cells(whole).total())
    columns = measure(part, predictions)
    metrics = score(selection, "a run", {"config": {"context": "none"}}, predictions, columns)
    page = Page(render_report(Run(metrics, part, predictions, columns), photograph))
    standard = metrics["standardised"]
    rows = [[" ".join(cell.split()) for cell in row] for row in page.rows]
    for protocol in HEADLINE:
        answers = [standard["run"], *standard["baselines"].values()]
        assert [protocol.name, *(shown(answer[protocol.name]) for answer in answers)] in rows
    assert standard["run"][POINTING[0].name]["value"] != metrics["run"][POINTING[0].name]["value"]
    assert "standardised to all 121 phrases with a box of val, from 80 that count like" in page.text
    assert "Entity type: no phrase here stands for vehicles (0.8%) of the split." in page.text
    assert "context none" in page.text


def test_extent_and_which_of_two_are_said(images):
    people = image_with("two", [(0, "1", "people", [(0, 0, 9, 9)]), (0, "2", "people", [(0, 0, 9, 99)])], (200, 100))
    page = Page(render_report(make_run([*images, people], predict([*images, people])), photograph))
    assert re.search(
        r"Extent of all phrases, 122: the median best box covers \S+ \[\S+, \S+\]% of the picture", page.text
    )
    assert "Extent of things under 10% of the picture, " in page.text
    assert "Which of two: " in page.text
    assert "of 1 pair of people in one caption" in page.text


def test_the_numbers_by_type_are_those_of_metrics_json(run, page):
    for protocol in (POINTING[0], recall(1, "merged-box")):
        measured = [s for s in (run.metrics["run"], *run.metrics["baselines"].values()) if s[protocol.name]["count"]]
        for kind in ("people", "clothing", "animals", "scene"):
            expected = [shown(summary[protocol.name]["types"][kind]) for summary in measured]
            assert [kind, *expected] in [[" ".join(cell.split()) for cell in row] for row in page.rows]


def test_a_first_number_stands_beside_its_best_baseline(run, page):
    blind = run.metrics["baselines"]["blind boxes"]["recall@1/merged-box"]["value"]
    whole = run.metrics["baselines"]["whole image"]["recall@1/merged-box"]["value"]
    best = max((blind, "blind boxes"), (whole, "whole image"))
    value = run.metrics["run"]["recall@1/merged-box"]["value"]
    tile = re.search(r"recall@1/merged-box (\S+) (\[.*?\]) of 120 best baseline (\S+), (\w+ \w+)", page.text)
    assert tile[1] == f"{value:.1f}"
    assert (tile[3], tile[4]) == (f"{best[0]:.1f}", best[1])


def test_the_coverage_stands_with_every_table_chart_and_gallery(html):
    captions = re.findall(r"<(?:caption|figcaption)>(.*?)</(?:caption|figcaption)>", html, re.S)
    captions = [caption for caption in captions if 'class="facts"' not in caption]  # a card's stands over its gallery
    galleries_ = re.findall(r"<h3>.*?</h3>\s*<p.*?</p>", html, re.S)
    tiles = re.findall(r'<div class="tile".*?</div>', html, re.S)
    assert len(captions) >= 11
    assert len(galleries_) == 6
    assert len(tiles) == 4
    assert all(COVERAGE in part for part in [*captions, *galleries_, *tiles, html[: html.index("</header>")]])


def assert_self_contained(html):
    page = Page(html)
    assert not page.all("script")
    for _, attributes in page.tags:
        for name in ("src", "href", "xlink:href", "srcset", "poster", "data", "action", "background"):
            assert re.match(r"#|data:", attributes.get(name) or "#"), attributes
        assert "url(" not in (attributes.get("style") or "")
        assert not any(name.startswith("on") for name in attributes)
    styles = "".join(re.findall(r"<style>(.*?)</style>", html, re.S))
    assert "url(" not in styles
    assert "@import" not in styles
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    links = {attributes["href"][1:] for tag, attributes in page.tags if tag in ("a", "use")}
    assert links <= set(ids)
    return page


def test_the_page_is_self_contained_and_the_same_each_time(run, html):
    assert_self_contained(html)
    assert html == render_report(run, photograph)


@pytest.mark.parametrize("where", ["caption", "name", "settings", "failed"])
def test_what_others_wrote_is_escaped(where):
    images = [entity_image(1, [("people", [[0, 0, 20, 20]])], HOSTILE if where == "caption" else None)]
    failed = {"im9": HOSTILE} if where == "failed" else {}
    run = make_run(images, predict(images), HOSTILE if where == "name" else "run", failed=failed)
    if where == "settings":
        run.metrics["settings"]["note"] = HOSTILE
    page = assert_self_contained(render_report(run, photograph))
    assert "alert(1)" in page.text
    assert not page.all("b")
    assert where == "settings" or " ".join(HOSTILE.split()).replace("'", "''") in page.text.replace("'", "''")


def changed(run, **changes):
    return make_run(run.images, {key: replace(found, **changes) for key, found in run.predictions.items()})


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("baselines only", "Only the trivial baselines were measured"),
        ("no photographs", "Galleries"),
        ("damaged photographs", "Galleries"),
        ("no maps", "Galleries"),
        ("empty maps", "Galleries"),
        ("no scores", "No first box has a score"),
        ("equal scores", "not a probability"),
        ("scores as shares", "where the score would be the share of hits"),
        ("one image", "1 image, 4 phrases with a box, 4 chains"),
        ("no prediction", "Status: missing"),
        ("no box", "Status: no-proposals"),
        ("nothing localized", "No phrase."),
        ("no phrase with a box", "0 phrases with a box"),
        ("all images", "all 30 images"),
        ("unreadable photographs", "2 photographs could not be read"),
    ],
)
def test_unusual_runs_have_a_page(run, images, name, words):  # noqa: C901 - a branch for each case
    show = photograph
    if name == "baselines only":
        run = make_run(images, {}, baselines_only=True)
    elif name == "no photographs":
        show = lambda _: None  # noqa: E731
    elif name == "damaged photographs":
        show = lambda _: b"no picture"  # noqa: E731
    elif name == "no maps":
        run = make_run(images, predict(images, maps=False))
    elif name == "empty maps":
        run = changed(run, map=np.zeros((4, 8), np.float32))
    elif name == "no scores":
        run = make_run(images, predict(images, scores=False))
    elif name == "equal scores":
        run = changed(run, scores=np.array([2.0, 1.0]))
    elif name == "scores as shares":
        run = changed(run, scores=np.array([0.5, 0.25]))
    elif name == "one image":
        run = make_run(images[:1], predict(images[:1]))
    elif name == "no prediction":
        run = make_run(images, {})
    elif name == "no box":
        run = changed(run, boxes=np.zeros((0, 4)), scores=np.zeros(0), map=None, status="no-proposals")
    elif name == "nothing localized":
        run = changed(run, status="out-of-vocabulary")
    elif name == "no phrase with a box":
        nothing = {protocol: {"count": 0} for protocol in run.metrics["protocols"]}
        data = run.metrics["dataset"] | {
            "phrases": 0,
            "chains": 0,
            "types": dict.fromkeys(run.metrics["dataset"]["types"], 0),
        }
        metrics = {"run": nothing, "baselines": {"centre point": nothing}, "dataset": data, "statuses": {}}
        run = Run(run.metrics | metrics, [replace(images[0], phrases=(), boxes={})], {}, {})
    elif name == "all images":
        run = make_run(images, run.predictions, missing=0, coverage="all 30 images")
    elif name == "unreadable photographs":
        run = make_run(images, run.predictions, failed={"im90": "cut short", "im91": "empty"})
    page = assert_self_contained(render_report(run, show))
    assert words in page.text
    assert "nan" not in [word.strip("[],").lower() for word in page.text.split()]
    drawn = {attributes["href"] for attributes in page.all("use")}
    assert bool(drawn) == (
        name not in ("baselines only", "no photographs", "damaged photographs", "no phrase with a box")
    )
    if "maps" in name:
        assert not [attributes for attributes in page.all("image") if "png" in attributes["href"]]


def rows_of_gallery(html, title):
    part = html[html.index(f"<h3>{title}</h3>") :]
    part = part[: part.find("<h3>", 5)] if "<h3>" in part[5:] else part[: part.index("<h2")]
    label = r'aria-label="Photograph (\S+) with the true boxes of “thing(\d)”; IoU (?:just under )?([\d.]+), .*?'
    labels = re.findall(label + '(hit|miss)"', part)
    return [(image, int(phrase), float(overlap), hit) for image, phrase, overlap, hit in labels]


def test_the_galleries_show_small_hits_the_typical_near_misses_and_the_worst(run, html):
    known = []
    for row, (image, phrase) in enumerate(boxed_phrases(run.images)):
        found = run.predictions[image.id, 0, phrase.index]
        if found.status == "localized":
            x0, y0, x1, y1 = enclosing(image.boxes[phrase.chain])[0]
            overlap = iou(found.boxes[:1], enclosing(image.boxes[phrase.chain]))[0, 0]
            share = (x1 - x0) * (y1 - y0) / (200 * 100)
            known.append((overlap, found.scores[0], row, image.id, phrase.index, phrase.types[0], share))
    median = np.median([one[0] for one in known])
    small = [one for one in known if one[0] >= 0.5 and one[6] < 0.1]
    near = [one for one in known if 0 < one[0] < 0.5]
    orders = {
        "Hits: small targets": sorted(small, key=lambda one: (-one[0], one[2])),
        "Typical": sorted(known, key=lambda one: (abs(one[0] - median), one[2])),
        "Near misses": sorted(near, key=lambda one: (-one[0], one[2])),
        "Worst": sorted(known, key=lambda one: (one[0], -one[1], one[2])),
    }
    for title, order in orders.items():
        expected, seen, kinds = [], set(), Counter()
        for most in (3, 12):
            for one in order:
                if one[3] not in seen and kinds[one[5]] < most and len(seen) < 12:
                    expected.append(one)
                    seen.add(one[3])
                    kinds[one[5]] += 1
        expected.sort(key=order.index)
        said = [(one[3], one[4], round(one[0], 2), "hit" if one[0] >= 0.5 else "miss") for one in expected]
        assert rows_of_gallery(html, title) == said
        assert len(said) > 5
    assert rows_of_gallery(html, "Near misses")[0][2] == round(max(one[0] for one in near), 2)


def test_cards_are_filled_up_with_the_first_of_a_common_type_but_never_with_an_image_twice(images):
    phrases = [(image, image.phrases[0]) for image in images[:20:4]] + [(images[1], images[1].phrases[2])]
    assert {phrase.types[0] for _, phrase in phrases[:5]} == {"people"}
    assert galleries.choose(range(6), phrases, cards=4) == [0, 1, 2, 5]
    assert galleries.choose(range(6), phrases, cards=5) == [0, 1, 2, 3, 5]
    assert galleries.choose([5, 0, 0, 1], [*phrases[:5], phrases[0]], cards=5) == [5, 1]


@pytest.mark.parametrize("count", [0, 1, 9, 10, 37])
def test_score_groups_are_the_tenths_of_the_sorted_scores(count):
    scores = np.random.default_rng(count).permutation(np.r_[np.arange(count), [np.nan] * 5])
    groups = sections.score_groups(scores)
    assert [scores[row] for group in groups for row in group] == list(range(count))
    assert len(groups) == min(count, 10)
    assert not groups or max(map(len, groups)) - min(map(len, groups)) <= 1


def test_each_point_of_the_reliability_plot_is_the_share_of_hits_in_its_group(run):
    measured = sections.Measured(run)
    found = sections.reliability(measured)
    scored = []
    for image, phrase in boxed_phrases(run.images):
        prediction = run.predictions[image.id, 0, phrase.index]
        hit = iou(prediction.boxes[:1], enclosing(image.boxes[phrase.chain]))[0, 0] >= 0.5
        x, y = (prediction.boxes[0, :2] + prediction.boxes[0, 2:]) / 2
        boxes = image.boxes[phrase.chain]
        pointed = any(x0 <= x < x1 and y0 <= y < y1 for x0, y0, x1, y1 in boxes)
        scored.append((prediction.scores[0], hit, pointed))
    scored.sort()
    assert len(scored) == found["count"] == 120
    for series, column in zip(found["series"], (1, 2), strict=True):
        for (mean, number), first in zip(series.points.items(), range(0, 120, 12), strict=True):
            group = scored[first : first + 12]
            assert mean == pytest.approx(np.mean([one[0] for one in group]))
            assert number["value"] == pytest.approx(100 * np.mean([one[column] for one in group]))
            assert number["count"] == 12
            assert number["low"] <= number["value"] <= number["high"]


def test_sizes_count_every_phrase_in_the_bin_of_its_merged_box(run):
    bins = sections.sizes(sections.Measured(run))["bins"]
    edges = [0, 0.25, 0.5, 1, 2, 4, 8, 16, 32, 64, 100]
    expected = [[f"{edge:g}", 0, 0] for edge in edges[:-1]]
    for image, phrase in boxed_phrases(run.images):
        [(x0, y0, x1, y1)] = merged = enclosing(image.boxes[phrase.chain])
        share = 100 * (x1 - x0) * (y1 - y0) / (200 * 100)
        place = max(number for number, edge in enumerate(edges[:-1]) if share >= edge)
        found = run.predictions[image.id, 0, phrase.index]
        expected[place][1 if iou(found.boxes[:1], merged)[0, 0] >= 0.5 else 2] += 1
    assert [list(one) for one in bins] == expected


def test_a_whole_image_falls_in_the_last_bin():
    images = [entity_image(1, [("scene", [[0, 0, 200, 100]])])]
    run = make_run(images, predict(images))
    assert sum(sections.sizes(sections.Measured(run))["bins"][-1][1:]) == 1


def test_statuses_add_up(run, page):
    counts = run.metrics["statuses"]
    assert sum(counts.values()) == 120
    for name, count in counts.items():
        [row] = [row for row in page.rows if row and row[0].strip() == name]
        assert [cell.strip() for cell in row[1:3]] == [f"{count:,}", f"{100 * count / 120:.1f}%"]
        hits = [
            iou(found.boxes[:1], enclosing(image.boxes[phrase.chain]))[0, 0] >= 0.5
            for image, phrase in boxed_phrases(run.images)
            if (found := run.predictions[image.id, 0, phrase.index]).status == name
        ]
        assert row[4].startswith(f"{100 * np.mean(hits):.1f} ")


def test_a_card_draws_boxes_in_the_frame_of_the_annotations_over_the_stretched_photograph():
    images = [entity_image(7, [("people", [[10, 20, 60, 80], [100, 20, 150, 90]])])]
    found = Prediction(np.array([[12.0, 20.0, 152.0, 90.0]]), np.array([1.5]), (30.0, 40.0))
    asked = []
    show = lambda image: asked.append(image) or photograph(image)  # noqa: E731
    page = Page(render_report(make_run(images, {("im7", 0, 0): replace(found, map=np.eye(4, dtype=np.float32))}), show))
    assert asked == ["im7"]
    maps = [attributes for attributes in page.all("image") if "png" in attributes["href"]]
    assert [(one["width"], one["height"], one["preserveaspectratio"]) for one in maps] == [("200", "100", "none")] * 2
    cards = [attributes for attributes in page.all("svg", "photo") if "aria-label" in attributes]
    assert {card["viewbox"] for card in cards} == {"0 0 200 100"}
    assert cards[0]["aria-label"].endswith("of “thing0”; IoU 0.97, score 1.50, point on target, hit")

    def drawn(kind):
        return {tuple(float(box[key]) for key in ("x", "y", "width", "height")) for box in page.all("rect", kind)}

    assert drawn("true") == {(10, 20, 50, 60), (100, 20, 50, 70)}
    assert drawn("merged") == {(10, 20, 140, 70)}
    assert drawn("first") == {(12, 20, 140, 70)}
    assert {dot["d"] for dot in page.all("path", "dot first")} >= {"M30.0 40.0h0"}
    [held] = [attributes for attributes in page.all("image") if "jpeg" in attributes["href"]]  # once for both cards
    assert held["preserveaspectratio"] == "none"
    assert len(page.all("use")) == len(cards) == 2
    assert {use["transform"] for use in page.all("use")} == {"scale(200 100)"}
    assert (held["width"], held["height"]) == ("1", "1")
    with Image.open(io.BytesIO(base64.b64decode(held["href"].partition(",")[2]))) as small:
        assert (small.size, small.format) == ((320, 200), "JPEG")


def decoded(uri):
    assert uri.startswith("data:image/png;base64,")
    with Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))) as picture:
        return np.asarray(picture)


def test_a_map_is_most_opaque_where_it_is_highest():
    layer = decoded(galleries.map_uri(np.array([[0, 1, 2], [4, 3, 0]], np.float32)))
    assert layer.shape == (2, 3, 4)
    assert np.argsort(layer[..., 3].ravel(), kind="stable").tolist() == [0, 5, 1, 2, 4, 3]
    assert layer[0, 0, 3] == 0
    assert decoded(galleries.map_uri(np.ones((2, 2), np.float32)))[..., 3].max() < 80
    assert max(decoded(galleries.map_uri(np.random.default_rng(0).random((96, 60), np.float32))).shape) == 48
    assert galleries.map_uri(np.zeros((2, 2), np.float32)) is None
    assert galleries.map_uri(None) is None


@pytest.fixture(scope="module")
def two(run, images):
    other = make_run(images, predict(images, seed=1), name="another <run>")
    return compare(replace(run, path="runs/a"), replace(other, path="runs/b"))


def test_the_comparison_shows_each_difference_and_whether_its_interval_excludes_nothing(two):
    comparison, changes = two
    comparison = json.loads(json.dumps(comparison)) | {"warnings": ["runs/b & <others> differ"]}
    comparison["differences"]["pointing/phrase"] |= {"difference": 2.0, "low": 0.5, "high": 3.5}
    comparison["differences"]["recall@1/any-box"] |= {"difference": -2.0, "low": -3.5, "high": -0.5}
    comparison["differences"]["recall@5/any-box"] |= {"difference": 1.0, "low": 0.0, "high": 3.5}
    page = assert_self_contained(render_comparison(comparison, changes, photograph))
    for name, entry in comparison["differences"].items():
        row = page.row(name)
        sign = "▲ " if entry["low"] > 0 else "▼ " if entry["high"] < 0 else ""
        assert row[0] == f"{sign}{entry['difference']:+.1f} [{entry['low']:+.1f}, {entry['high']:+.1f}]"
        numbers = [
            f"{entry['a']:.1f}",
            f"{entry['b']:.1f}",
            *(f"{entry[key]:,}" for key in ("gained", "lost", "count")),
        ]
        assert row[2:] == numbers
    assert page.row("pointing/phrase")[0].startswith("▲")
    assert page.row("recall@1/any-box")[0].startswith("▼")
    assert page.row("recall@5/any-box")[0].startswith("+1.0")
    assert "runs/b & <others> differ" in page.text
    assert "another <run>" in page.text


def test_the_comparison_shows_phrases_that_changed_sides_with_both_answers(two):
    comparison, changes = two
    html = render_comparison(comparison, changes, photograph)
    for name in ("recall@1/merged-box", "pointing/phrase"):
        for gained, word in ((True, "Gained"), (False, "Lost")):
            group = [one for one in changes if (one.protocol, one.gained) == (name, gained)]
            assert len(group) == comparison["differences"][name]["gained" if gained else "lost"] > 0
            part = html[html.index(f"<h3>{word}: {name}</h3>") :]
            part = part[: part.find("<h3>", 5)] if "<h3>" in part[5:] else part
            labels = re.findall(r'aria-label="Photograph (\S+) with the true boxes of “thing(\d)”; (.*?)"', part)
            assert 0 < len(labels) == len({label[0] for label in labels}) <= 12
            assert f"{len(labels)} of {len(group)} phrases." in part
            for image, phrase, answers in labels:
                [one] = [one for one in group if (one.image.id, one.phrase.index) == (image, int(phrase))]
                merged = enclosing(one.image.boxes[one.phrase.chain])
                a, b = (float(iou(found.boxes[:1], merged)[0, 0]) for found in (one.a, one.b))
                sides = ("miss", "hit") if gained else ("hit", "miss")
                assert answers == f"a: IoU {a:.2f}, {sides[0]}; b: IoU {b:.2f}, {sides[1]}"


def test_a_comparison_without_a_change_or_a_photograph_has_a_page(run):
    finished = replace(run, path="runs/a")
    comparison, changes = compare(finished, finished)
    comparison["differences"]["mean-iou/any-box"] = {"count": 0}
    page = assert_self_contained(render_comparison(comparison, changes, lambda _: None))
    assert page.text.count("No phrase.") == 4
    assert "mean-iou/any-box" in page.text
    assert "not measured" in page.text


def test_pages_are_made_without_torch():
    code = "import sys, grounding.evaluation.report; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
