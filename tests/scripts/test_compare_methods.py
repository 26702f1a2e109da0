"""The comparison of attention methods: what its own method is, and what it may not mix up."""

import io
import re
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

import grounding
from grounding.config import LocalizerConfig, MapConfig
from grounding.datasets.files import Photographs
from grounding.datasets.flickr30k import Flickr30kEntities
from grounding.evaluation.predictions.predictor import predict
from grounding.evaluation.protocols.measure import measure
from grounding.evaluation.protocols.protocol import POINTING, recall
from grounding.evaluation.protocols.summary import image_of_phrase
from grounding.evaluation.runs.scoring import select
from grounding.images import sample_scene
from grounding.pipeline import Localizer
from grounding.tagging.classifier import Preprocessing, TagClassifier
from grounding.tagging.network import plain_network
from helpers.entities import write_entities
from helpers.paths import load_script

CAPTION = "a man in a red hat with a dog"


@pytest.fixture(scope="module")
def script():
    return load_script("compare_methods")


@pytest.fixture(scope="module")
def localizer():
    """A small network of random weights; maps are read at the output of its third ReLU, of stride 8."""
    torch.manual_seed(0)
    tags = ["dog", "man", "hat", "red", "woman", "shirt"]
    network = plain_network([(8, 2), (8, 2), (8, 2), (8, 1)], len(tags), normalised=False).eval()
    with torch.no_grad():
        network.head.weight += 0.2  # so that every method finds something
    return Localizer(TagClassifier(network, tags, Preprocessing(96), "small", map_layer=-4))


@pytest.fixture(scope="module")
def scene(localizer):
    return localizer.encode(sample_scene())


@pytest.fixture(scope="module")
def signals(localizer):
    return localizer.classifier.signals(["dog", "man"])


def test_every_method_has_maps_of_its_own(script, scene, signals):
    maps = [method(scene.encoding, signals, MapConfig()) for _, method in script.METHODS.values()]
    for of_method in maps:
        assert of_method.shape == maps[0].shape
        assert of_method.min() >= 0
        assert (of_method.amax((1, 2)) > 0).all()
        assert not of_method.requires_grad
    assert len({round(float(of_method[0].std() / of_method[0].mean()), 6) for of_method in maps}) == 6


def test_gradient_times_activation_is_of_the_mean_score_at_the_layer(script, scene, signals):
    classifier = scene.localizer.classifier
    parts = list(classifier.network.features)
    with torch.no_grad():
        layer = torch.nn.Sequential(*parts[:6])(scene.encoding.images)
    layer.requires_grad_()
    scores = classifier.network.mean_scores(torch.nn.Sequential(*parts[6:])(layer.clone()))
    maps = script.METHODS["gradient x activation"][1](scene.encoding, signals, MapConfig())
    for row, tag in enumerate(("dog", "man")):
        (gradient,) = torch.autograd.grad(scores[0, classifier.tags.index(tag)], layer, retain_graph=True)
        expected = (gradient[0] * layer[0].detach()).sum(0).clamp(min=0)
        torch.testing.assert_close(maps[row], expected, rtol=1e-4, atol=1e-7)


def test_a_method_is_asked_once_about_a_picture_and_its_words(script, localizer, scene, signals):
    calls = []

    def method(encoding, signals, config):
        calls.append(encoding)
        return torch.full((len(signals), 2, 2), float(len(calls)))

    once = script.remembering(method)
    other = localizer.encode(sample_scene())
    for encoding, rows in ((scene.encoding, signals), (other.encoding, signals), (scene.encoding, signals[:1])):
        first = once(encoding, rows, MapConfig())
        assert once(encoding, rows, MapConfig(point_smoothing=0.5)) is first
    assert calls == [scene.encoding, other.encoding, scene.encoding]


def test_the_point_hangs_on_the_smoothing_alone_and_the_boxes_on_the_power_alone(script, scene, localizer):
    """What lets pairs of settings stand for all combinations."""
    default = script.SETTINGS
    smoother = replace(default, maps=replace(default.maps, point_smoothing=0.2))
    steeper = replace(default, regions=replace(default.regions, spread_gamma=0.5))
    results = [
        list(scene.under(Localizer(localizer.classifier, config)).ground(CAPTION))
        for config in (default, smoother, steeper)
    ]
    points = [[grounded.point for grounded in result] for result in results]
    boxes = [[grounded.regions for grounded in result] for result in results]
    assert points[0] == points[2] != points[1]
    assert boxes[0] == boxes[1] != boxes[2]


def test_settings_cover_all_widths_and_powers_and_the_default(script):
    given = LocalizerConfig()
    for default in (given, replace(given, maps=replace(given.maps, point_smoothing=0.5))):
        found = script.settings_of(default)
        assert len(found) == len(set(found))
        assert default in found
        tried = found[-3:]
        assert {config.maps.point_smoothing for config in tried} == set(script.POINT_SMOOTHINGS)
        assert {config.regions.spread_gamma for config in tried} == set(script.SPREAD_GAMMAS)


def test_own_settings_are_chosen_on_their_half_and_each_by_its_protocol(script):
    """Four phrases, the first two tuned on. Pointing is best there under the first, R@1 under the last setting."""
    settings = script.settings_of(LocalizerConfig())[-3:]
    rows = {
        "point_on_any": ([1, 1, 0, 0], [1, 0, 1, 1], [0, 0, 1, 1]),
        "best_iou_1_merged": ([0, 0, 0.9, 0.9], [0.9, 0, 0.9, 0.9], [0.9, 0.6, 0.1, 0.2]),
        "merged_share": ([1, 1, 1, 1],) * 3,
    }
    columns = {
        config: pd.DataFrame({name: values[place] for name, values in rows.items()}, dtype=float)
        for place, config in enumerate(settings)
    }
    chosen, found = script.own_settings(columns, np.array([True, True, False, False]))
    assert chosen.maps.point_smoothing == settings[0].maps.point_smoothing
    assert chosen.regions.spread_gamma == settings[2].regions.spread_gamma
    assert found["point_on_any"].tolist() == [1, 1, 0, 0]
    assert found["best_iou_1_merged"].tolist() == [0.9, 0.6, 0.1, 0.2]


def table(text, number):
    """The rows of the n-th table: title -> cells."""
    rows = re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)[number].splitlines()[2:]
    return {title.strip(): [cell.strip() for cell in cells] for _, title, *cells, _ in (row.split("|") for row in rows)}


def test_the_page_reports_settings_on_the_half_that_they_were_not_chosen_on(script, localizer, tmp_path):
    """Every method points right on the even images under the first setting, on the odd ones under the second."""
    selection = select(Flickr30kEntities(write_entities(tmp_path / "entities")), "val", None, None)
    even = image_of_phrase(selection.images) % 2 == 0
    settings = script.settings_of(localizer.config)
    measured = measure(selection.images, {})
    blank = measured.assign(**dict.fromkeys(measured, 1.0))
    columns = [blank.assign(point_on_any=values.astype(float)) for values in (even, ~even, np.zeros(len(even)))]
    measured = {
        method: {localizer.config: columns[1], **dict(zip(settings[-3:], columns, strict=True))}
        for method in script.METHODS
    }
    measured["CAM"] = dict.fromkeys(settings, blank)
    text = script.page(selection, localizer, measured)
    share = f"{100 * measured['MWP'][localizer.config]['point_on_any'].mean():.1f}"
    assert table(text, 0)[script.OURS] == [share, share, "100.0", "100.0"]
    assert table(text, 0)["centre point"][2:] == ["-", "-"]
    assert table(text, 1)["CAM"][0].startswith(f"{float(share) - 100:+.1f} [")
    assert table(text, 1)["MWP"][0] == "+0.0 [+0.0, +0.0]"
    assert table(text, 2)[script.OURS][0] == f"{settings[-3].maps.point_smoothing:.3g}"
    assert table(text, 3)[script.OURS] == ["0.0", "0.0", "100.0", "100.0"]
    assert table(text, 4)["CAM"][0] == "-100.0 [-100.0, -100.0]"


def evaluated(localizer, images, photographs):
    """The columns of the package's own predictions."""
    found = {}
    for image in images:
        scene = localizer.encode(grounding.read_image(io.BytesIO(photographs.read(image.id))))
        found |= predict(scene, image)
    return measure(images, found)


@pytest.mark.slow
def test_our_columns_are_the_evaluators_under_every_setting(script, localizer, tmp_path):
    folder = write_entities(tmp_path / "entities", photographs=True)
    photographs = Photographs([folder / "photographs"])
    images = select(Flickr30kEntities(folder), "val", photographs, 2).images
    columns = script.measure_all(images, photographs, localizer)[script.OURS]
    assert list(columns) == script.settings_of(localizer.config)
    for config, found in columns.items():
        expected = evaluated(Localizer(localizer.classifier, config), images, photographs)
        pd.testing.assert_frame_equal(found, expected, check_exact=True)
    assert len({tuple(found["best_iou_1_merged"]) for found in columns.values()}) > 1


@pytest.mark.slow
def test_a_run_has_the_numbers_of_the_evaluator(script, localizer, tmp_path, monkeypatch):
    folder = write_entities(tmp_path / "entities", photographs=True)
    localizer.classifier.save_pretrained(tmp_path / "small")
    arguments = ["compare_methods.py", "--images", str(folder / "photographs"), "--annotations", str(folder)]
    arguments += ["--classifier", str(tmp_path / "small"), "--limit", "2", "--output", str(tmp_path / "page.md")]
    monkeypatch.setattr(sys, "argv", arguments)
    assert script.main() == 0
    text = (tmp_path / "page.md").read_text(encoding="utf-8")
    assert "the first 2 of 5 images" in text
    photographs = Photographs([folder / "photographs"])
    images = select(Flickr30kEntities(folder), "val", photographs, 2).images
    columns = evaluated(Localizer.from_pretrained(tmp_path / "small", script.SETTINGS), images, photographs)
    shown = [POINTING[0], POINTING[2], recall(1, "merged-box"), recall(5, "merged-box")]
    assert table(text, 0)[script.OURS] == [f"{100 * np.nanmean(one.values(columns)):.1f}" for one in shown]


def test_bad_input_is_one_line(script, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["x", "--images", str(tmp_path / "none.tar"), "--annotations", str(tmp_path)])
    assert script.main() == 2
    assert capsys.readouterr().err.startswith("error: ")
