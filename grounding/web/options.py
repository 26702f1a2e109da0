"""The options that the doors of all pages have, and what they say where the extra of the page is not installed."""

import argparse
from importlib.util import find_spec

from grounding.errors import GroundingError


def add_page_options(options: argparse._ActionsContainer, default_port: int) -> None:
    """Add `--port` and `--no-browser`."""
    port = f"where the page listens on this machine, 0 for any free port (default: the first free from {default_port})"
    options.add_argument("--port", type=int, metavar="N", help=port)
    options.add_argument("--no-browser", action="store_true", help="do not open the page in the browser")


def check_extra(command: str, extra: str, *modules: str) -> None:
    """Raise a `GroundingError` that names the extra to install, unless all of its modules are there."""
    if missing := [module for module in modules if find_spec(module) is None]:
        raise GroundingError(f"{command} needs {' and '.join(missing)}: pip install 'grounding[{extra}]'")
