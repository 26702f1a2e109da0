"""Real pictures in folders of their categories, and games on them."""

import contextlib

import torch
from PIL import Image

from grounding.game.guesser import Guesser
from grounding.game.log import round_log
from grounding.game.pictures import read_pictures
from grounding.game.play import Game
from grounding.game.rounds import Bubble, Round
from grounding.images import sample_scene

PLAYERS = [f"{number:016x}" for number in range(1, 40)]


def write_pictures(folder, categories=None):
    """CC0 and public-domain photographs as `<category>/<name>.jpg`, at most 480 px wide."""
    from skimage import data

    known = {
        "cat": ("chelsea", data.chelsea),
        "cup": ("coffee", data.coffee),
        "woman": ("astronaut", data.astronaut),
        "man": ("camera", sample_scene),
        "rocket": ("launch", data.rocket),
    }
    for category in categories or known:
        name, read = known[category]
        (folder / category).mkdir(parents=True)
        image = Image.fromarray(read()).convert("RGB")
        image.thumbnail((480, 480))
        image.save(folder / category / f"{name}.jpg", quality=90)
    return folder


@contextlib.contextmanager
def game_in(images, output, guesser, seconds=30.0, **options):
    """A game of the pictures of a folder, with its log open; with a guesser of them, or a classifier."""
    pictures = read_pictures(images).pictures
    if not isinstance(guesser, Guesser):
        guesser = guesser_of(pictures, guesser)
    with round_log(output) as log:
        yield Game(pictures, guesser, log, seconds, **options)


def guesser_of(pictures, classifier):
    """A classifier that has looked at the pictures, and guesses among their categories."""
    guesser = Guesser(classifier, [picture.category for picture in pictures], torch.device("cpu"))
    guesser.look_at(pictures)
    return guesser


def played(picture="cat/a.jpg", player=PLAYERS[0], at=((10, 10),), **changed):
    """A round of a picture of 120 x 80 px, with a bubble at each place."""
    values = {"category": "cat", "width": 120, "height": 80, "outcome": "time", "time_s": 3.0, "points": 0}
    bubbles = tuple(Bubble(float(x), float(y), place / 10) for place, (x, y) in enumerate(at))
    return Round(picture=picture, player=player, bubbles=bubbles, **{**values, "pointer": "mouse", **changed})


def spot(x, y, count=12):
    """So many places close to one, each another pixel."""
    return [(x + place % 4, y + place // 4) for place in range(count)]
