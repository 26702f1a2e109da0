"""The curve of one's own words: which pictures are drawn, what a scene is, how answers are counted."""

import io
import sys
import tarfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from helpers.paths import SHARED, load_script

BIRDS = "data/cub_200_2011_50classes.tar"


@pytest.fixture(scope="module")
def script():
    return load_script("measure_own_words")


def write_birds(path):
    """Invented photographs of two families and of one that is not asked for, in the layout of CUB-200-2011."""
    rows = [(n, name) for n, name in enumerate(("001.Sooty_Albatross", "050.Eared_Grebe", "099.Ovenbird") * 4, start=1)]
    files = {
        "images.txt": "".join(f"{n} {name}/{n}.jpg\n" for n, name in rows),
        "bounding_boxes.txt": "".join(f"{n} 10.0 20.0 30.0 5.0\n" for n, _ in rows),
        "train_test_split.txt": "".join(f"{n} {int(n <= 6)}\n" for n, _ in rows),
    }
    with tarfile.open(path, "w") as tar:
        for name, text in files.items():
            add(tar, name, text.encode())
        for n, name in rows:
            content = io.BytesIO()
            Image.new("RGB", (80, 40), (20 * n, 0, 0)).save(content, "JPEG")
            add(tar, f"images/{name}/{n}.jpg", content.getvalue())
    return path


def add(tar, name, content):
    member = tarfile.TarInfo(f"CUB_200_2011/{name}")
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))


def test_birds_are_read(script, tmp_path):
    birds = script.read_birds(write_birds(tmp_path / "cub.tar"), tmp_path)
    assert [bird.word for bird in birds] == ["albatross", "grebe"] * 4
    assert [bird.train for bird in birds] == [True] * 4 + [False] * 4
    assert {bird.box for bird in birds} == {(10.0, 20.0, 40.0, 25.0)}
    assert all(bird.path.is_file() for bird in birds)


def test_pictures_are_drawn_evenly_and_anew(script):
    words = ["crow"] * 9 + ["grebe"] * 3 + ["finch"]
    birds = [script.Bird(Path(str(n)), word, (0, 0, 1, 1), True) for n, word in enumerate(words)]
    chosen = [bird.word for bird in script.choose(birds, 6, 0)]
    assert {word: chosen.count(word) for word in set(chosen)} == {"crow": 3, "grebe": 2, "finch": 1} or (
        {word: chosen.count(word) for word in set(chosen)} == {"crow": 2, "grebe": 3, "finch": 1}
    )
    assert script.choose(birds, 6, 0) == script.choose(birds, 6, 0) != script.choose(birds, 6, 1)
    assert len(script.choose(birds, 99, 0)) == 13


def test_a_scene_of_four_has_each_box_where_its_photograph_is(script, tmp_path):
    Image.new("RGB", (448, 224)).save(tmp_path / "a.png")
    birds = [script.Bird(tmp_path / "a.png", word, (112, 56, 224, 112), False) for word in script.WORDS]
    scene = next(script.scenes_of_four(birds, 1))
    assert scene.pixels.shape == (448, 448, 3)
    assert len(set(scene.words)) == 4
    assert np.allclose(
        scene.boxes, [[56, 56, 112, 112], [280, 56, 336, 112], [56, 280, 112, 336], [280, 280, 336, 336]]
    )
    assert not script.centre_hits([scene]).any()
    assert script.centre_hits([script.Scene(np.zeros((10, 20, 3)), ["crow"], [(9, 4, 11, 6)])]).all()


def test_answers_are_points_in_boxes_and_overlaps(script):
    region = SimpleNamespace(x0=0.0, y0=0.0, x1=10.0, y1=10.0)
    found = [SimpleNamespace(point=(2.0, 2.0), best=region), SimpleNamespace(point=None, best=None)]
    localizer = SimpleNamespace(encode=lambda pixels: SimpleNamespace(ground=lambda phrases, top_k: found))
    hits, overlaps = script.answers(localizer, [script.Scene(np.zeros((9, 9, 3)), ["a", "b"], [(0, 0, 5, 10)] * 2)])
    assert (hits.tolist(), overlaps.tolist()) == ([[True, False]], [[0.5, 0.0]])


def test_the_whole_image_is_as_right_as_the_box_is_large(script):
    assert script.whole_image(script.Scene(np.zeros((10, 20, 3)), ["crow"], [(5, 0, 15, 8)])) == pytest.approx(0.4)


def test_the_interval_is_of_scenes(script):
    assert script.interval(np.ones((9, 4))) == (100.0, 100.0)
    low, high = script.interval(np.repeat([[0.0, 0.0], [1.0, 1.0]], 50, axis=0))  # sd of the mean: 0.05
    assert low == pytest.approx(40, abs=2)
    assert high == pytest.approx(60, abs=2)


def test_rows_replace_those_of_the_same_training(script, tmp_path):
    path = tmp_path / "r.csv"
    for value in (10.0, 30.0):
        script.add(path, {"data": "birds", "start": "embedded", "pictures": 50, "seed": 0, "pointing_of_four": value})
    script.add(path, {"data": "birds", "start": "embedded", "pictures": 50, "seed": 1, "pointing_of_four": 40.0})
    rows = pd.read_csv(path)
    assert rows["pointing_of_four"].tolist() == [30.0, 40.0]
    assert script.table(rows).splitlines()[-1] == "| birds | embedded | 50 | 2 | 35.0 (30.0 to 40.0) |"


@pytest.mark.slow
def test_a_small_curve(script, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(script, "WORDS", ("albatross", "grebe"))
    monkeypatch.setattr(script, "scenes_of_four", script.single_scenes)
    learn = script.learn
    small = ("tags=2", "epochs=1", "inference_size_px=64")
    monkeypatch.setattr(script, "learn", lambda *given: learn(*given, *small))
    write_birds(tmp_path / "cub.tar")
    arguments = [
        "--birds",
        tmp_path / "cub.tar",
        "--counts",
        4,
        "--seeds",
        1,
        "--scenes",
        2,
        "--output",
        tmp_path / "r.csv",
    ]
    monkeypatch.setattr(sys, "argv", ["measure_own_words.py", *map(str, arguments)])
    assert script.main() == 0
    rows = pd.read_csv(tmp_path / "r.csv")
    assert rows["start"].tolist() == ["the tag bird, nothing learnt", "embedded"]
    assert rows["pictures"].tolist() == [0, 4]
    assert rows["centre_point_alone"].tolist() == rows["whole_image_alone"].tolist() == [0.0, 0.0]
    assert "| birds | embedded | 4 | 1 |" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.skipif(not (SHARED / BIRDS).is_file(), reason=f"needs ../shared/{BIRDS}")
def test_sixty_pictures_teach_twenty_words(script, tmp_path, monkeypatch):
    given = ["--birds", SHARED / BIRDS, "--counts", 60, "--seeds", 1, "--scenes", 30, "--output", tmp_path / "r.csv"]
    monkeypatch.setattr(sys, "argv", ["measure_own_words.py", *map(str, given)])
    assert script.main() == 0
    nothing, learnt = pd.read_csv(tmp_path / "r.csv")["pointing_of_four"]
    assert nothing < 26  # one point for four words: at most a quarter, and what chance adds
    assert learnt > 32  # 42 to 45 with 50 pictures on 80 scenes, whose standard error is 2.7 points
