"""What may be called, with which values."""

import math

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from grounding.demonstration.admission import Admission, number_from, picture_in, text, yes_or_no

CALL = {"fn_index": 0, "session_hash": "abc", "data": ["a"]}


async def echo(request: Request) -> PlainTextResponse:
    return PlainTextResponse((await request.body()).decode())


@pytest.fixture
def client():
    app = Starlette(routes=[Route("/{path:path}", echo, methods=["GET", "POST", "PUT", "HEAD", "DELETE"])])
    return TestClient(Admission(app, {0: [text], 1: []}))


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 200),
        ("HEAD", "/", 200),
        ("GET", "/assets/a.js", 200),
        ("GET", "/page/demo.js", 200),
        ("GET", "/gradio_api/file=/some/where.png", 200),
        ("GET", "/gradio_api/file=https://example.com/a.png", 404),
        ("GET", "/gradio_api/file=file:///etc/passwd", 404),
        ("GET", "/gradio_api/proxy=https://example.com", 404),
        ("GET", "/gradio_api/deep_link", 404),
        ("GET", "/monitoring", 404),
        ("POST", "/gradio_api/upload", 200),
        ("POST", "/gradio_api/run/light", 404),
        ("POST", "/gradio_api/call/light", 404),
        ("POST", "/gradio_api/component_server", 404),
        ("POST", "/gradio_api/vibe-edit", 404),
        ("POST", "/login", 404),
        ("PUT", "/", 404),
        ("DELETE", "/gradio_api/upload", 404),
    ],
)
def test_only_the_routes_of_the_page(client, method, path, status):
    assert client.request(method, path).status_code == status


def test_a_call_arrives_as_it_was_sent(client):
    assert client.post("/gradio_api/queue/join", json=CALL).json() == CALL
    assert client.post("/gradio_api/queue/join", json=CALL | {"fn_index": 1, "data": []}).status_code == 200


@pytest.mark.parametrize(
    ("body", "status", "line"),
    [
        ("", 400, "not JSON"),
        ("{", 400, "not JSON"),
        ("[" * 100_000, 400, "not JSON"),
        ([], 400, "no data"),
        ({}, 400, "no data"),
        (CALL | {"data": "a"}, 400, "no data"),
        (CALL | {"fn_index": 2}, 400, "no such function"),
        (CALL | {"fn_index": True}, 400, "no such function"),
        (CALL | {"fn_index": "0"}, 400, "no such function"),
        (CALL | {"session_hash": None}, 400, "no session"),
        (CALL | {"session_hash": "../x"}, 400, "no session"),
        (CALL | {"data": []}, 400, "has 0 values: expected 1"),
        (CALL | {"data": ["a", "b"]}, 400, "has 2 values"),
        (CALL | {"data": [1]}, 400, "value 1 of the call"),
        (CALL | {"data": ["a" * (10 << 20)]}, 413, "larger than 1 MiB"),
    ],
)
def test_odd_calls_are_refused_in_one_line(client, body, status, line):
    given = {"content": body} if isinstance(body, str) else {"json": body}
    answer = client.post("/gradio_api/queue/join", **given)
    assert answer.status_code == status
    assert list(answer.json()) == ["error"]
    assert line in answer.json()["error"]


def test_websockets_are_closed(client):
    with pytest.raises(WebSocketDisconnect) as closed, client.websocket_connect("/"):
        pass
    assert closed.value.code == 1008


@pytest.mark.parametrize(
    ("check", "good", "bad"),
    [
        (text, [None, "", "a"], [1, [], {}]),
        (yes_or_no, [True, False], [None, 0, "true"]),
        (number_from(1, 5), [1, 2.5, 5], [None, True, "2", 0, 6, math.nan, math.inf, [1]]),
    ],
)
def test_values_of_fields(check, good, bad):
    assert all(check(value) for value in good)
    assert not any(check(value) for value in bad)


def test_pictures_lie_in_the_folder_of_uploads(tmp_path):
    folder = tmp_path / "uploads"
    folder.mkdir()
    (folder / "link").symlink_to("/etc/passwd")
    check = picture_in(folder)
    assert all(check(value) for value in (None, {"path": str(folder / "a" / "b.png")}))
    refused = [
        "/etc/passwd",
        f"{folder}/../secret",
        f"{folder}/link",
        f"{folder}-2/a",
        "a.png",
        "http://a/b.png",
        "\0",
        "",
    ]
    assert not any(check({"path": path}) for path in refused)
    assert not any(check(value) for value in ({}, {"path": None}, "a", [1], str(folder / "a")))
