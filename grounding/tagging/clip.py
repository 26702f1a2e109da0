"""`clip:NAME`: a network that compares pictures with texts, of transformers or of open_clip."""

import os
from pathlib import Path

from grounding.errors import GroundingError
from grounding.tagging.classifier import Preprocessing
from grounding.tagging.clip_classifier import ClipClassifier
from grounding.tagging.clip_open import CONFIG, architectures, load_open_clip, load_open_clip_folder
from grounding.tagging.clip_transformers import TOKENIZER, load_transformers_clip
from grounding.tagging.hub import SAFE_FILES, Access, fetch, is_hub_name
from grounding.tagging.towers import Towers

NAMES = "clip:FOLDER, clip:user/name on the hub, or clip:ARCHITECTURE[/WEIGHTS] of open_clip"
_FILES = (*SAFE_FILES, *TOKENIZER, CONFIG, "open_clip_model*.safetensors")


def load_clip(name: str, access: Access | None = None) -> ClipClassifier:
    """Load the network that `clip:NAME` names, given NAME. What it looks like says which library reads it:

    - a folder: transformers where it has a config.json, open_clip where it has only an open_clip_config.json.
    - `ARCHITECTURE` or `ARCHITECTURE/WEIGHTS`, an architecture of open_clip: by open_clip, from the hub.
    - any other `user/name`: a repository of the hub, read as a folder; `hf-hub:user/name` is read by open_clip.

    Weights are safetensors that fit the network name by name; nothing is random, and no code of a repository is run.

    Raises:
        GroundingError: a library is missing, there is no such network, it cannot be fetched, or files are not whole.
    """
    if not name:
        raise GroundingError(f"clip: was given no name: expected {NAMES}")
    towers, preprocessing = _load(name, access or Access(), f"clip:{name}")
    return ClipClassifier(towers, preprocessing, f"clip:{name}")


def _load(name: str, access: Access, where: str) -> tuple[Towers, Preprocessing]:
    folder = Path(os.path.expanduser(name))  # noqa: PTH111 - never raises
    if folder.is_dir():
        return _from_folder(folder, where)
    if name.startswith("hf-hub:"):
        return load_open_clip_folder(fetch(name.removeprefix("hf-hub:"), access, _FILES), where)
    if is_hub_name(name) and name.partition("/")[0] not in architectures():
        return _from_folder(fetch(name, access, _FILES), where)
    return load_open_clip(name, access, where)


def _from_folder(folder: Path, where: str) -> tuple[Towers, Preprocessing]:
    if (folder / "config.json").is_file():
        return load_transformers_clip(folder, where)
    if (folder / CONFIG).is_file():
        return load_open_clip_folder(folder, where)
    raise GroundingError(f"{where} has neither config.json (of transformers) nor {CONFIG} (of open_clip): no CLIP")
