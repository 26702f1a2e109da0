"""Two real pictures, who guesses about them, and a game."""

import pytest


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    from helpers.clickme import write_pictures

    return write_pictures(tmp_path_factory.mktemp("pictures"), ["cat", "man"])


@pytest.fixture(scope="module")
def guesser(images, localizer):
    from grounding.game.pictures import read_pictures
    from helpers.clickme import guesser_of

    return guesser_of(read_pictures(images).pictures, localizer.classifier)


@pytest.fixture
def game(images, guesser, tmp_path):
    from helpers.clickme import game_in

    with game_in(images, tmp_path / "game", guesser, seconds=20) as made:
        yield made
