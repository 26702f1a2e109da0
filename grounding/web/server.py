"""Starts the server of a page and stops it: on Ctrl-C at once, with nothing left open."""

import socket
import sys
import webbrowser
from typing import TYPE_CHECKING

from grounding.errors import GroundingError

if TYPE_CHECKING:
    from starlette.types import ASGIApp

_TRIED = 20  # ports, from the one that is wanted


def serve(
    app: "ASGIApp", name: str, port: int | None, default_port: int, open_browser: bool, host: str = "127.0.0.1"
) -> None:
    """Serve a page until Ctrl-C, and print its address.

    Args:
        app: the page, inside its `Guard`.
        name: of the page, for the line that says where it is.
        port: in use is an error; None takes the first free one from `default_port` on.
        open_browser: whether to open the address in the person's browser.
        host: the address to listen on: this machine alone, unless somebody asked for more.

    Raises:
        GroundingError: the port is in use or not allowed, or the host is none of this machine's addresses.
        KeyboardInterrupt: after Ctrl-C, when the server has ended.
    """
    import uvicorn

    with _listening(port, default_port, host) as listening:
        shown = f"[{host}]" if ":" in host else host
        address = f"http://{shown}:{listening.getsockname()[1]}/"
        sys.stdout.write(f"{name}: {address} (Ctrl-C ends it)\n")
        sys.stdout.flush()
        if open_browser:
            webbrowser.open(address)
        config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=3, access_log=False)
        uvicorn.Server(config).run(sockets=[listening])


def _listening(port: int | None, default_port: int, host: str) -> socket.socket:
    """A socket that listens on an address."""
    if port is not None and not 0 <= port <= 65535:
        raise GroundingError(f"--port is {port}: expected a number from 0 (any free port) to 65535")
    wanted = range(default_port, default_port + _TRIED) if port is None else [port]
    reason = ""
    for each in wanted:
        listening = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((host, each))
            listening.listen()  # whoever comes before the server runs waits, and is not refused
        except OSError as error:
            listening.close()
            reason = error.strerror or str(error)
        else:
            return listening
    raise GroundingError(
        f"port {wanted[0]} of {host} cannot be listened on ({reason}): give another with --port, or 0 for any free one"
    )
