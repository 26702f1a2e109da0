"""Where a classifier comes from: the package, a folder, the hub, torchvision, timm, transformers or a CLIP."""

import os
from importlib.resources import as_file, files
from pathlib import Path

from grounding.errors import GroundingError, did_you_mean
from grounding.tagging.classifier import TagClassifier
from grounding.tagging.clip import load_clip
from grounding.tagging.clip_classifier import Classifier
from grounding.tagging.hub import Access, is_hub_name, is_offline
from grounding.tagging.state_dicts import local_file
from grounding.tagging.timm_source import load_timm
from grounding.tagging.torchvision_source import load_torchvision
from grounding.tagging.transformers_source import load_transformers

SOURCES = (
    "embedded, a folder that save_pretrained wrote or user/name on the hub, torchvision:NAME[=FILE], "
    "timm:NAME[=FILE], hf:NAME or clip:NAME"
)
_EXAMPLES = ("embedded", "torchvision:resnet50", "timm:resnet50", "hf:google/vit-base-patch16-224", "clip:ViT-B-16")


def load_classifier(source: str | Path = "embedded", offline: bool = False) -> Classifier:
    """Load the classifier that a source names; docs/guides/sources.md has a section for each.

    - `embedded`: the package's own.
    - a folder, or `user/name` on the Hugging Face hub: what `TagClassifier.save_pretrained` or `push_to_hub` wrote.
    - `torchvision:NAME`: an ImageNet classifier with torchvision's best weights; `torchvision:NAME=FILE` with those of
      a file, .safetensors or what torch.load reads with weights_only=True.
    - `timm:NAME`: the same of timm; a file may be a folder in timm's format too.
    - `hf:NAME`: an image classifier of transformers, `user/name` on the hub or a folder.
    - `clip:NAME`: a network that reads texts, and so has no tags: see `load_clip`.

    Names on the hub may end with `@revision`. Weights fit the network name by name or are refused; none is random.

    Args:
        source: as above.
        offline: download nothing, whatever the source; HF_HUB_OFFLINE=1 does the same.

    Returns:
        A `TagClassifier`; for `clip:`, a `ClipClassifier`.

    Raises:
        GroundingError: an unknown source (with the nearest known one), or one that cannot be loaded.
    """
    name, offline = str(source), offline or is_offline()
    if not name:
        raise GroundingError(f"no classifier was named: expected {SOURCES}")
    if name == "embedded":
        with as_file(files("grounding.tagging") / "embedded") as embedded:
            return TagClassifier.from_pretrained(embedded, name)
    if name.startswith("torchvision:"):
        return load_torchvision(name, offline)
    if name.startswith("timm:"):
        return load_timm(name, Access(local_files_only=offline))
    if name.startswith("hf:"):
        return load_transformers(name, Access(local_files_only=offline))
    if name.startswith("clip:"):
        return load_clip(name.removeprefix("clip:"), Access(local_files_only=offline))
    if os.path.isdir(local_file(name)) or is_hub_name(name):  # noqa: PTH112 - never raises
        return TagClassifier.from_pretrained(source, local_files_only=offline)
    advice = did_you_mean(name, _EXAMPLES, f"expected {SOURCES}")
    raise GroundingError(f"unknown classifier source '{name}' (and no such folder): {advice}")


def load_tag_classifier(source: str | Path = "embedded", offline: bool = False) -> TagClassifier:
    """Load a classifier whose tags are needed.

    Raises:
        GroundingError: as `load_classifier`; or the source is a CLIP, which has no tags.
    """
    classifier = load_classifier(source, offline)
    if not isinstance(classifier, TagClassifier):
        raise GroundingError(f"{source} has no tags: expected a classifier with a tag for each output")
    return classifier
