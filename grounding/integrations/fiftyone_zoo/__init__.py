"""What FiftyOne's model zoo asks of a folder of models; the manifest is beside it, the model in the package."""

from pathlib import Path
from typing import Any


def download_model(model_name: str, model_path: str) -> None:
    """Note that nothing is to be fetched: the weights come with the package."""
    Path(model_path).write_text(f"the weights of {model_name} are in the Python package\n")


def load_model(model_name: str, model_path: str, **settings: Any) -> Any:
    """Make the model: `labels`, `classifier`, `device`, `boxes` and `threshold` as `GroundingModel` takes them."""
    from grounding.integrations.fiftyone import GroundingModel

    return GroundingModel(**settings)
