"""The picture of a task. Its address is a stranger's: it leads to Label Studio or to one folder, and nowhere else."""

import io
import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, parse_qs, quote, unquote, urlsplit

from grounding.errors import GroundingError
from grounding.images import RgbImage, read_image
from grounding.integrations.fetching import data_bytes, fetch
from grounding.wording import shortened

TIMEOUT_S: Final = 30.0
_LOCAL_FILES: Final = "/data/local-files/"
_PICTURES: Final = ("/data/", "/storage-data/", "/tasks/")  # where Label Studio serves files
_KEPT_S: Final = 200.0  # an access token is good for some minutes
_PORTS: Final = {"http": 80, "https": 443}


@dataclass(slots=True)
class Pictures:
    """Reads the pictures of tasks.

    Attributes:
        label_studio: where Label Studio is, such as `http://localhost:8080`; None where nothing may be asked of it.
        key: of its API: a legacy token, or a personal access token, which is exchanged for short ones.
        files: what `/data/local-files/?d=` is below; None where no file may be read.
    """

    label_studio: str | None = None
    key: str | None = None
    files: Path | None = None
    _access: tuple[float, str] | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.label_studio is not None and _origin(urlsplit(self.label_studio)) is None:
            raise GroundingError(
                f"--label-studio-url is '{self.label_studio}': expected http://localhost:8080 or the like"
            )
        if self.files is not None and not self.files.is_dir():
            raise GroundingError(f"--files {self.files} is no folder: expected the one with the pictures")

    def read(self, address: object) -> RgbImage:
        """Read a picture.

        Args:
            address: `data:image/...;base64,...`, `/data/local-files/?d=...`, or what Label Studio serves: a path such
                as `/data/upload/1/photo.jpg`, or an address that begins with its own.

        Returns:
            (H, W, 3) uint8 RGB.

        Raises:
            GroundingError: another address, one that leads out of the folder, or no picture.
        """
        if not isinstance(address, str):
            raise GroundingError(f"the address of the picture is a {type(address).__name__}: expected a text")
        if address.startswith("data:"):
            return read_image(io.BytesIO(data_bytes(address)), "data:...")
        try:
            parts = urlsplit(address)
        except ValueError as error:
            raise GroundingError(f"image {shortened(address)} has no valid address ({error})") from error
        if parts.path.endswith(_LOCAL_FILES) and self.files is not None and self._is_ours(parts):
            return self._file(parts)
        return read_image(io.BytesIO(self._served(parts, address)), shortened(address))

    def _is_ours(self, parts: SplitResult) -> bool:
        """Whether an address is a path alone, or begins as Label Studio's."""
        if not parts.scheme and not parts.netloc:
            return True
        return self.label_studio is not None and _origin(parts) == _origin(urlsplit(self.label_studio))

    def _file(self, parts: SplitResult) -> RgbImage:
        """A picture below the folder."""
        assert self.files is not None
        name = parse_qs(parts.query).get("d", [""])[0]
        root = self.files.resolve()
        try:
            path = (root / name.lstrip("/")).resolve()
        except (OSError, ValueError, RuntimeError) as error:  # a NUL; a ring of links
            raise GroundingError(f"image {shortened(name)!r} cannot be read: {error}") from error
        if not name or not path.is_relative_to(root):
            raise GroundingError(f"image {shortened(name)!r} is not below the folder of --files")
        return read_image(path, shortened(name))

    def _served(self, parts: SplitResult, address: str) -> bytes:
        """What Label Studio serves."""
        shown = shortened(address)
        if self.label_studio is None:
            raise GroundingError(
                f"image {shown}: start with --label-studio-url and, for local files, --files to read it"
            )
        if not self._is_ours(parts):
            raise GroundingError(f"image {shown} is on another host: only pictures that Label Studio serves are read")
        base = urlsplit(self.label_studio)
        prefix = base.path.rstrip("/")
        path = parts.path.removeprefix(prefix) if parts.path.startswith(f"{prefix}/") else parts.path
        if ".." in unquote(unquote(path)).split("/") or not path.startswith(_PICTURES):
            raise GroundingError(f"image {shown}: expected an address below {', '.join(_PICTURES)}")
        query = f"?{quote(parts.query, safe='=&%+/:')}" if parts.query else ""
        url = f"{base.scheme}://{base.netloc}{prefix}{quote(path, safe='/%')}{query}"
        return fetch(url, self._headers(f"{base.scheme}://{base.netloc}{prefix}"), TIMEOUT_S)

    def _headers(self, base: str) -> dict[str, str]:
        if not self.key:
            return {}
        if self.key.count(".") != 2:  # a legacy token
            return {"Authorization": f"Token {self.key}"}
        now = time.monotonic()
        if self._access is None or self._access[0] < now:
            asked = json.dumps({"refresh": self.key}).encode()
            answer = fetch(f"{base}/api/token/refresh/", {"Content-Type": "application/json"}, TIMEOUT_S, content=asked)
            try:
                self._access = now + _KEPT_S, str(json.loads(answer)["access"])
            except (ValueError, TypeError, KeyError) as error:
                raise GroundingError("Label Studio gives no access token: is LABEL_STUDIO_API_KEY right?") from error
        return {"Authorization": f"Bearer {self._access[1]}"}


def _origin(parts: SplitResult) -> tuple[str, str, int] | None:
    """Scheme, host and port; None where they are none of the web, or a user name stands before them."""
    try:
        port = parts.port or _PORTS.get(parts.scheme, 0)
    except ValueError:
        return None
    if parts.scheme not in _PORTS or not parts.hostname or "@" in parts.netloc:
        return None
    return parts.scheme, parts.hostname, port
