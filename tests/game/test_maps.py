"""The maps of a game, read back as a training reads them, against a slow oracle; and what is left out."""

import csv
import json
import math

import numpy as np
import pytest
from PIL import Image

from grounding.datasets.human_maps import Spread, read_human_maps
from grounding.game.cells import SPREAD, cells_of
from grounding.game.maps import by_picture, counted_rounds, write_clicks, write_maps, write_table
from grounding.game.pictures import read_pictures
from grounding.game.rounds import Bubble
from helpers.clickme import PLAYERS, played, spot
from helpers.human_maps import read
from helpers.labelled import refused

NAME = "cat/a.jpg"
SIZE = (120, 80)


def random_rounds(seed, count, names=(NAME,)):
    chance = np.random.default_rng(seed)
    return [
        played(name, PLAYERS[player], at=chance.uniform((0, 0), SIZE, (clicks, 2)).round(1).tolist())
        for player, clicks in enumerate(chance.integers(5, 100, count))
        for name in names
    ]


def slow_map(rounds, size=SIZE):
    """The published processing in its own words: rows of more than 10 clicks, the first 75, binary maps, their mean."""
    total, players = [[0.0] * size[0] for _ in range(size[1])], 0
    for each in rounds:
        if len(each.bubbles) <= 10:
            continue
        players += 1
        for y, x in {
            (min(math.floor(y), size[1] - 1), min(math.floor(x), size[0] - 1)) for x, y, _ in each.bubbles[:75]
        }:
            total[y][x] += 1
    return np.array(total) / players


def slow_discs(map_, diameter_px):
    """Two convolutions with an even disc, a place of it at a time; what spreads over the border is lost."""
    radius = diameter_px // 2
    disc = [
        (dy, dx)
        for dy in range(-radius, radius + 1)
        for dx in range(-radius, radius + 1)
        if dy * dy + dx * dx <= radius * radius
    ]
    height, width = map_.shape
    for _ in range(2):
        around = np.pad(map_, radius)
        shifted = (around[radius + dy :, radius + dx :][:height, :width] for dy, dx in disc)
        map_ = sum(shifted) / len(disc)
    return map_


def slow_cells(map_):
    """The mean of what each of 64 x 64 cells covers, from a map that is magnified until cells are whole pixels."""
    down, across = (64 // math.gcd(64, side) for side in map_.shape)
    large = np.repeat(np.repeat(map_, down, axis=0), across, axis=1)
    cells = large.reshape(64, large.shape[0] // 64, 64, large.shape[1] // 64).mean((1, 3))
    return cells / cells.sum()


def test_without_a_map(tmp_path):
    assert write_clicks([], tmp_path) == 0
    assert (tmp_path / "clicks.csv").read_text() == "image_path,clicks,user_id\n"
    assert "has no map of more than 10 clicks (it has no row)" in refused(read, tmp_path / "clicks.csv", {NAME: SIZE})
    assert write_maps([], tmp_path) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["clicks.csv"]


def test_a_row_by_hand(tmp_path):
    write_clicks([played(at=[(0, 0), (1.5, 2), (120, 80)])], tmp_path)
    text = (tmp_path / "clicks.csv").read_text()
    assert text == f'image_path,clicks,user_id\n{NAME},"[(0, 0), (1.5, 2), (120, 80)]",{PLAYERS[0]}\n'


@pytest.mark.parametrize("source", ["clicks.csv", "maps"])
@pytest.mark.parametrize("seed", range(2))
def test_maps_are_read_back_as_the_definition_says(tmp_path, seed, source):
    rounds = random_rounds(seed, 6)
    write_clicks(rounds, tmp_path)
    write_maps(rounds, tmp_path)
    expected = slow_map(rounds)
    plain = read(tmp_path / source, {NAME: SIZE}).maps[NAME]
    np.testing.assert_allclose(plain, slow_cells(expected), rtol=1e-5, atol=1e-8)
    size = 11 / min(SIZE)
    spread = read(tmp_path / source, {NAME: SIZE}, Spread("discs", size)).maps[NAME]
    np.testing.assert_allclose(spread, slow_cells(slow_discs(expected, 11)), rtol=1e-4, atol=1e-7)


def test_maps_at_which_players_are_compared(tmp_path):
    """Nearly what a training reads with the discs of the lab, from a map of 256 x 256 px."""
    rounds = random_rounds(3, 4)
    write_clicks(rounds, tmp_path)
    read_back = read(tmp_path / "clicks.csv", {NAME: SIZE}, SPREAD).maps[NAME]
    long_ones = [each.bubbles for each in rounds if len(each.bubbles) > 10]
    cells = cells_of(long_ones, *SIZE)
    assert cells is not None
    assert np.corrcoef(cells.ravel(), read_back.ravel())[0, 1] > 0.98
    square = cells_of([[Bubble(*place, 0)] for place in ((128, 128), (40, 200))], 256, 256)
    map_ = np.zeros((256, 256))
    map_[128, 128] = map_[200, 40] = 0.5
    np.testing.assert_allclose(square, slow_cells(slow_discs(map_, 21)), rtol=1e-4, atol=1e-7)
    assert cells_of([[]], 256, 256) is None


def test_what_is_no_map():
    good = played(at=spot(9, 9))
    others = [
        played(catch="repeat", passed=True, at=spot(9, 9)),
        played(outcome="skipped", at=spot(9, 9)),
        played(at=()),
        *[played(player=PLAYERS[1], catch="box", passed=False)] * 3,
        played(player=PLAYERS[1], at=spot(9, 9)),  # flagged
    ]
    assert counted_rounds([good, *others]) == [good]
    assert by_picture([good, *others]) == {NAME: [good]}


def test_of_a_player_who_saw_a_picture_twice_the_first_round_counts(tmp_path):
    rounds = [played(at=spot(9, 9)), played(at=spot(80, 60)), played(player=PLAYERS[1], at=[(1, 1)])]
    assert by_picture(rounds) == {NAME: rounds[:1]}
    write_clicks(rounds, tmp_path)
    found = read(tmp_path / "clicks.csv", {NAME: SIZE})
    assert sum(found.left_out.values()) == 2
    np.testing.assert_allclose(found.maps[NAME], slow_cells(slow_map(rounds[:1])), rtol=1e-5, atol=1e-8)


def test_pixels_count_players(tmp_path):
    names = ["cat/a.b.jpg", "dog/c.png"]
    rounds = [played(name, PLAYERS[place % 39], at=spot(9, 9)) for place in range(3) for name in names]
    assert write_maps(rounds, tmp_path) == 2
    assert sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.png")) == [
        "maps/cat/a.b.png",
        "maps/dog/c.png",
    ]
    with Image.open(tmp_path / "maps" / "dog" / "c.png") as image:
        counts = np.asarray(image)
    assert counts.shape == (80, 120)
    assert {(x, y) for y, x in np.argwhere(counts == 3)} == set(spot(9, 9))
    assert counts.sum() == 36
    found = read_human_maps(tmp_path / "maps", names, lambda _: SIZE, Spread("none"))
    assert set(found.maps) == set(names)
    write_maps(rounds[:1], tmp_path)  # whole again
    assert [path.name for path in tmp_path.rglob("*.png")] == ["a.b.png"]


def test_over_255_players(tmp_path):
    rounds = [played(player=f"{number:016x}", at=spot(9, 9)) for number in range(300)]
    write_maps(rounds, tmp_path)
    with Image.open(tmp_path / "maps" / "cat" / "a.png") as image:
        assert np.asarray(image).max() == 300
    assert set(read(tmp_path / "maps", {NAME: SIZE}).maps) == {NAME}


def test_names_that_need_quotes(tmp_path):
    name = 'cat/a, "b"\n{c}.jpg'
    write_clicks([played(name, at=spot(9, 9))], tmp_path)
    with (tmp_path / "clicks.csv").open(newline="") as file:
        assert [row["image_path"] for row in csv.DictReader(file)] == [name]
    assert set(read(tmp_path / "clicks.csv", {name: SIZE}).maps) == {name}


def test_the_table_of_the_pictures(tmp_path):
    (tmp_path / "p" / "hot_dog").mkdir(parents=True)
    Image.new("RGB", (3, 3)).save(tmp_path / "p" / "hot_dog" / "ä.jpg")
    (tmp_path / "game").mkdir()
    write_table(read_pictures(tmp_path / "p").pictures, tmp_path / "game")
    (line,) = (tmp_path / "game" / "table.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(line) == {"image": "../p/hot_dog/ä.jpg", "labels": ["hot dog"], "id": "hot_dog/ä.jpg"}
