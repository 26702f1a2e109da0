"""The HTTP protocol of Label Studio's machine learning backends."""

import base64
import binascii
import hmac
import logging
from collections.abc import Iterable
from typing import Any, Final

from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from grounding import __version__
from grounding.errors import GroundingError
from grounding.integrations.detector import unknown_labels
from grounding.integrations.label_studio.interface import read_interface
from grounding.integrations.label_studio.predictions import Drafter
from grounding.web.guard import LOCAL_NAMES, Guard
from grounding.web.requests import answer_errors, in_turn, json_object

_MOST_BYTES: Final = 128 << 20  # of a request: tasks whose pictures are in their addresses
_LOG: Final = logging.getLogger(__name__)


def application(drafter: Drafter, names: Iterable[str] = LOCAL_NAMES, secret: str | None = None) -> ASGIApp:
    """The backend.

    Args:
        names: under which it may be called, without a port.
        secret: what a call must give as the password of basic authentication, with any user name.
    """
    routes = _Routes(drafter)
    app = Starlette(
        routes=[
            Route("/", routes.health),
            Route("/health", routes.health),
            Route("/setup", routes.setup, methods=["POST"]),
            Route("/predict", routes.predict, methods=["POST"]),
            Route("/versions", routes.versions),
            Route("/webhook", routes.webhook, methods=["POST"]),
        ]
    )
    answer_errors(app)
    return Guard(_Secret(app, secret) if secret else app, names, _MOST_BYTES)


class _Routes:
    def __init__(self, drafter: Drafter) -> None:
        self._drafter = drafter
        self._version = f"grounding-{__version__}-{drafter.localizer.classifier.name}"

    async def health(self, _: Request) -> Response:
        return JSONResponse({"status": "UP", "model_class": "grounding", "model_version": self._version})

    async def versions(self, _: Request) -> Response:
        return JSONResponse({"versions": [self._version]})

    async def webhook(self, request: Request) -> Response:
        """Nothing is learnt from annotations."""
        await json_object(request)
        return JSONResponse({"status": "nothing to do"}, 201)

    async def setup(self, request: Request) -> Response:
        """A project connects: its configuration may still be empty, so what is wrong with it is only logged."""
        schema = (await json_object(request)).get("schema")
        try:
            interface = read_interface(schema)
            phrases = [text for control in interface.labels for choice in control.choices for text in choice.phrases]
            if unknown := unknown_labels(self._drafter.localizer, phrases):
                _say(f"nothing is known of {', '.join(map(repr, unknown))}: give usual words in predicted_values")
        except GroundingError as error:
            _say(str(error))
        return JSONResponse({"model_version": self._version})

    async def predict(self, request: Request) -> Response:
        asked = await json_object(request)
        tasks = asked.get("tasks")
        if not isinstance(tasks, list):
            raise GroundingError(f"tasks are a {type(tasks).__name__}: expected a list of tasks")
        interface = read_interface(asked.get("label_config"))
        results = []
        for task in tasks:
            try:
                result = await in_turn(self._drafter.predict, task, interface)
            except GroundingError as error:
                result = {"result": [], "score": 0.0, "error": str(error)}
                _say(f"task {_id(task)}: {error}")
            results.append({"model_version": self._version, **result})
        return JSONResponse({"results": results, "model_version": self._version})


class _Secret:
    """Asks every call for the secret."""

    def __init__(self, app: ASGIApp, secret: str) -> None:
        self._app = app
        self._secret = secret.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not hmac.compare_digest(_password(Headers(scope=scope)), self._secret):
            answer = JSONResponse(
                {"error": "the secret is missing or wrong: give it as the password of basic authentication"},
                401,
                {"www-authenticate": 'Basic realm="grounding"'},
            )
            await answer(scope, receive, send)
            return
        await self._app(scope, receive, send)


def _password(headers: Headers) -> bytes:
    """The password of basic authentication; empty where there is none."""
    kind, _, code = headers.get("authorization", "").partition(" ")
    if kind.lower() != "basic":
        return b""
    try:
        return base64.b64decode(code.strip(), validate=True).partition(b":")[2]
    except (binascii.Error, ValueError):
        return b""


def _id(task: Any) -> str:
    return str(task.get("id")) if isinstance(task, dict) else "?"


def _say(line: str) -> None:
    """Log a line in which there may be texts of strangers."""
    _LOG.warning("%s", "".join(each if each.isprintable() else "?" for each in line[:500]))
