"""Image classifiers of timm: `timm:NAME`, with the weights that timm names, or `timm:NAME=FILE`, with your own."""

import json
from pathlib import Path
from typing import Any

from grounding.errors import GroundingError, did_you_mean
from grounding.tagging.classifier import Preprocessing, TagClassifier, check_finite
from grounding.tagging.hub import CONFIG, Access, fetch
from grounding.tagging.output_names import OutputNames, output_names
from grounding.tagging.state_dicts import check_outputs, first_words, local_file, read_state_dict

_WEIGHTS = "model.safetensors"


def load_timm(source: str, access: Access) -> TagClassifier:
    """Load what `timm:NAME` or `timm:NAME=FILE` names.

    NAME is one that `timm.list_models()` knows, such as `resnet50` or `resnet50.a1_in1k`. Its size, mean and standard
    deviation are those of its `pretrained_cfg`; the names of its outputs too, or else ImageNet's, by their number, as
    timm counts them. FILE holds the state dict of that model, .safetensors or what torch.load reads with
    weights_only=True; or it is a folder in timm's own format, with a config.json that may say what to change:
    `{"architecture": NAME, "model_args": {...}, "pretrained_cfg": {...}, "label_names": [...]}`.

    Raises:
        GroundingError: timm is missing or has no such model, it is no classifier or one whose outputs have no names, or
            weights that are missing, pickled, damaged or another model's.
    """
    timm = _library(source)
    name, is_local, path = source.removeprefix("timm:").partition("=")
    if not timm.is_model(name):
        advice = did_you_mean(name, timm.list_models(), "see timm.list_models()", "timm:")
        raise GroundingError(f"timm has no model '{name}': {advice}")
    known = _known(timm, name)
    file = local_file(path) if is_local else _fetched(known, source, access)
    config: dict[str, Any] = {}
    if file.is_dir():
        config, file = _read_config(file, name), file / _WEIGHTS
    cfg = {**(known.to_dict() if known else {}), **(config.get("pretrained_cfg") or {})}
    cfg |= {key: config[key] for key in ("num_classes", "label_names", "label_descriptions") if config.get(key)}
    names = _names(timm, cfg, source)
    size_px = _side(cfg, source)
    network = _network(timm, name, cfg, config.get("model_args") or {}, file, len(names.tags))
    mean, std = (tuple(float(value) for value in cfg[key]) for key in ("mean", "std"))
    resample = "bilinear" if cfg.get("interpolation") == "bilinear" else "bicubic"
    preprocessing = Preprocessing(size_px, mean, std, resample)  # type: ignore[arg-type]
    return TagClassifier(network, names.tags, preprocessing, source, multi_label=False, names=names.others)


def _library(source: str) -> Any:
    try:
        import timm
        import timm.data
    except ImportError as error:
        raise GroundingError(f"{source} needs timm, which is not installed: pip install 'grounding[timm]'") from error
    return timm


def _known(timm: Any, name: str) -> Any:
    """What timm knows of weights, by the name of a model and, after a point, their tag."""
    try:
        return timm.models.get_pretrained_cfg(name, allow_unregistered=True)
    except RuntimeError as error:
        model, _, tag = name.partition(".")
        tags = [each.partition(".")[2] for each in timm.list_models(f"{model}.*", pretrained=True)]
        raise GroundingError(
            f"timm has no weights '{tag}' of '{model}': expected one of {', '.join(tags) or 'none'}"
        ) from error


def _fetched(known: Any, source: str, access: Access) -> Path:
    """The folder of the weights that timm names, from its hub repository."""
    own = f"name a file of yours, {source}=FILE"
    if known is None or not known.hf_hub_id:
        raise GroundingError(f"timm has no weights for {source}: {own}, or see timm.list_models(pretrained=True)")
    folder = fetch(known.hf_hub_id, access)
    if not (folder / _WEIGHTS).is_file():
        raise GroundingError(f"{known.hf_hub_id} on the hub has no {_WEIGHTS}: pickled weights are never read; {own}")
    return folder


def _read_config(folder: Path, name: str) -> dict[str, Any]:
    """The config.json of a folder in timm's format; one that says nothing of a model is empty."""
    path = folder / CONFIG
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise GroundingError(f"{path} cannot be read ({error}): expected timm's, beside {_WEIGHTS}") from error
    held = config if isinstance(config, dict) else {}
    architecture = held.get("architecture")
    parts = [held.get("pretrained_cfg") or {}, held.get("model_args") or {}]
    if not all(isinstance(part, dict) for part in parts) or not isinstance(architecture, str):
        raise GroundingError(f'{path} is not timm\'s: expected {{"architecture": "{name}", "pretrained_cfg": {{...}}}}')
    if architecture.partition(".")[0] != name.partition(".")[0]:
        raise GroundingError(f"{path} is of '{architecture}': expected one of '{name}', as timm:{name} says")
    return held


def _names(timm: Any, cfg: dict[str, Any], source: str) -> OutputNames:
    """The names of the outputs: the configuration's own, or ImageNet's."""
    outputs = cfg.get("num_classes") or 0
    labels = cfg.get("label_names")
    if labels:
        labels = [labels[key] for key in sorted(labels, key=int)] if isinstance(labels, dict) else list(labels)
        descriptions = cfg.get("label_descriptions") or {}
        labels = [str(descriptions.get(label, label)) for label in labels]
    elif subset := timm.data.infer_imagenet_subset({"num_classes": outputs}):
        info = timm.data.ImageNetInfo(subset)
        labels = [info.index_to_description(output) for output in range(info.num_classes())]
    else:
        what = f"its {outputs:,} outputs have no names" if outputs else "it has no classifier"
        clip = "; see clip:NAME" if "clip" in source else ""
        raise GroundingError(
            f"{source}: {what}: expected a network trained on ImageNet (in1k, in12k, in21k or in22k at the end of its "
            f"name), or a folder whose {CONFIG} has label_names{clip}"
        )
    if len(labels) != outputs:
        raise GroundingError(
            f"{source}: label_names are {len(labels):,}, for {outputs:,} outputs: expected a name each"
        )
    return output_names(labels, source)


def _side(cfg: dict[str, Any], source: str) -> int:
    channels, height, width = cfg.get("input_size") or (3, 224, 224)
    if channels != 3 or height != width:
        raise GroundingError(f"{source} takes images of {channels} x {height} x {width}: expected 3 x S x S")
    return int(height)


def _network(timm: Any, name: str, cfg: dict[str, Any], options: dict[str, Any], file: Path, outputs: int) -> Any:
    """The model with exactly the weights of a file, which timm renames where they are of its original authors."""
    state, what = read_state_dict(file), f"weights file '{file}'"
    layer = cfg.get("classifier")
    if isinstance(layer, str):
        check_outputs(state, f"{layer}.bias", outputs, what, f"timm:{name}")
    sources = {"url": "", "file": None, "source": None, "hf_hub_id": None, "custom_load": False}
    given = {**cfg, **sources, "state_dict": state, "num_classes": outputs}
    options = {key: value for key, value in options.items() if key != "num_classes"}
    try:
        network = timm.create_model(
            name.partition(".")[0], pretrained=True, pretrained_cfg=given, num_classes=outputs, **options
        ).eval()
    except (AssertionError, AttributeError, LookupError, OSError, RuntimeError, TypeError, ValueError) as error:
        raise GroundingError(f"{what} is not of timm:{name}: {first_words(error)}") from error
    network.pretrained_cfg.pop("state_dict", None)  # or every copy of the network would copy it too
    check_finite(network.state_dict(), what)
    return network
