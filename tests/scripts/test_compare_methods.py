"""The comparison of attention methods: its maps against slow definitions, and what it may not mix up."""

import io
import itertools
import re
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

import grounding
from grounding.attention import mwp
from grounding.config import LocalizerConfig
from grounding.datasets.files import Photographs
from grounding.datasets.flickr30k import Flickr30kEntities
from grounding.errors import GroundingError
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
def network():
    """Three convolutions, three tags, log-sum-exp pooling; float64."""
    torch.manual_seed(0)
    return plain_network([(4, 2), (5, 1), (6, 1)], 3, normalised=False).double().eval()


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
def picture():
    return torch.rand(1, 3, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def layer_of(network, picture):
    """The output of the first ReLU, (1, 4, 4, 4)."""
    with torch.no_grad():
        return network.features[1](network.features[0](picture))


def scores_from(network, layer, pooled):
    """(1, T) from the output of the first ReLU, step by step."""
    with torch.no_grad():
        features = layer
        for module in list(network.features)[2:]:
            features = module(features)
        if pooled:
            return network.pool(network.local_scores(features), features)
        return features.mean((2, 3)) @ network.head.weight.T + network.head.bias


def slow_gradients(network, layer, tag, pooled, step=1e-6):
    """(C, h, w) by central differences."""
    found = torch.zeros_like(layer[0])
    for place in itertools.product(*map(range, found.shape)):
        moved = [layer.clone(), layer.clone()]
        for sign, one in zip((1, -1), moved, strict=True):
            one[0][place] += sign * step
        high, low = (float(scores_from(network, one, pooled)[0, tag]) for one in moved)
        found[place] = (high - low) / (2 * step)
    return found


def test_cam_against_its_definition(script):
    random = torch.Generator().manual_seed(0)
    features, weights = torch.rand(4, 2, 3, generator=random), torch.randn(3, 4, generator=random)
    found = script.cam(features, weights)
    for word, row, column in itertools.product(range(3), range(2), range(3)):
        score = sum(float(weights[word, c] * features[c, row, column]) for c in range(4))
        assert float(found[word, row, column]) == pytest.approx(max(score, 0), abs=1e-6)
    assert (found == 0).any()
    assert (found > 0).any()


@pytest.mark.parametrize("pooled", [True, False])
def test_gradient_methods_against_their_definitions(script, network, picture, pooled):
    layer = layer_of(network, picture)
    leaf, features = script.run_above(network, picture, layer)
    assert torch.equal(leaf.detach(), layer)
    logits = network.pool(network.local_scores(features), features)
    scores = logits if pooled else network.mean_scores(features)
    gradients = script.gradients_at(leaf, scores, torch.eye(3, dtype=torch.float64)[[2, 0]])
    cams, products = script.grad_cam(layer[0], gradients), script.gradient_times_activation(layer[0], gradients)
    assert cams.shape == products.shape == (2, 4, 4)
    for row, tag in enumerate((2, 0)):
        slow = slow_gradients(network, layer, tag, pooled)
        torch.testing.assert_close(gradients[row], slow, rtol=1e-5, atol=1e-8)
        weight = [float(slow[c].sum()) / 16 for c in range(4)]
        for y, x in itertools.product(range(4), range(4)):
            values = [float(layer[0, c, y, x]) for c in range(4)]
            by_channel = sum(w * v for w, v in zip(weight, values, strict=True))
            by_place = sum(float(slow[c, y, x]) * v for c, v in enumerate(values))
            assert float(cams[row, y, x]) == pytest.approx(max(by_channel, 0), abs=1e-8)
            assert float(products[row, y, x]) == pytest.approx(max(by_place, 0), abs=1e-8)
    assert cams.max() > 0 < products.max()


def test_the_network_is_left_without_hooks_and_gradients(script, network, picture):
    script.run_above(network, picture, layer_of(network, picture))
    with pytest.raises(GroundingError, match="no module of the network ends at the layer"):
        script.run_above(network, picture, torch.zeros(1, 4, 4, 4, dtype=torch.float64) - 1)
    assert not any(module._forward_hooks for module in network.modules())
    assert all(parameter.grad is None for parameter in network.parameters())


def test_every_method_has_a_map_of_one_kind(script, scene):
    maps = script.word_maps(scene, ("dog", "man"))
    assert list(maps) == list(script.METHODS)
    for of_tags in maps.values():
        assert list(of_tags) == ["dog", "man"]
        for map_ in of_tags.values():
            assert map_.shape == maps[script.OURS]["dog"].shape
            assert map_.min() >= 0 < map_.max()
            assert not map_.requires_grad
    assert len({round(float(of_tags["dog"].std() / of_tags["dog"].mean()), 6) for of_tags in maps.values()}) == 6
    assert script.word_maps(scene, ()) == {method: {} for method in script.METHODS}


def test_mwp_and_grad_cam_of_a_scene_are_of_the_layer_and_the_score_they_say(script, scene):
    classifier = scene.localizer.classifier
    network, index = classifier.network, classifier.tags.index("dog")
    maps = {method: of_tags["dog"] for method, of_tags in script.word_maps(scene, ("man", "dog")).items()}
    below, above = (torch.nn.Sequential(*part) for part in (list(network.features)[:6], list(network.features)[6:]))
    with torch.no_grad():
        layer = below(classifier.preprocessing(scene.image))
    layer.requires_grad_()
    features = above(layer.clone())
    scores = {
        "Grad-CAM": network.pool(network.local_scores(features), features),
        "Grad-CAM, mean score": network.mean_scores(features),
    }
    for method, made in scores.items():
        (gradient,) = torch.autograd.grad(made[0, index], layer, retain_graph=True)
        weights = gradient[0].sum((1, 2)) / gradient[0, 0].numel()
        expected = (weights[:, None, None] * layer[0].detach()).sum(0).clamp(min=0)
        torch.testing.assert_close(maps[method], expected, rtol=1e-4, atol=1e-7)
        product = (gradient[0] * layer[0].detach()).sum(0).clamp(min=0)
    torch.testing.assert_close(maps["gradient x activation"], product, rtol=1e-4, atol=1e-7)
    walked = mwp(scene._tape, torch.eye(len(classifier.tags))[[index]], layer=-4, channels=True).transpose(0, 1)
    torch.testing.assert_close(maps["MWP"], walked[0, 0].sum(0))


def test_cam_of_a_scene_is_the_local_scores_without_bias(script, scene):
    """Against the classifier's own local scores."""
    classifier = scene.localizer.classifier
    network, index = classifier.network, classifier.tags.index("dog")
    with torch.no_grad():
        local = network.local_scores(network.features(classifier.preprocessing(scene.image)))[0, index]
        expected = (local - network.head.bias[index]).clamp(min=0)
    torch.testing.assert_close(script.word_maps(scene, ("dog",))["CAM"]["dog"], expected, rtol=1e-4, atol=1e-4)


def test_our_method_is_the_package_and_another_changes_the_maps_only(script, scene, localizer):
    def maps(tags):
        return script.word_maps(scene, tags)

    def ground(method):
        return list(script.OtherScene(scene, localizer.config, method, maps).ground(CAPTION))

    for found, plain in zip(ground(script.OURS), scene.ground(CAPTION), strict=True):
        assert (found.point, found.regions, found.status) == (plain.point, plain.regions, plain.status)
        np.testing.assert_array_equal(found.grid_map, plain.grid_map)
    for found, plain in zip(ground("CAM"), scene.ground(CAPTION), strict=True):
        assert (found.phrase, found.words, found.status) == (plain.phrase, plain.words, plain.status)
        assert not np.array_equal(found.grid_map, plain.grid_map)


def test_the_point_hangs_on_the_smoothing_alone_and_the_boxes_on_the_power_alone(script, scene, localizer):
    """What lets pairs of settings stand for all combinations."""
    default = localizer.config
    smoother = replace(default, maps=replace(default.maps, point_smoothing=0.2))
    steeper = replace(default, regions=replace(default.regions, spread_gamma=0.5))
    results = []
    for config in (default, smoother, steeper):
        other = script.OtherScene(scene, config, script.OURS, lambda tags: {script.OURS: scene._word_maps(tags)})
        results.append(list(other.ground(CAPTION)))
    points = [[found.point for found in result] for result in results]
    boxes = [[found.regions for found in result] for result in results]
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
    columns = evaluated(Localizer.from_pretrained(tmp_path / "small"), images, photographs)
    shown = [POINTING[0], POINTING[2], recall(1, "merged-box"), recall(5, "merged-box")]
    assert table(text, 0)[script.OURS] == [f"{100 * np.nanmean(one.values(columns)):.1f}" for one in shown]


def test_bad_input_is_one_line(script, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["x", "--images", str(tmp_path / "none.tar"), "--annotations", str(tmp_path)])
    assert script.main() == 2
    assert capsys.readouterr().err.startswith("error: ")
