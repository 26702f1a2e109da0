"""ImageNet classifiers of torchvision: `NAME`, with its best weights, or `NAME=FILE`, with weights of your own."""

import re
import textwrap
from collections import OrderedDict
from http.client import HTTPException
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from grounding.errors import GroundingError, did_you_mean
from grounding.tagging.classifier import Preprocessing, TagClassifier
from grounding.tagging.output_names import output_names
from grounding.tagging.state_dicts import check_outputs, fill, local_file, read_state_dict


def load_torchvision(source: str, offline: bool) -> TagClassifier:
    """Load what `torchvision:NAME` or `torchvision:NAME=FILE` names.

    Raises:
        GroundingError: no such model, or weights that are missing, damaged or another model's.
    """
    from torchvision import models

    name, is_local, path = source.removeprefix("torchvision:").partition("=")
    known = models.list_models(module=models)
    if name not in known:
        advice = did_you_mean(name, known, f"known: {', '.join(known)}", "torchvision:")
        raise GroundingError(f"torchvision has no classifier '{name}': {advice}")
    weights = models.get_model_weights(name).DEFAULT
    file = local_file(path) if is_local else _cached(name, weights.url, offline)
    state = read_state_dict(file)
    names = output_names(weights.meta["categories"], source)
    network: nn.Module = models.get_model(name, weights=None, **_arguments(name, weights.meta)).eval()
    last = list(network.state_dict())[-1]  # of the classifier's layer
    check_outputs(state, last, len(names.tags), f"weights file '{file}'", f"torchvision:{name}")
    fill(network, _renewed(state, network), f"weights file '{file}'", f"torchvision:{name}")
    transforms = weights.transforms()
    preprocessing = Preprocessing(transforms.crop_size[0], tuple(transforms.mean), tuple(transforms.std))
    return TagClassifier(network, names.tags, preprocessing, source, multi_label=False, names=names.others)


def _arguments(name: str, meta: dict[str, Any]) -> dict[str, Any]:
    """Choose arguments as torchvision does for its own weights, but without auxiliary heads, which never run."""
    if name in ("googlenet", "inception_v3"):
        return {"transform_input": True, "aux_logits": False, "init_weights": False}
    return {"image_size": meta["min_size"][0]} if name.startswith("vit_") else {}


def _cached(name: str, url: str, offline: bool) -> Path:
    """Return torchvision's own file of weights; downloaded, and its hash checked, where the cache lacks it."""
    file = Path(torch.hub.get_dir(), "checkpoints", url.rpartition("/")[2])
    missing = f"weights of torchvision:{name} are not at {file}"
    advice = f"put them there, or name a local file with torchvision:{name}=FILE"
    if not file.is_file() and offline:
        raise GroundingError(f"{missing}, and --offline (HF_HUB_OFFLINE) allows no download: {advice}")
    if not file.is_file():
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(url, str(file), hash_prefix=file.stem.rpartition("-")[2])
        except (OSError, HTTPException, RuntimeError) as error:
            reason = textwrap.shorten(str(error), 200, placeholder=" ...")
            raise GroundingError(f"{missing} and cannot be downloaded from {url} ({reason}): {advice}") from error
    return file


def _renewed(state: dict[str, Tensor], network: nn.Module) -> dict[str, Tensor]:
    """The state dict with names brought up to date as torchvision does.

    Auxiliary heads go, where a network has such; dots in DenseNet's layer names go; and MNASNet is told the version,
    which not every file says.
    """
    renamed: Any = OrderedDict()  # with the attribute in which load_state_dict looks for versions
    for key, value in state.items():
        if not (hasattr(network, "aux_logits") and key.startswith(("aux1.", "aux2.", "AuxLogits."))):
            renamed[re.sub(r"(denselayer\d+\.(?:norm|conv))\.([12])", r"\1\2", key)] = value
    renamed._metadata = {"": {"version": network._version}}
    return renamed  # type: ignore[no-any-return]
