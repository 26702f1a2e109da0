"""A classifier or its localizer as an ONNX file: run in onnxruntime, and written whole or not at all."""

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import torch

from grounding.errors import GroundingError
from grounding.exporting.conversion import convert, outputs_of, relative_difference
from grounding.exporting.graphs import Graph, classifier_graph, localizer_graph
from grounding.folders import writing
from grounding.tagging.classifier import TagClassifier

_TOLERANCE = 1e-3  # relative to the largest value; rounding leaves a hundredth of it
_MOST_BYTES = 2_000_000_000  # about what a file with its weights inside can hold


@dataclass(frozen=True, slots=True)
class OnnxFile:
    """What was written.

    Attributes:
        path: the ONNX file; its description is at PATH.json.
        inputs: the sizes of each; those that are names are free.
        size_bytes: of the ONNX file.
        runtime: the version of onnxruntime in which it was run; None where that is not installed.
        difference: of its outputs there and in PyTorch, relative to the largest value of each.
    """

    path: Path
    inputs: Mapping[str, tuple[int | str, ...]]
    size_bytes: int
    runtime: str | None
    difference: float | None


def write_onnx(classifier: TagClassifier, what: str, path: Path) -> OnnxFile:
    """Write a classifier, or its localizer, as one ONNX file with its weights; its description is in it and beside it.

    Args:
        what: `localizer`; or `classifier`, which takes pictures of any height and width where the network does.
        path: whose folder exists; a file of this name is replaced when all is well.

    Raises:
        GroundingError: a package is missing; the path cannot be written to; the network has no plain form, is too
            large for one file, or cannot be exported; or the file computes something else than the network.
    """
    check_packages()
    check_writable(path)
    size_bytes = sum(weight.nbytes for weight in classifier.network.state_dict().values())
    if size_bytes > _MOST_BYTES:
        raise GroundingError(f"the network has {size_bytes / 1e9:.1f} GB of weights: an ONNX file holds 2 GB")
    if what == "localizer":
        graph = localizer_graph(classifier)
        model = convert(graph)
    else:
        graph = classifier_graph(classifier, any_size=True)
        try:
            model = convert(graph)
        except GroundingError:
            graph = classifier_graph(classifier, any_size=False)
            model = convert(graph)
    with writing(str(path)), tempfile.TemporaryDirectory(prefix=f".{path.name}-", dir=path.parent) as folder:
        whole, described = Path(folder, "model"), Path(folder, "description")
        whole.write_bytes(model.SerializeToString())
        described.write_text(json.dumps(graph.description, ensure_ascii=False) + "\n", encoding="utf-8")
        runtime, difference = _run(whole, graph)
        described.replace(path.with_name(f"{path.name}.json"))
        whole.replace(path)
    return OnnxFile(path, graph.inputs, path.stat().st_size, runtime, difference)


def check_packages() -> None:
    """Raise a `GroundingError` where a package that exports is missing."""
    missing = [name for name in ("onnx", "onnxscript") if find_spec(name) is None]
    if missing:
        raise GroundingError(f"exporting needs {' and '.join(missing)}: pip install 'grounding[export]'")


def check_writable(path: Path) -> None:
    """Raise a `GroundingError` where no file can be written at this path."""
    for each in (path, path.with_name(f"{path.name}.json")):
        if each.is_dir():
            raise GroundingError(f"output {each} is a folder: expected a file such as {each / 'model.onnx'}")
    with writing(str(path)), tempfile.TemporaryFile(dir=path.parent):
        pass


def _run(path: Path, graph: Graph) -> tuple[str | None, float | None]:
    """The version of onnxruntime and how far its outputs are from the module's; twice None where it is not installed.

    Raises:
        GroundingError: they are not the same.
    """
    if find_spec("onnxruntime") is None:
        return None, None
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    inputs = graph.example(1)
    found = session.run(None, {name: value.numpy() for name, value in zip(graph.inputs, inputs, strict=True)})
    difference = relative_difference([torch.from_numpy(each) for each in found], outputs_of(graph.module, inputs))
    if not difference <= _TOLERANCE:
        raise GroundingError(
            f"onnxruntime {onnxruntime.__version__} differs from PyTorch by {difference:.0%} of the largest value, so "
            "nothing was written"
        )
    return onnxruntime.__version__, difference
