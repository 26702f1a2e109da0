"""The requests of the page: what is answered, and what of hostile ones is refused."""

import io
import json
import math
import os
import resource
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from PIL import Image
from starlette.testclient import TestClient

from grounding.game.collecting import Collecting
from grounding.game.page import application
from grounding.game.rounds import MOST_BUBBLES
from helpers.browser import serving
from helpers.clickme import PLAYERS, game_in

ME, OTHER = PLAYERS[:2]
BUBBLE = [10, 10, 0.5]


@pytest.fixture
def client(game, tmp_path):
    return TestClient(application(game, Collecting(game, tmp_path / "game").clicks), base_url="http://127.0.0.1:7880")


def begin(client, player=ME):
    return client.post("/api/rounds", json={"player": player}).json()["round"]


def sent(**changed):
    return {"player": ME, "pointer": "mouse", "bubbles": [BUBBLE] * 11, **changed}


def test_a_round_in_requests(client, game, tmp_path):
    player = client.post("/api/players").json()["player"]
    answer = client.post("/api/rounds", json={"player": player}).json()
    assert answer["standing"] == {"rounds": 0, "recognised": 0, "score": 0, "streak": 0}
    begun = answer["round"]
    picture = game.pictures[begun["picture"]]
    assert (begun["category"], begun["width"], begun["height"]) == (picture.category, picture.width, picture.height)
    assert (begun["seconds"], begun["known"], begun["least"], begun["guesses"]) == (20, True, 11, 2)
    shown = client.get(f"/api/pictures/{begun['picture']}/image")
    with Image.open(io.BytesIO(shown.content)) as image:
        assert image.size == (picture.width, picture.height)
    guess = client.post(f"/api/rounds/{begun['number']}/guess", json=sent(player=player, bubbles=[BUBBLE])).json()
    assert guess["over"] is None
    assert {each["name"] for each in guess["guesses"]} == {"cat", "man"}
    ended = client.post(f"/api/rounds/{begun['number']}/end", json=sent(player=player, outcome="time")).json()
    assert ended["over"] == {
        "outcome": "time",
        "points": 0,
        "standing": {"rounds": 1, "recognised": 0, "score": 0, "streak": 0},
    }
    late = client.post(f"/api/rounds/{begun['number']}/guess", json=sent(player=player)).json()
    assert late == {"guesses": [], **ended}
    assert picture.name in (tmp_path / "game" / "clicks.csv").read_text()


def test_large_pictures_are_shown_smaller_and_upright(localizer, tmp_path):
    folder = tmp_path / "pictures" / "cat"
    folder.mkdir(parents=True)
    turned = Image.Exif()
    turned[0x0112] = 6
    turned[0x010F] = "a maker"
    Image.new("RGB", (2400, 600)).save(folder / "a.jpg", exif=turned)
    with game_in(tmp_path / "pictures", tmp_path / "game", localizer.classifier) as game:
        client = TestClient(application(game), base_url="http://127.0.0.1:7880")
        begun = begin(client)
        assert (begun["width"], begun["height"]) == (600, 2400)
        content = client.get("/api/pictures/0/image").content
        with Image.open(io.BytesIO(content)) as image:
            assert image.size == (300, 1200)
            assert not image.getexif()  # a camera's serial number, a place


@pytest.mark.parametrize(
    "bubbles",
    [
        None,
        "<script>",
        {},
        [["<b>", 1, 1]],
        [[-1, 1, 1]],
        [[1, 1e9, 1]],
        [[math.nan, 1, 1]],
        [[math.inf, 1, 1]],
        [[1, 1, -1]],
        [[1, 1, 1e9]],
        [[10**400, 1, 1]],
        [BUBBLE] * (MOST_BUBBLES + 1),
    ],
    ids=lambda value: str(value)[:30],
)
def test_hostile_bubbles(client, tmp_path, bubbles):
    number = begin(client)["number"]
    body = json.dumps(sent(bubbles=bubbles, outcome="time"))  # with NaN and Infinity, as Python writes them
    for what in ("guess", "end"):
        answer = client.post(f"/api/rounds/{number}/{what}", content=body)
        assert answer.status_code == 400
        assert "bubble" in answer.json()["error"]
    assert (tmp_path / "game" / "rounds.jsonl").read_bytes() == b""


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/api/rounds", {"player": "../../etc/passwd"}, 400),
        ("/api/rounds", {}, 400),
        ("/api/rounds", [], 400),
        ("/api/rounds", "\x00", 400),
        ("/api/rounds/1/guess", sent(player=OTHER), 404),
        ("/api/rounds/2/guess", sent(), 404),
        ("/api/rounds/99999999999999999999999/guess", sent(), 404),
        ("/api/rounds/-1/guess", sent(), 404),
        ("/api/rounds/1.5/guess", sent(), 404),
        ("/api/rounds/1/guess", sent(pointer="<b>"), 400),
        ("/api/rounds/1/guess", sent(pointer=None), 400),
        ("/api/rounds/1/end", sent(outcome="recognised"), 400),  # only the classifier says so
        ("/api/rounds/1/end", sent(outcome=["time"]), 400),
        ("/api/rounds/1/end", sent(player={}, outcome="time"), 400),
    ],
)
def test_hostile_requests(client, tmp_path, path, body, status):
    begin(client)
    answer = client.post(path, json=body)
    assert answer.status_code == status
    if "json" in answer.headers["content-type"]:
        assert len(answer.json()["error"]) < 300
    assert (tmp_path / "game" / "rounds.jsonl").read_bytes() == b""


@pytest.mark.parametrize(
    "path",
    [
        "/api/pictures/2/image",
        "/api/pictures/-1/image",
        "/api/pictures/99999999999999999999999999/image",
        "/api/pictures/..%2f..%2fetc%2fpasswd/image",
        "/static/../page.py",
        "/static/..%2fpage.py",
        "/static/%2e%2e/page.py",
        "/rounds.jsonl",
    ],
)
def test_there_is_no_way_to_other_files(client, path):
    assert client.get(path).status_code == 404


def test_foreign_callers_and_large_requests(client):
    headers = {"origin": "http://evil.example"}
    assert client.post("/api/players", headers=headers).status_code == 403
    assert client.get("/", headers={"host": "evil.example"}).status_code == 403
    assert client.post("/api/rounds", content=b" " * ((1 << 20) + 1)).status_code == 413
    assert client.post("/api/rounds", content=b"[" * 100_000).status_code == 400
    page = client.get("/")
    assert page.status_code == 200
    assert page.headers["content-security-policy"].startswith("default-src 'self'")


def test_a_disk_that_is_full(client, game, monkeypatch):
    """The round is not said to be over, and can be ended again."""
    number = begin(client)["number"]

    def full(_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        answer = client.post(f"/api/rounds/{number}/end", json=sent(outcome="time"))
    assert answer.status_code == 400
    assert "No space left on device" in answer.json()["error"]
    assert game.rounds() == []
    assert client.post(f"/api/rounds/{number}/end", json=sent(outcome="time")).status_code == 200
    assert len(game.rounds()) == 1


@pytest.mark.slow
def test_fifty_guesses_from_eight_clients(game):
    """None fails, everybody gets the answer to their own bubbles, and memory stays."""
    with serving(application(game)) as address:
        players = PLAYERS[:8]

        def call(path, body):
            return httpx.post(address + path, json=body, timeout=60)

        numbers = [call("api/rounds", {"player": player}).json()["round"]["number"] for player in players]

        def guess(request):
            player = request % 8
            body = sent(player=players[player], bubbles=[[10 + 20 * player, 10, 1], [50, 60, 2]])
            return call(f"api/rounds/{numbers[player]}/guess", body)

        def at_once(count):
            with ThreadPoolExecutor(8) as pool:
                return list(pool.map(guess, range(count)))

        at_once(16)  # each thread of the server keeps some memory
        before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
        answers = at_once(50)
        assert [answer.status_code for answer in answers] == [200] * 50
        for request, answer in enumerate(answers):
            assert answer.json() == answers[request % 8].json()
        assert len({answer.text for answer in answers}) >= 4
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        assert grown < 60_000, f"{grown} KiB in {time.monotonic() - start:.1f} s"
