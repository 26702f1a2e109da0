"""Pictures that are not files: a `data:` address holds the bytes, and a web address says where they are."""

import base64
import binascii
import time
import urllib.request
from collections.abc import Mapping
from http.client import HTTPException
from typing import IO, Any, Final
from urllib.error import HTTPError, URLError

from grounding.errors import GroundingError
from grounding.wording import shortened

MOST_BYTES: Final = 64 << 20  # of a picture
_CHUNK: Final = 1 << 16
_SHOWN: Final = 120  # characters of an address


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Lets an answer that leads elsewhere be an error."""

    def redirect_request(self, *_: Any) -> None:
        """Follow nothing."""


def data_bytes(address: str) -> bytes:
    """The bytes that a `data:image/png;base64,...` address holds.

    Raises:
        GroundingError: it is no such address, or not base64.
    """
    head, comma, content = address.partition(",")
    if not comma or not head.startswith("data:") or not head.endswith(";base64"):
        raise GroundingError(f"image {shortened(address)}: expected data:image/png;base64,... or another kind of image")
    try:
        return base64.b64decode(content, validate=True)
    except (binascii.Error, ValueError) as error:
        raise GroundingError(f"image {shortened(address)} is not base64 ({error})") from error


def fetch(
    address: str,
    headers: Mapping[str, str] | None = None,
    timeout_s: float | None = None,
    redirects: bool = False,
    content: bytes | None = None,
) -> bytes:
    """What lies at an `http:` or `https:` address; nothing else is opened, such as `file:`.

    Args:
        timeout_s: for all of it; None waits as long as it takes.
        redirects: whether to follow an answer that leads elsewhere.
        content: is posted where it is given.

    Raises:
        GroundingError: it cannot be reached or is no such address, it answers with an error or not in time, or has
            over 64 MiB.
    """
    name = shortened(address, _SHOWN)
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPRedirectHandler() if redirects else _NoRedirect(),
        urllib.request.HTTPErrorProcessor(),
    ):
        opener.add_handler(handler)
    try:
        request = urllib.request.Request(address, content, dict(headers or {}))
        ends = None if timeout_s is None else time.monotonic() + timeout_s
        opened = opener.open(request, timeout=timeout_s)
        if opened is None:
            raise GroundingError(f"{name}: expected an address that begins with http:// or https://")
        with opened as answer:
            return _content(answer, name, ends)
    except GroundingError:
        raise
    except HTTPError as error:
        error.close()
        leads = " and leads elsewhere, which is not followed" if 300 <= error.code < 400 else ""
        raise GroundingError(f"{name} answers {error.code}{leads}") from error
    except (URLError, OSError, HTTPException, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise GroundingError(f"{name} cannot be read: {reason}") from error


def _content(answer: IO[bytes], name: str, ends: float | None) -> bytes:
    parts, size = [], 0
    while part := answer.read(_CHUNK):
        parts.append(part)
        size += len(part)
        if size > MOST_BYTES:
            raise GroundingError(f"{name} has over {MOST_BYTES >> 20} MiB: is it a picture?")
        if ends is not None and time.monotonic() > ends:
            raise GroundingError(f"{name} did not answer in time")
    return b"".join(parts)
