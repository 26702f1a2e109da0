"""Image classifiers of transformers: `hf:user/name` on the hub, or `hf:FOLDER`."""

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from grounding.errors import GroundingError
from grounding.tagging.classifier import TagClassifier, check_finite
from grounding.tagging.hub import CONFIG, Access, find_folder
from grounding.tagging.output_names import output_names
from grounding.tagging.transformers_library import attempt, check_complete, preprocessing_of, quiet, transformers_for

_MULTI_LABEL = "multi_label_classification"


class Logits(nn.Module):
    """A model of transformers as a function of images: (N, 3, S, S) -> (N, T) logits."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        """See the class."""
        return self.model(pixel_values=images).logits  # type: ignore[no-any-return]


def load_transformers(source: str, access: Access) -> TagClassifier:
    """Load what `hf:NAME` names: the model, its image processor and the names of its outputs, `id2label`.

    Its tags exclude each other, unless its configuration says `multi_label_classification`. Code of a repository is
    never run.

    Raises:
        GroundingError: transformers is missing; there is no such folder or repository, or it may not be fetched; it is
            no image classifier, or one without names; weights that are missing, pickled or not exactly the model's; or
            an image processor without a size.
    """
    transformers = transformers_for(source)
    folder = find_folder(source.removeprefix("hf:"), access)
    config = _config(folder, source)
    _check_files(folder, source)
    options = {"local_files_only": True, "trust_remote_code": False}
    with quiet(transformers):
        known = attempt(source, CONFIG, lambda: transformers.AutoConfig.from_pretrained(folder, **options))
        if type(known) not in transformers.AutoModelForImageClassification._model_mapping:
            clip = ", or clip:NAME" if hasattr(known, "text_config") else ""
            raise GroundingError(
                f"{source} is a '{known.model_type}': expected an image classifier of transformers{clip}"
            )
        labels = [known.id2label.get(output, "") for output in range(known.num_labels)]
        names = output_names(labels, source)
        load = transformers.AutoModelForImageClassification.from_pretrained
        weights = {"use_safetensors": True, "dtype": torch.float32, "output_loading_info": True}
        model, report = attempt(source, "weights", lambda: load(folder, **options, **weights))
        check_complete(report, source)
        read = transformers.AutoImageProcessor.from_pretrained
        processor = attempt(source, "image processor", lambda: read(folder, **options))
        preprocessing = preprocessing_of(processor, source)
    check_finite(model.state_dict(), f"weights of {source}")
    multi_label = config.get("problem_type") == _MULTI_LABEL
    network = Logits(model).eval()
    return TagClassifier(network, names.tags, preprocessing, source, multi_label, names=names.others)


def _config(folder: Path, source: str) -> dict[str, Any]:
    """The configuration as it stands in the file, in which transformers has not filled anything in."""
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise GroundingError(f"{source}: {folder / CONFIG} cannot be read ({error}): is it of transformers?") from error
    if not isinstance(config, dict) or "model_type" not in config:
        kinds = {"tags": f"without hf:, {source.removeprefix('hf:')}", "pretrained_cfg": "timm:NAME=FOLDER"}
        found = [advice for key, advice in kinds.items() if isinstance(config, dict) and key in config]
        advice = f"; try {found[0]}" if found else ""
        raise GroundingError(f"{source}: its {CONFIG} names no model_type: it is not of transformers{advice}")
    if "auto_map" in config:
        raise GroundingError(f"{source} brings code of its own, which is never run: expected a model of transformers")
    return config


def _check_files(folder: Path, source: str) -> None:
    if not list(folder.glob("model*.safetensors")):
        raise GroundingError(
            f"{source} has no model.safetensors: pickled weights (pytorch_model.bin) are never read; convert them with "
            "model.save_pretrained(FOLDER) of transformers, and name that folder"
        )
    if not list(folder.glob("*processor_config.json")):
        raise GroundingError(f"{source} has no preprocessor_config.json: expected that of its image processor")
