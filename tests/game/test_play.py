"""How rounds begin and end, who has reached what, and folders of other pictures."""

import threading
from pathlib import Path

import pytest
from PIL import Image

from grounding.errors import GroundingError
from grounding.game.log import read_rounds
from grounding.game.pictures import Picture
from grounding.game.play import UnknownRound, check_same_pictures, new_player
from grounding.game.rounds import Bubble
from helpers.clickme import PLAYERS, game_in, played, spot, write_pictures
from helpers.labelled import refused

ME, OTHER = PLAYERS[:2]


def over_all(picture, count=60, last_s=5.0):
    """Bubbles all over a picture."""
    return tuple(
        Bubble(
            round((0.5 + n % 9) / 9 * picture.width),
            round((0.5 + n // 9) / 7 * picture.height),
            round(last_s * n / (count - 1), 3),
        )
        for n in range(count)
    )


def test_a_round_that_is_recognised(game, tmp_path, monkeypatch):
    playing = game.start(ME)
    picture = playing.choice.picture
    with monkeypatch.context() as patched:
        patched.setattr("grounding.game.play.MIN_CLICKS", 60)
        assert not game.guess(playing, over_all(picture), "mouse").recognised  # too few, whatever is guessed
    assert read_rounds(tmp_path / "game") == []
    for late in (20.1, 4.0):
        guess = game.guess(playing, over_all(picture, last_s=late), "pen")
        assert guess.recognised == (late < 20)
    (line,) = read_rounds(tmp_path / "game")
    assert (line.outcome, line.points, line.time_s, line.pointer) == ("recognised", 80, 4.0, "pen")
    assert line.bubbles == over_all(picture, last_s=4.0)
    assert game.end(playing, (), "mouse", "time") == line  # over is over
    assert len(read_rounds(tmp_path / "game")) == 1
    assert game.standing(ME) == (1, 1, 80, 1)
    assert game.standing(OTHER) == (0, 0, 0, 0)


def test_rounds_that_are_not_recognised(game):
    first = game.start(ME)
    assert game.end(first, (), "mouse", "skipped").points == 0
    second = game.start(ME)
    assert second.choice.picture != first.choice.picture
    over = game.end(second, over_all(second.choice.picture), "touch", "time")
    assert (over.points, over.time_s) == (0, 20)
    assert game.start(ME) is None  # both were had
    assert game.start(OTHER) is not None
    assert game.standing(ME) == (2, 0, 0, 0)


def test_a_round_that_was_left_is_begun_again(game):
    first = game.start(ME)
    again = game.start(ME)
    assert again.choice == first.choice
    assert again.number != first.number
    assert game.opened(ME, again.number) is again
    for player, number in ((ME, first.number), (OTHER, again.number), (ME, 10**9)):
        with pytest.raises(UnknownRound, match="is not yours, or over"):
            game.opened(player, number)


def test_two_players_get_different_pictures(game):
    assert game.start(ME).choice.picture != game.start(OTHER).choice.picture


def test_streaks_end(game):
    for outcome, points in (("recognised", 50), ("recognised", 10), ("time", 0), ("recognised", 30)):
        game._log.append(played(player=ME, outcome=outcome, points=points))
        game._log.append(played(player=OTHER, outcome="time"))
    assert game.standing(ME) == (4, 3, 90, 1)
    assert game.standing(OTHER) == (4, 0, 0, 0)


def test_a_picture_that_cannot_be_read_any_more_is_left_out(localizer, tmp_path, capsys):
    images = write_pictures(tmp_path / "pictures", ["cat", "man"])
    with game_in(images, tmp_path / "game", localizer.classifier) as game:
        first = game.start(ME).choice.picture
        game._open.clear()
        game.guesser._views.clear()
        first.path.write_bytes(b"broken")
        assert game.start(ME).choice.picture != first
        assert f"left out: image {first.path} is no picture" in capsys.readouterr().err
        game.end(game.start(ME), (), "mouse", "skipped")
        assert game.start(ME) is None


def test_a_repeated_picture_is_a_trial(localizer, tmp_path):
    images = write_pictures(tmp_path / "pictures", ["cat", "cup", "man", "woman", "rocket"])
    with game_in(images, tmp_path / "game", localizer.classifier, catch_share=1.0) as game:
        places = {}
        for number in range(5):
            playing = game.start(ME)
            name = playing.choice.picture.name
            trial = number >= 3
            assert playing.choice.catch == ("repeat" if trial else None)
            at = places.setdefault(name, spot(40 + 100 * number, 200)) if number < 4 else spot(10, 280)
            game.end(playing, played(at=at).bubbles, "mouse", "time")
        assert [each.passed for each in game.rounds()] == [None, None, None, True, False]
        assert game.rounds()[3].picture == game.rounds()[0].picture


def test_a_picture_with_boxes_is_a_trial(game):
    playing = game.start(ME)
    boxed = Picture("x.jpg", Path("x"), "cat", 300, 300, ((0, 0, 50, 50),))
    for at, passed in ((spot(9, 9), True), (spot(90, 90), False)):
        playing.choice = type(playing.choice)(boxed, "box")
        playing.over = None
        assert game.end(playing, played(at=at).bubbles, "mouse", "time").passed is passed


def test_memory_holds_a_thousand_open_rounds(game):
    for _ in range(1003):
        game.start(new_player())
    assert len(game._open) == 1000


def test_many_players_at_once(game):
    """Each round is logged once, whoever ends when."""
    players = [new_player() for _ in range(8)]
    failed = []

    def play(player):
        try:
            while (playing := game.start(player)) is not None:
                for _ in range(2):
                    game.end(playing, over_all(playing.choice.picture), "mouse", "time")
        except GroundingError as error:
            failed.append(error)

    threads = [threading.Thread(target=play, args=[player]) for player in players]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert sorted((each.player, each.picture) for each in game.rounds()) == sorted(
        (player, picture.name) for player in players for picture in game.pictures
    )


def test_players_are_random():
    names = {new_player() for _ in range(100)}
    assert len(names) == 100
    assert all(len(name) == 16 for name in names)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"picture": "cat/b.jpg"}, "game has rounds of 'cat/b.jpg', which is not among --images"),
        ({"width": 121}, "with the size 121 x 80 px, and now it is 120 x 80 px"),
        ({"category": "dog"}, "with the category 'dog', and now it is 'cat'"),
    ],
)
def test_rounds_of_other_pictures(tmp_path, changed, said):
    Image.new("RGB", (120, 80)).save(tmp_path / "a.jpg")
    pictures = [Picture("cat/a.jpg", tmp_path / "a.jpg", "cat", 120, 80)]
    check_same_pictures(pictures, [], "game")
    check_same_pictures(pictures, [played()], "game")
    assert said in refused(check_same_pictures, pictures, [played(), played(**changed)], "game")
