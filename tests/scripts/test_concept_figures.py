"""The numbers of docs/concepts: worked in fractions, by the engine, and as the pages and their pictures say them."""

import importlib
import json
import re
from fractions import Fraction
from itertools import product
from types import SimpleNamespace
from typing import get_args
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from grounding import attention
from grounding.evaluation.protocols.protocol import POINTING
from grounding.grounded import Status
from helpers.paths import ROOT

PAGES = ROOT / "docs" / "concepts"
IMAGES = ROOT / "docs" / "images" / "concepts"
DOG, CAT = (1, 0), (0, 1)


def page(name):
    return " ".join((PAGES / f"{name}.md").read_text().split())


@pytest.fixture
def network(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "scripts")
    return importlib.import_module("concept_network")


@pytest.fixture
def figures(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "scripts")
    return importlib.import_module("concept_figures")


@pytest.fixture(scope="module")
def scenes(localizer):
    made = {}

    def scene_of(figures, name):
        if name not in made:
            made[name] = localizer.encode(figures.picture_of(name))
        return made[name]

    return scene_of


def by_paths(network, word, sign):
    """MWP of one word at the inputs: the sum over all ways down of the products of the winners' chances."""

    def chance(weights, values, taken):
        speaks = [max(Fraction(weight), Fraction(0)) * value for weight, value in zip(weights, values, strict=True)]
        return speaks[taken] / sum(speaks) if sum(speaks) else Fraction(0)

    hidden = [max(0, sum(v * x for v, x in zip(row, network.X, strict=True))) for row in network.V]
    found = [Fraction(0)] * 3
    for unit, place in product(range(3), range(3)):
        first = chance([sign * weight for weight in network.W[word]], hidden, unit)
        found[place] += first * chance(network.V[unit], network.X, place)
    return found


@pytest.mark.parametrize("signal", [DOG, CAT])
def test_the_walk_in_fractions_is_the_sum_over_all_ways_down(network, signal):
    word = signal.index(1)
    ours, dual = by_paths(network, word, 1), by_paths(network, word, -1)
    assert list(network.walk(signal).inputs) == ours
    assert list(network.walk(signal, dual=True).inputs) == dual
    assert list(network.contrastive(signal).inputs) == [a - b for a, b in zip(ours, dual, strict=True)]
    assert sum(ours) == sum(dual) == 1


def test_a_unit_that_nothing_speaks_for_shares_nothing(network):
    assert network.shares((-1, 0, 2), (3, 5, 0)) == (0, 0, 0)
    assert network.shares((-1, 1, 3), (3, 5, 1)) == (0, Fraction(5, 8), Fraction(3, 8))


def test_the_engine_gives_the_fractions_that_are_drawn(network):
    model = nn.Sequential(nn.Linear(3, 3, bias=False), nn.ReLU(), nn.Linear(3, 2, bias=False)).double().eval()
    model.load_state_dict({"0.weight": torch.tensor(network.V).double(), "2.weight": torch.tensor(network.W).double()})
    tape = attention.record(model, torch.tensor([network.X]).double())
    assert tape.scores[0].tolist() == list(network.scores())
    for walk, drawn in ((attention.mwp, network.walk), (attention.contrastive_mwp, network.contrastive)):
        for layer, part in (("1", "hidden"), (0, "inputs")):
            found = walk(tape, torch.eye(2).double(), layer=layer, channels=True)[0].tolist()
            expected = [[float(p) for p in getattr(drawn(signal), part)] for signal in (DOG, CAT)]
            assert found == pytest.approx(np.array(expected), abs=1e-12)


def value(term):
    """Of a sum of products, such as 2/3 · 1/6 + 1/3."""
    total = Fraction(0)
    for sign, part in re.findall(r"([+-]?)\s*([^+-]+)", term):
        factors = [Fraction(number.replace(" ", "")) for number in part.split("·")]
        total += (-1 if sign == "-" else 1) * np.prod(factors)
    return total


def test_all_that_is_worked_on_the_page_is_right(network):
    lines = (PAGES / "winning-probability.md").read_text().splitlines()
    ends = {}
    for line in lines:
        table = re.match(r"\| (\w+) \| ([-\d, ]+) \| (.*=.*) \|", line)
        worked = re.match(r"    (x\d): (.*=.*)", line)
        if table or worked:
            name, chain = (table or worked).group(1), (table.group(3) if table else worked.group(2))
            values = [value(re.sub(r"(?<=[·\d]) *-(?=\d)", r"-", side).strip()) for side in chain.split("=")]
            assert len(set(values)) == 1, line
            ends[name] = values[-1]
        if table:
            weights = dict(zip((*network.HIDDEN, *network.WORDS), (*network.V, *network.W), strict=True))
            assert tuple(int(number) for number in table.group(2).split(",")) == weights[table.group(1)]
    units = (*network.INPUTS, *network.HIDDEN, *network.WORDS)
    expected = (*network.walk(DOG).inputs, *network.hidden_units(), *network.scores())
    assert ends == dict(zip(units, expected, strict=True))
    assert "h1: 12 / 18 = 2/3        h2: 6 / 18 = 1/3" in "\n".join(lines)


def test_the_columns_of_the_contrast_are_right(network):
    text = (PAGES / "contrast.md").read_text()
    for begins, parts in (
        ("MWP of dog", network.walk(DOG).inputs),
        ("less its dual MWP", network.walk(DOG, dual=True).inputs),
        ("contrastive MWP", network.contrastive(DOG).inputs),
    ):
        (row,) = re.findall(rf"^    {begins} +(\S+) +(\S+) +(\S+)$", text, re.MULTILINE)
        assert tuple(Fraction(number) for number in row) == parts


def test_the_diagrams_are_those_of_the_network(network, figures):
    drawn = figures.diagrams()
    for name, text in drawn.items():
        assert (IMAGES / name).read_text() == text, f"{name}: draw it again"
    carried = network.contrastive(DOG)
    tree = ElementTree.fromstring(drawn["contrast-network.svg"])
    panel = list(tree)[-1]
    texts = [element.text for element in panel.iter("{http://www.w3.org/2000/svg}text")]
    flows = [p for p in (*carried.to_hidden.values(), *carried.to_inputs.values()) if p]
    units = [*carried.words, *carried.hidden, *carried.inputs]
    names = [*network.WORDS, *network.HIDDEN, *network.INPUTS]
    assert sorted(texts[1:]) == sorted([*map(str, flows), *map(str, units), *names])
    lines = list(panel.iter("{http://www.w3.org/2000/svg}line"))
    widths = [float(line.get("stroke-width")) for line in lines]
    every = [*carried.to_hidden.values(), *carried.to_inputs.values()]
    assert widths == pytest.approx([1.5 + 16 * abs(float(p)) if p else 1 for p in every], abs=1e-3)
    assert [line.get("stroke") == "#1864ab" for line in lines] == [p < 0 for p in every]


def test_the_table_of_powers_is_right():
    masses = np.array([0, 6, 3, 1]) / 10
    rows = {"second cell": (1, 2), "second and third": (1, 3), "second to fourth": (1, 4), "all": (0, 4)}
    text = (PAGES / "maps-and-boxes.md").read_text()
    for name, (first, last) in rows.items():
        (row,) = re.findall(rf"^\| {name} \| (.*) \|$", text, re.MULTILINE)
        share, area, *scores = (cell.strip().strip("*") for cell in row.split("|"))
        assert float(Fraction(share)) == pytest.approx(masses[first:last].sum())
        assert Fraction(area) == Fraction(last - first, 4)
        expected = [Fraction(share) / float(Fraction(area)) ** power for power in (0, 0.5, 1)]
        assert [float(score) for score in scores] == pytest.approx(expected, abs=0.005)


def test_the_calibration_errors_are_those_of_the_plots(figures):
    """Ten groups: of presence with the same weight, since either label counts half, of scores by their size."""
    measured = json.loads((IMAGES / "reliability.json").read_text())
    rows = {"presence": "its calibration error (ten groups, either kind half)", "scores": "its calibration error"}
    for name, row in rows.items():
        weights = [each["count"] if name == "scores" else 1 for each in measured[name]]
        error = np.average([abs(each["mean"] - each["value"] / 100) for each in measured[name]], weights=weights)
        assert re.search(re.escape(f"| {row} | | {error:.3f} ["), page("presence")), name
    first, *_, last = measured["scores"]
    assert f"score of {first['mean']:.2f}, {first['value']:.0f}% are right" in page("presence")
    assert f"of those with {last['mean']:.2f}, {last['value']:.0f}%" in page("presence")
    assert (IMAGES / "reliability.svg").read_text() == figures.draw_reliability()
    dots = ElementTree.fromstring(figures.draw_reliability()).iter("{http://www.w3.org/2000/svg}circle")
    places = [(float(dot.get("cx")) / 260, 100 - float(dot.get("cy")) / 2.6) for dot in dots]
    expected = [(each["mean"], each["value"]) for name in ("presence", "scores") for each in measured[name]]
    assert np.array(places) == pytest.approx(np.array(expected), abs=0.05)


def test_the_table_of_thresholds(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "scripts")
    table = importlib.import_module("presence_thresholds").table
    head, _, row = table([0.2, 0.6, 0.6, 0.9], [0.1, 0.1, 0.1, 0.6], [0.6]).splitlines()
    assert head == "| threshold | there, called absent | not there, called absent | kept and there: half | one in ten |"
    assert row == "| 0.6 | 25.0 | 75.0 | 75 | 25 |"  # keeps 3/4 and 1/4: 3 : 1, and 0.3 : 0.9


def test_the_pictures_are_small_and_each_is_on_a_page():
    shown = {name: (PAGES / name).read_text() for name in (path.name for path in PAGES.glob("*.md"))}
    for path in IMAGES.iterdir():
        if path.suffix == ".json":
            continue
        assert path.stat().st_size <= 120_000, path
        alone = rf"!\[[^\]]{{40,}}\]\(\.\./images/concepts/{re.escape(path.name)}\)"
        assert sum(len(re.findall(alone, text)) for text in shown.values()) == 1, path


def test_the_script_writes_every_picture(figures, monkeypatch, tmp_path):
    (tmp_path / "reliability.json").write_text((IMAGES / "reliability.json").read_text())
    names = {path.name for path in IMAGES.iterdir()} - {"contrast-photo.jpg"}  # asks for weights
    drawn = {name: (lambda: Image.new("RGB", (9, 9))) for name in names if name.endswith(".jpg")}
    monkeypatch.setattr(figures, "IMAGES", tmp_path)
    monkeypatch.setattr(figures, "Localizer", SimpleNamespace(from_pretrained=lambda: None))
    monkeypatch.setattr(figures, "photographs", lambda _: drawn)
    monkeypatch.setattr("sys.argv", ["concept_figures.py"])
    assert figures.main() == 0
    assert {path.name for path in tmp_path.iterdir()} == names


def test_panels_stand_beside_each_other(figures):
    panels = [(Image.new("RGB", size, "red"), ["one", "two"][:count]) for size, count in (((20, 10), 2), ((10, 10), 1))]
    row = np.asarray(figures.side_by_side(panels, 50))
    red = (row == (255, 0, 0)).all(2)
    assert red[:50, :100].all()
    assert red[:50, 112:].all()
    assert row.shape[1] == 162
    assert (row[:, 100:112] == 255).all()
    dark = (row[50:] < 128).all(2)
    first, second = dark[:25], dark[27:]
    assert first[:, :100].any()
    assert second[:, :100].any()
    assert first[:, 112:].any()
    assert not second[:, 112:].any()


def test_a_word_walks_down(figures, scenes):
    found = figures.walked(scenes(figures, "astronaut"), "face")
    assert list(found) == list(figures.LAYERS)
    masses = [mass for _, mass in found.values()]
    assert masses[:-1] == pytest.approx([1] * 4, abs=1e-4)
    assert f"to {masses[-1]:.2f} at the pixels of the first photograph" in page("winning-probability")
    assert all(mass == pytest.approx(float(map_.sum()), abs=1e-4) for map_, mass in found.values())


def test_contrast_tells_words_apart(figures, scenes):
    face, american = figures.told(scenes(figures, "astronaut"), ("face", "american")).values()
    for maps in (face, american):
        assert torch.allclose(maps.mwp - maps.dual, maps.contrastive)
        assert float(maps.contrastive.sum()) == pytest.approx(0, abs=1e-3)
        assert float(maps.mwp.min()) >= 0
        assert float(maps.dual.min()) >= -1e-6
    alike, apart = figures.likeness(face.mwp, american.mwp), figures.likeness(face.contrastive, american.contrastive)
    assert f'"face" and "american" correlate by {alike:.2f}; the contrasts by {apart:.2f}' in page("contrast")


def test_maps_and_boxes_are_as_the_page_says(figures, localizer, scenes):
    text = page("maps-and-boxes")
    for name, phrase in figures.EXTENTS:
        caption = next(photograph.caption for photograph in figures.PHOTOGRAPHS if photograph.name == name)
        entry, true = scenes(figures, name).ground(caption)[phrase], figures.TRUTHS[name][phrase]
        assert f'"{phrase}", IoU {figures.overlap(entry, true):.2f}' in text
        if phrase == "a black coat":
            assert f"{figures.share_inside(entry, true):.0%} of the map is inside the true box" in text
        if phrase == "a camera":
            assert f"{figures.share_inside(entry, true):.0%} of the map is on the camera" in text
            area = (true[2] - true[0]) * (true[3] - true[1]) / 512**2
            assert f"The true box is {area:.1%} of the picture" in text
    scene = scenes(figures, "sample scene")
    (hat,) = scene.ground(phrases=["a red hat"])
    windows = figures.best_windows(scene, hat, figures.POWERS)
    assert windows == [(0, 0, 512, 512), (96, 0, 320, 192), (160, 96, 192, 128)]
    assert f"For the hat above γ is {figures.own_power(scene, hat):.2f}" in text
    assert figures.share_inside(hat, (0, 0, 512, 512)) == pytest.approx(1, abs=1e-5)


def test_what_is_said_of_things_that_are_not_there(figures, scenes):
    text = page("limits")
    for name, phrase, _ in figures.FAILURES:
        (entry,) = scenes(figures, name).ground(phrases=[phrase])
        assert entry.status == "localized"
        assert re.search(rf'"{phrase}",( presence)? {entry.presence:.2f}', text), phrase
    man, camera, dog = scenes(figures, "camera").ground(phrases=figures.PRESENT)
    assert (man.status, camera.status, dog.status) == ("localized", "localized", "absent")
    asked = f"a man (presence {man.presence:.2f}), a camera ({camera.presence:.2f}) and a dog ({dog.presence:.2f})"
    assert asked in page("presence")
    tags = dict(scenes(figures, "astronaut").tags(1000))
    assert max(tags[tag] for tag in ("woman", "girl", "lady", "person", "child")) < min(tags["boy"], tags["man"])
    assert f'"boy" ({tags["boy"]:.2f}) and "man" ({tags["man"]:.2f}); "woman" has {tags["woman"]:.2f}' in text


def test_the_glossary_has_every_status_protocol_and_link():
    text = (PAGES / "glossary.md").read_text()
    anchors = re.findall(r'<a id="([^"]+)">', text)
    assert len(anchors) == len(set(anchors)) > 60
    assert set(get_args(Status)) <= set(anchors)
    assert all(f"`{protocol.name}`" in text for protocol in POINTING)
    entries = re.findall(r'^- <a id="[^"]+"></a>\*\*.+?\*\*: .+?(?=^- |^$)', text, re.MULTILINE | re.DOTALL)
    assert len(entries) == len(anchors)
    for path in PAGES.glob("*.md"):
        for anchor in re.findall(r"\(glossary\.md#([^)]+)\)", path.read_text()):
            assert anchor in anchors, path
