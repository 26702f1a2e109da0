"""Where a classifier comes from: `embedded`, a folder, `torchvision:NAME` or `torchvision:NAME=FILE`."""

import os
import re
import textwrap
from collections import OrderedDict
from http.client import HTTPException
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.modules.utils import consume_prefix_in_state_dict_if_present

from grounding.errors import GroundingError, did_you_mean
from grounding.tagging.classifier import Preprocessing, TagClassifier, check_finite
from grounding.tagging.clip import load_clip
from grounding.tagging.clip_classifier import Classifier
from grounding.wording import counted

SOURCES = "embedded, a folder that save_pretrained wrote, torchvision:NAME or torchvision:NAME=FILE"
_STATE_DICT = "expected a state dict: a .safetensors file, or what torch.save(model.state_dict(), FILE) wrote"


def load_classifier(source: str | Path = "embedded") -> Classifier:
    """Load the classifier that a source names.

    `torchvision:NAME` is an ImageNet classifier with torchvision's best weights, from torchvision's cache or by
    download. `torchvision:NAME=FILE` takes the weights of a local file, .safetensors or what torch.load reads with
    weights_only=True: its state dict must be the model's, name by name, with the 1,000 outputs of ImageNet.

    Raises:
        GroundingError: an unknown source (with the nearest known one), or one that cannot be loaded.
    """
    name = str(source)
    if not name:
        raise GroundingError(f"no classifier was named: expected {SOURCES}")
    if name == "embedded":
        with as_file(files("grounding.tagging") / "embedded") as embedded:
            return TagClassifier.from_pretrained(embedded, name)
    if name.startswith("clip:"):
        return load_clip(name.removeprefix("clip:"))
    if name.startswith("torchvision:"):
        return _torchvision_classifier(name)
    if (folder := Path(os.path.expanduser(source))).is_dir():  # noqa: PTH111 - never raises
        return TagClassifier.from_pretrained(folder)
    advice = did_you_mean(name, ["embedded", "torchvision:resnet50"], f"expected {SOURCES}")
    raise GroundingError(f"unknown classifier source '{name}' (and no such folder): {advice}")


def load_tag_classifier(source: str | Path = "embedded") -> TagClassifier:
    """Load a classifier whose tags are needed.

    Raises:
        GroundingError: as `load_classifier`; or the source is a CLIP, which has no tags.
    """
    classifier = load_classifier(source)
    if not isinstance(classifier, TagClassifier):
        raise GroundingError(f"{source} has no tags: expected a classifier with a tag for each output")
    return classifier


def _torchvision_classifier(source: str) -> TagClassifier:
    """Load an ImageNet classifier: `torchvision:NAME` or `torchvision:NAME=FILE`."""
    from torchvision import models

    name, is_local, path = source.removeprefix("torchvision:").partition("=")
    known = models.list_models(module=models)
    if name not in known:
        advice = did_you_mean(name, known, f"known: {', '.join(known)}", "torchvision:")
        raise GroundingError(f"torchvision has no classifier '{name}': {advice}")
    weights = models.get_model_weights(name).DEFAULT
    file = Path(os.path.expanduser(path)) if is_local else _cached(name, weights.url)  # noqa: PTH111 - never raises
    state = _read_state_dict(file)
    tags = [category.lower() for category in weights.meta["categories"]]
    network: nn.Module = models.get_model(name, weights=None, **_arguments(name, weights.meta)).eval()
    _fill(network, state, f"weights file '{file}'", f"torchvision:{name}", len(tags))
    transforms = weights.transforms()
    preprocessing = Preprocessing(transforms.crop_size[0], tuple(transforms.mean), tuple(transforms.std))
    return TagClassifier(network, tags, preprocessing, source, multi_label=False)


def _arguments(name: str, meta: dict[str, Any]) -> dict[str, Any]:
    """Choose arguments as torchvision does for its own weights, but without auxiliary heads, which never run."""
    if name in ("googlenet", "inception_v3"):
        return {"transform_input": True, "aux_logits": False, "init_weights": False}
    return {"image_size": meta["min_size"][0]} if name.startswith("vit_") else {}


def _cached(name: str, url: str) -> Path:
    """Return torchvision's own file of weights; downloaded, and its hash checked, where the cache lacks it."""
    file = Path(torch.hub.get_dir(), "checkpoints", url.rpartition("/")[2])
    if not file.is_file():
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(url, str(file), hash_prefix=file.stem.rpartition("-")[2])
        except (OSError, HTTPException, RuntimeError) as error:
            reason = textwrap.shorten(str(error), 200, placeholder=" ...")
            raise GroundingError(
                f"weights of torchvision:{name} are not at {file} and cannot be downloaded from {url} ({reason}): "
                f"put them there, or name a local file with torchvision:{name}=FILE"
            ) from error
    return file


def _read_state_dict(file: Path) -> dict[str, Tensor]:
    """Read the names and tensors of a file, without what training scripts and DataParallel wrap them in."""
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


def _fill(network: nn.Module, state: dict[str, Tensor], file: str, model: str, outputs: int) -> None:
    """Give a network exactly these weights, in place.

    Names are brought up to date as torchvision does: auxiliary heads go, where a network has such; dots in DenseNet's
    layer names go; and MNASNet is told the version, which not every file says.
    """
    last = list(network.state_dict())[-1]  # of the classifier's layer
    if last in state and state[last].ndim and len(state[last]) != outputs:
        raise GroundingError(
            f"{file} has {counted(len(state[last]), 'output')}: expected the {outputs} of {model}, whose tags are "
            "known (in Python, a TagClassifier takes any network with tags of yours)"
        )
    renamed: Any = OrderedDict()  # with the attribute in which load_state_dict looks for versions
    for key, value in state.items():
        if not (hasattr(network, "aux_logits") and key.startswith(("aux1.", "aux2.", "AuxLogits."))):
            renamed[re.sub(r"(denselayer\d+\.(?:norm|conv))\.([12])", r"\1\2", key)] = value
    renamed._metadata = {"": {"version": network._version}}
    try:
        network.load_state_dict(renamed)
    except RuntimeError as error:
        reason = textwrap.shorten(str(error), 300, placeholder=" ...")
        raise GroundingError(f"{file} is not of {model}: {reason}") from error
    check_finite(network.state_dict(), file)
