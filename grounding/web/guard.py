"""Keeps strangers out of a page that is meant for the person at this machine.

A page on localhost can be reached by every web site that this person has open: by a form that posts to it, or by a name
of the site's own that is made to mean 127.0.0.1 (DNS rebinding). Both say where they come from in `Origin` and `Host`.
"""

from collections.abc import Iterable, Mapping
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOCAL_NAMES: Final = ("localhost", "127.0.0.1", "[::1]")
MOST_BYTES: Final = 32 << 20  # of a request: a large photograph
_READING: Final = ("GET", "HEAD", "OPTIONS")
STRICT: Final = {
    "content-security-policy": "default-src 'self'; img-src 'self' data: blob:; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'",
    "x-frame-options": "DENY",
}
_ALWAYS: Final = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
}


class Guard:
    """An ASGI application around another one that refuses foreign callers and oversized requests with one line of JSON.

    Args:
        hosts: the names, without a port, under which the page may be called.
        most_bytes: of a request's body.
        headers: that every answer gets, unless it has them; `STRICT` allows scripts and styles of our own files only.
    """

    def __init__(
        self,
        app: ASGIApp,
        hosts: Iterable[str] = LOCAL_NAMES,
        most_bytes: int = MOST_BYTES,
        headers: Mapping[str, str] = STRICT,
    ) -> None:
        self._app = app
        self._hosts = {host.lower() for host in hosts}
        self._most_bytes = most_bytes
        self._headers = {**_ALWAYS, **headers}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the call on, or refuse it: 403 for foreigners, 413 for what is too large."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        if refused := self._refusal(scope):
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008})
                return
            await JSONResponse({"error": refused[1]}, refused[0])(scope, receive, send)
            return
        if scope["type"] == "websocket":
            await self._app(scope, receive, send)
            return
        await self._passed_on(scope, receive, send)

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        """The status and the line for a call that must not reach the application."""
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if _name(f"//{host}") not in self._hosts:
            return 403, f"the host is '{host[:100]}': expected {' or '.join(sorted(self._hosts))}"
        origin = headers.get("origin")
        foreign = origin is not None and _origin_host(origin) != host.lower()
        reading = scope.get("method", "GET") in _READING and scope["type"] == "http"
        if foreign or (not reading and headers.get("sec-fetch-site") in ("cross-site", "same-site")):
            return 403, f"the call comes from another site, {(origin or 'which is not named')[:100]}"
        length = headers.get("content-length", "0")
        if not (length.isascii() and length.isdecimal()):
            return 400, f"content-length is '{length[:100]}': expected a number of bytes"
        if int(length[:20]) > self._most_bytes:
            return 413, self._too_large()
        return None

    def _too_large(self) -> str:
        return f"the request is larger than {self._most_bytes / (1 << 20):g} MiB"

    async def _passed_on(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Count the bytes that come in, and add our headers to those that go out."""
        read = 0

        async def counted() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > self._most_bytes:
                raise HTTPException(413, self._too_large())
            return message

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, counted, with_headers)


def _origin_host(origin: str) -> str | None:
    """Host and port of an origin such as `http://localhost:7860`; None where there is none, as in `null`."""
    try:
        return urlsplit(origin).netloc.lower() or None
    except ValueError:
        return None


def _name(address: str) -> str:
    """The host of `//host:port`, IPv6 in brackets; empty where it is none."""
    try:
        name = urlsplit(address).hostname or ""
    except ValueError:
        return ""
    return f"[{name}]" if ":" in name else name
