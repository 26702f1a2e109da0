"""Where a classifier comes from: `embedded`, a folder, or `torchvision:NAME`."""

import difflib
from importlib.resources import as_file, files
from pathlib import Path
from pickle import UnpicklingError
from urllib.error import URLError

from grounding.errors import GroundingError
from grounding.tagging.classifier import Preprocessing, TagClassifier

SOURCES = "embedded, a folder that save_pretrained wrote, or torchvision:NAME"


def load_classifier(source: str | Path = "embedded") -> TagClassifier:
    """The tag classifier that a source names.

    Raises:
        GroundingError: an unknown source (with the nearest known one), or one that cannot be loaded.
    """
    name = str(source)
    if name == "embedded":
        with as_file(files("grounding.tagging") / "embedded") as folder:
            return TagClassifier.from_pretrained(folder, name)
    if name.startswith("torchvision:"):
        return _torchvision_classifier(name.removeprefix("torchvision:"))
    if Path(source).is_dir():
        return TagClassifier.from_pretrained(source)
    near = difflib.get_close_matches(name, ["embedded", "torchvision:resnet50"], n=1, cutoff=0.5)
    advice = f"did you mean '{near[0]}'?" if near else f"expected {SOURCES}"
    raise GroundingError(f"unknown classifier source '{name}' (and no such folder): {advice}")


def _torchvision_classifier(name: str) -> TagClassifier:
    """A torchvision ImageNet classifier with its default weights, from torchvision's cache or by download."""
    import torch
    from torchvision import models

    known = models.list_models(module=models)
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        advice = f"did you mean 'torchvision:{near[0]}'?" if near else f"known: {', '.join(known)}"
        raise GroundingError(f"torchvision has no classifier '{name}': {advice}")
    weights = models.get_model_weights(name).DEFAULT
    cached = Path(torch.hub.get_dir()) / "checkpoints" / weights.url.rpartition("/")[2]
    try:
        network = models.get_model(name, weights=weights)
    except (URLError, OSError, RuntimeError, UnpicklingError) as error:
        reason = " ".join(str(error).split())[:200]
        raise GroundingError(
            f"weights of torchvision:{name} cannot be loaded: looked for {cached}, then for {weights.url} ({reason})"
        ) from error
    transforms = weights.transforms()
    preprocessing = Preprocessing(transforms.crop_size[0], tuple(transforms.mean), tuple(transforms.std))
    tags = [category.lower() for category in weights.meta["categories"]]
    return TagClassifier(network.eval(), tags, preprocessing, f"torchvision:{name}", multi_label=False)
