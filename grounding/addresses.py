"""Files at addresses such as `s3://bucket/name`, through fsspec."""

import contextlib
import re
import time
from collections.abc import Iterator
from typing import Any, Final

from grounding.errors import GroundingError

_ADDRESS: Final = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)
_REMOTE: Final = ("botocore", "aiobotocore", "aiohttp", "gcsfs", "google", "azure")  # whose errors are the network's
_NOT_THERE: Final = (FileNotFoundError, PermissionError, IsADirectoryError)
_PAUSES_S: Final = (1, 5, 25)  # between tries; the libraries below try again too, for seconds


class UnreachableError(Exception):
    """A storage that does not answer, or lets nobody in: whoever reads from it may try again later."""


def is_address(name: str) -> bool:
    """Whether a name is an address, not a path."""
    return bool(_ADDRESS.match(name))


def filesystem(address: str) -> tuple[Any, str]:
    """The fsspec filesystem of an address, and the path in it.

    Raises:
        GroundingError: an unknown protocol, or one whose library is not installed.
    """
    import fsspec

    try:
        with reaching(address):
            filesystem, path = fsspec.core.url_to_fs(address)
    except ImportError as error:
        s3 = address.lower().startswith(("s3:", "s3a:"))
        advice = "python -m pip install 'grounding[s3]'" if s3 else f"{error}"
        raise GroundingError(f"{address} cannot be opened: a library is missing; {advice}") from error
    except (ValueError, TypeError) as error:
        raise GroundingError(f"{address} cannot be opened ({error}): expected a path, or s3://bucket/name") from error
    return filesystem, str(path)


@contextlib.contextmanager
def reaching(address: str) -> Iterator[None]:
    """Raise an `UnreachableError` of one line where a storage does not answer; what is not there stays an `OSError`."""
    try:
        yield
    except _NOT_THERE:
        raise
    except Exception as error:
        if not isinstance(error, OSError) and type(error).__module__.partition(".")[0] not in _REMOTE:
            raise
        reason = " ".join(str(error).split()) or type(error).__name__
        if "credentials" in reason.lower():
            reason += ": set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or log in"
        raise UnreachableError(f"{address} cannot be reached ({reason})") from error


def read_bytes(address: str) -> bytes:
    """The content of a file, after some tries.

    Raises:
        GroundingError: there is no such file, or it may not be read.
        UnreachableError: the storage does not answer.
    """
    files, path = filesystem(address)
    for pause_s in (*_PAUSES_S, None):
        try:
            with reaching(address):
                return bytes(files.cat_file(path))
        except _NOT_THERE as error:
            raise GroundingError(f"image {address} cannot be read: {_reason(error)}") from error
        except UnreachableError as error:
            if pause_s is None or "credentials" in str(error).lower():
                raise
            time.sleep(pause_s)
    raise AssertionError("the last try returns or raises")


def _reason(error: OSError) -> str:
    names = {FileNotFoundError: "no such file", PermissionError: "it may not be read", IsADirectoryError: "a folder"}
    return names[next(kind for kind in names if isinstance(error, kind))]
