"""What of Gradio may be called: the routes that the page itself uses, with the values that its fields can have.

Gradio can do more than a page needs: it fetches addresses for whoever asks, and prints a traceback over values that no
field of the page could send.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from grounding.errors import GroundingError

Check = Callable[[Any], bool]  # whether a field can have this value
_READ: Final = re.compile(
    r"/|/(?:config|favicon\.ico|manifest\.json|robots\.txt|theme\.css)/?|/(?:assets|static|page|download)/.*|"
    r"/gradio_api/(?:info/?|heartbeat/[^/]+|queue/data|upload_progress|startup-events|theme\.css|file=(?!\w+:).*)"
)
_WRITE: Final = re.compile(r"/gradio_api/(?:queue/join|upload|cancel|reset)/?")
_CALL: Final = "/gradio_api/queue/join"
_MOST_BYTES: Final = 1 << 20  # of a call: uploads go elsewhere
_SESSION: Final = re.compile(r"[0-9a-zA-Z_-]{1,64}")


class Admission:
    """An ASGI application around the page that answers 404 to every other route, and 400 to calls with odd values.

    Args:
        fields: for each function of the page, by its number, what each of its fields can have.
    """

    def __init__(self, app: ASGIApp, fields: Mapping[int, Sequence[Check]]) -> None:
        self._app, self._fields = app, fields

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the call on, or refuse it in one line of JSON."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        known = _READ if scope["method"] in ("GET", "HEAD") else _WRITE
        if scope["method"] not in ("GET", "HEAD", "POST") or not known.fullmatch(scope["path"]):
            await JSONResponse({"error": "the page has no such address"}, 404)(scope, receive, send)
            return
        try:
            if scope["path"].rstrip("/") == _CALL:
                body = await _body(Request(scope, receive))
                self._check(body)
                receive = _again(body, receive)
            await self._app(scope, receive, send)
        except HTTPException as error:
            await JSONResponse({"error": error.detail}, error.status_code)(scope, receive, send)
        except GroundingError as error:
            await JSONResponse({"error": str(error)}, 400)(scope, receive, send)

    def _check(self, body: bytes) -> None:
        """Raise a `GroundingError` unless the page could have sent this."""
        try:
            call = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise GroundingError("the call is not JSON: expected a JSON object") from error
        if not isinstance(call, dict) or not isinstance(call.get("data"), list):
            raise GroundingError("the call has no data: expected a JSON object with a list `data`")
        number, session = call.get("fn_index"), call.get("session_hash")
        checks = self._fields.get(number) if isinstance(number, int) and not isinstance(number, bool) else None
        if checks is None:
            raise GroundingError("the page has no such function")
        if not isinstance(session, str) or not _SESSION.fullmatch(session):
            raise GroundingError("the call has no session: expected letters and digits")
        if len(call["data"]) != len(checks):
            raise GroundingError(f"the call has {len(call['data'])} values: expected {len(checks)}")
        for place, (check, value) in enumerate(zip(checks, call["data"], strict=True), start=1):
            if not check(value):
                raise GroundingError(f"value {place} of the call is none that the page can send")


async def _body(request: Request) -> bytes:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MOST_BYTES:
            raise HTTPException(413, f"the call is larger than {_MOST_BYTES >> 20} MiB: is that one sentence?")
    return body


def picture_in(folder: Path) -> Check:
    """Nothing, or a file that was uploaded to this folder."""
    inside = folder.resolve()

    def check(value: Any) -> bool:
        if value is None:
            return True
        path = value.get("path") if isinstance(value, dict) else None
        if not isinstance(path, str) or "\0" in path or not Path(path).is_absolute():
            return False
        return Path(path).resolve().is_relative_to(inside)

    return check


def text(value: Any) -> bool:
    """A text, or nothing."""
    return value is None or isinstance(value, str)


def number_from(low: float, high: float) -> Check:
    """A number of a slider."""
    return lambda value: isinstance(value, (int, float)) and not isinstance(value, bool) and low <= value <= high


def yes_or_no(value: Any) -> bool:
    """A box that is ticked or not."""
    return isinstance(value, bool)


def _again(body: bytes, receive: Receive) -> Receive:
    """A body that was read, to be read once more."""
    told = False

    async def messages() -> Message:
        nonlocal told
        if told:
            return await receive()
        told = True
        return {"type": "http.request", "body": body, "more_body": False}

    return messages
