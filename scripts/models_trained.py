"""Networks of `models_table` with trained weights, where some are at hand, on the package's own picture."""

from collections.abc import Callable
from pathlib import Path

from PIL import Image
from safetensors.torch import load_file
from torch import Tensor
from torchvision.transforms.functional import to_tensor

from grounding.images import sample_scene
from grounding.tagging.sources import load_classifier

Trained = tuple[Callable[[Tensor], Tensor], Tensor]  # a function of images, and one image as it wants it


def trained(family: str, name: str, folder: Path | None) -> Trained | None:
    """The network of this name with trained weights, and the sample picture, (1, 3, S, S); None without weights.

    Args:
        folder: holds `NAME_imagenet.safetensors` of networks of timm that see images in [-1, 1].
    """
    if family == "grounding":
        classifier = load_classifier(name)
        return classifier.evidence, classifier.preprocessing(sample_scene())
    path = None if folder is None else folder / f"{name}_imagenet.safetensors"
    if family != "timm" or path is None or not path.exists():
        return None
    import timm

    model = timm.create_model(name, pad_type="same")
    model.load_state_dict(load_file(path))
    side: int = model.default_cfg["input_size"][-1]
    picture = Image.fromarray(sample_scene()).resize((side, side), Image.Resampling.BICUBIC)
    return model.eval(), to_tensor(picture)[None] * 2 - 1
