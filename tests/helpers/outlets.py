"""What tests of other people's tools share."""

from importlib.util import find_spec

import pytest


def needs(module):
    """Skips where a tool is not installed, with the way to test it."""
    if find_spec(module) is None:
        pytest.skip(f"{module} is not installed: scripts/check_integrations.py tests it in an environment of its own")
