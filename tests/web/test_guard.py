import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from grounding.errors import GroundingError
from grounding.web.guard import Guard
from grounding.web.requests import answer_errors, json_object
from helpers.browser import serious_faults, serving

HTML = '<!doctype html><html lang="en"><title>t</title><main><h1>page</h1></main><img src=x onerror="window.stolen=1">'


async def page(_: Request):
    return HTMLResponse(HTML)


async def echo(request: Request):
    return JSONResponse(await json_object(request))


async def refuse(_: Request):
    raise GroundingError("the caption is empty: expected a sentence")


def guarded(most_bytes=1000):
    routes = [Route("/", page), Route("/echo", echo, methods=["POST"]), Route("/refuse", refuse)]
    app = Starlette(routes=routes)
    answer_errors(app)
    return Guard(app, most_bytes=most_bytes)


@pytest.fixture
def client():
    return TestClient(guarded(), base_url="http://127.0.0.1:7860")


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:7860", 200),
        ("localhost", 200),
        ("LOCALHOST:1", 200),
        ("[::1]:7860", 200),
        ("evil.example", 403),
        ("127.0.0.1.evil.example:7860", 403),
        ("localhost.evil.example", 403),
        ("evil.example@127.0.0.2", 403),
        ("", 403),
        ("[::1", 403),
    ],
)
def test_only_our_names_are_answered(client, host, status):
    assert client.get("/", headers={"host": host}).status_code == status


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"origin": "http://127.0.0.1:7860"}, 200),
        ({"origin": "http://127.0.0.1:7861"}, 403),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://["}, 403),
        ({"sec-fetch-site": "same-origin"}, 200),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),
    ],
)
def test_other_sites_cannot_post(client, headers, status):
    answer = client.post("/echo", json={"a": 1}, headers=headers)
    assert answer.status_code == status
    assert (answer.json() == {"a": 1}) == (status == 200)


def test_a_link_from_another_site_opens_the_page(client):
    assert client.get("/", headers={"sec-fetch-site": "cross-site"}).status_code == 200


@pytest.mark.parametrize(("size", "status"), [(1000, 200), (1001, 413)])
@pytest.mark.parametrize("told", [True, False])
def test_what_is_too_large_is_refused(client, size, status, told):
    body = b'{"a": "' + b"x" * (size - 9) + b'"}'
    content = body if told else iter([body[:500], body[500:]])  # without a length that is told before
    answer = client.post("/echo", content=content)
    assert answer.status_code == status
    if status == 413:
        assert "larger than" in answer.json()["error"]


def test_bad_requests_are_one_line(client):
    assert client.get("/refuse").json() == {"error": "the caption is empty: expected a sentence"}
    for body in (b"", b"[1]", b"{", b"\xff", b"[" * 900):
        answer = client.post("/echo", content=body)
        assert answer.status_code == 400
        assert "expected a JSON object" in answer.json()["error"]
    assert client.post("/echo", content=b"{}", headers={"content-length": "x"}).status_code == 400


def test_every_answer_forbids_foreign_scripts(client):
    for headers in (client.get("/").headers, client.get("/refuse").headers):
        assert "script-src" not in headers["content-security-policy"]
        assert "default-src 'self'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"


def test_a_browser_runs_no_script_that_was_written_into_the_page(open_page):
    with serving(guarded()) as address:
        opened = open_page(address)
        assert opened.inner_text("h1") == "page"
        assert opened.evaluate("window.stolen") is None
        assert any("Content Security Policy" in error for error in opened.told.errors)
        opened.told.errors.clear()
        assert serious_faults(opened) == [
            'image-alt: Images must have alternative text (<img src="x" onerror="window.stolen=1">)'
        ]
