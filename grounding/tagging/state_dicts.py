"""Weights of a file: read without unpickling, and given to a network whole or not at all."""

import os
import re
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.modules.utils import consume_prefix_in_state_dict_if_present

from grounding.errors import GroundingError
from grounding.tagging.classifier import check_finite
from grounding.wording import counted

_STATE_DICT = "expected a state dict: a .safetensors file, or what torch.save(model.state_dict(), FILE) wrote"


def local_file(path: str) -> Path:
    """A path as typed; `~` is the home."""
    return Path(os.path.expanduser(path))  # noqa: PTH111 - never raises


def read_state_dict(file: Path) -> dict[str, Tensor]:
    """Read the names and tensors of a file, without what training scripts and DataParallel wrap them in.

    Raises:
        GroundingError: the file cannot be read, is damaged, or holds something else.
    """
    try:
        file.open("rb").close()  # safetensors' own error for a folder is obscure
        if file.suffix.lower() == ".safetensors":
            state: Any = load_file(file)
        else:
            state = torch.load(file, map_location="cpu", weights_only=True)
    except OSError as error:
        reason = error.strerror or error
        raise GroundingError(f"weights file '{file}' cannot be read ({reason}): {_STATE_DICT}") from error
    except Exception as error:  # of any type: what stops a parser of damaged bytes is a matter of chance
        thing = re.search(r"GLOBAL (\S+)", str(error))
        fault = f"holds a Python object ({thing[1]}), never unpickled" if thing else "is damaged or of another kind"
        raise GroundingError(f"weights file '{file}' {fault}: {_STATE_DICT}") from error
    for key in ("state_dict", "model"):
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    named = isinstance(state, dict) and all(isinstance(key, str) for key in state)
    if not named or not all(isinstance(value, Tensor) for value in state.values()):
        held = ", ".join(f"'{key}'" for key in state) if named else f"a {type(state).__name__}"
        raise GroundingError(f"weights file '{file}' holds {textwrap.shorten(held, 100)}: {_STATE_DICT}")
    consume_prefix_in_state_dict_if_present(state, "module.")
    return state  # type: ignore[no-any-return]


def check_outputs(state: Mapping[str, Tensor], last: str, outputs: int, file: str, model: str) -> None:
    """Raise a `GroundingError` where the classifier's layer, by the name `last` of its bias, has other outputs."""
    if last in state and state[last].ndim and len(state[last]) != outputs:
        raise GroundingError(
            f"{file} has {counted(len(state[last]), 'output')}: expected the {outputs} of {model}, whose tags are "
            "known (in Python, a TagClassifier takes any network with tags of yours)"
        )


def fill(network: nn.Module, state: Mapping[str, Tensor], file: str, model: str) -> None:
    """Give a network exactly these weights, in place.

    Raises:
        GroundingError: they are of another network, or not finite.
    """
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise GroundingError(f"{file} is not of {model}: {first_words(error)}") from error
    check_finite(network.state_dict(), file)


def first_words(error: Exception) -> str:
    """The beginning of what an error says, in one line."""
    return textwrap.shorten(str(error), 300, placeholder=" ...") or type(error).__name__
