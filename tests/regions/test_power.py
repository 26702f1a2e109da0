"""How strongly large boxes are held back, by the definition."""

from dataclasses import replace

import numpy as np
import pytest

from grounding.config import LocalizerConfig, RegionConfig
from grounding.images import sample_scene
from grounding.pipeline import Localizer
from grounding.regions.power import area_powers, closeness


def powers_by_hand(maps, people, close, config, more):
    """Slow definition, one phrase and turn at a time."""
    rows = []
    for turn in config.turns:
        row = []
        for cells, person, added in zip(maps.astype(np.float64), people, more, strict=True):
            spread_share = cells.sum() ** 2 / (cells.size * sum(value * value for value in cells.ravel()))
            power = config.gamma + config.spread_gamma * np.log(1 / spread_share) + turn + added
            if person:
                power -= config.closeness_gamma * (close - config.usual_closeness)
            row.append(max(power, 0.0))
        rows.append(row)
    return rows


@pytest.mark.parametrize("close", [-12.0, -4.2, -1.0])
@pytest.mark.parametrize("more", [0.0, 0.1, -0.3, [0.1, 0, 0, 0.2, 0, -0.5, 9]])
def test_powers_follow_the_spread_and_for_people_the_closeness(close, more):
    maps = np.random.default_rng(0).random((7, 6, 5), dtype=np.float32) ** 4
    people = [True, True, False, True, True, True, False]
    config = RegionConfig()
    added = np.broadcast_to(more, 7)
    given = more if isinstance(more, float) else np.array(more)
    powers = area_powers(maps, people, close, config, given)
    np.testing.assert_allclose(powers, powers_by_hand(maps, people, close, config, added), rtol=1e-6, atol=1e-9)
    assert added.tolist() == np.broadcast_to(given, 7).tolist()  # what is given is not changed
    assert (powers >= 0).all()


def test_without_closeness_people_are_like_anything_else():
    maps = np.full((2, 3, 3), 0.5, np.float32)
    powers = area_powers(maps, [True, False], None, RegionConfig(gamma=0.3, turns=(0.0, -0.5)))
    np.testing.assert_allclose(powers, [[0.3, 0.3], [0, 0]])


@pytest.mark.parametrize(("absent", "expected"), [(None, -3.0), ("mouth", None), ("face", None)])
def test_closeness_is_the_mean_log_odds_of_the_body_parts(absent, expected):
    parts = ("face", "hair", "hand", "head", "mouth")
    log_odds = dict(zip(parts, (-5.0, -4.0, -3.0, -2.0, -1.0), strict=True)) | {"sky": 9.0}
    log_odds.pop(absent, None)
    assert closeness(log_odds, parts) == expected


def test_only_the_boxes_of_people_know_how_close_the_photograph_is():
    classifier = Localizer.from_pretrained().classifier

    def sizes(usual):
        config = LocalizerConfig(regions=RegionConfig(usual_closeness=usual))
        found = Localizer(classifier, config).encode(sample_scene()).ground("a man", ["a man", "grass"])
        return [(phrase.best.x1 - phrase.best.x0) * (phrase.best.y1 - phrase.best.y0) for phrase in found]

    (small_man, grass), (large_man, same_grass) = sizes(usual=0.0), sizes(usual=-20.0)
    assert small_man < large_man
    assert grass == same_grass


def test_a_classifier_of_one_label_says_nothing_of_closeness(localizer, scene):
    assert -14 < scene.closeness() < 0
    one_label = Localizer(replace(localizer.classifier, multi_label=False))
    assert one_label.encode(scene.image).closeness() is None
