"""From a graph to an ONNX model, which has been compared with the module at sizes that it was not exported with."""

import contextlib
import logging
import textwrap
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.export import Dim

from grounding.errors import GroundingError
from grounding.exporting.graphs import Graph

OPSET = 18
_TOLERANCE = 1e-4  # relative to the largest value; rounding leaves a hundredth of it


def convert(graph: Graph) -> Any:
    """Export a graph with its free dimensions.

    Returns:
        An `onnx.ModelProto` with weights, and the graph's description as metadata.

    Raises:
        GroundingError: the module cannot be exported so, or what was exported computes something else at other sizes: a
            number that depends on a free dimension was written down.
    """
    free, others = " and ".join(graph.free()), graph.example(3)
    try:
        with torch.no_grad(), _without_notices():
            program = torch.onnx.export(
                graph.module,
                graph.example(2),
                input_names=list(graph.inputs),
                output_names=list(graph.outputs),
                dynamic_shapes=_dimensions(graph),
                opset_version=OPSET,
                dynamo=True,
                verbose=False,
            )
            assert program is not None, "with dynamo=True, a program is returned"
            assert program.exported_program is not None, "it was exported here"
            found = outputs_of(program.exported_program.module(), others)
    except (RuntimeError, AssertionError) as error:  # of torch.export, of the conversion, and of what was exported
        reason = textwrap.shorten(str(error.__cause__ or error), 200, placeholder=" ...")
        raise GroundingError(f"the network cannot be exported with {free} free: {reason}") from error
    difference = relative_difference(found, outputs_of(graph.module, others))
    if not difference <= _TOLERANCE:
        raise GroundingError(
            f"the network cannot be exported with {free} free: what was exported differs by {difference:.0%} of the "
            "largest value"
        )
    model = program.model_proto
    for node in model.graph.node:
        del node.metadata_props[:]  # where on this machine each line of the source is
    for key, value in graph.properties().items():
        model.metadata_props.add(key=key, value=value)
    return model


def outputs_of(module: Any, inputs: Sequence[Tensor]) -> list[Tensor]:
    """Call a module without gradients; one output or several."""
    with torch.no_grad():
        outputs = module(*inputs)
    return [outputs] if isinstance(outputs, Tensor) else list(outputs)


def relative_difference(found: Sequence[Tensor], expected: Sequence[Tensor]) -> float:
    """The largest difference between two lists of outputs, each relative to its largest value; NaN where one is."""
    pairs = zip(found, expected, strict=True)
    return float(torch.stack([(one - other).abs().max() / other.abs().max() for one, other in pairs]).max())


def _dimensions(graph: Graph) -> tuple[dict[int, Dim], ...]:
    """The free dimensions of each input, as torch.export takes them."""
    dims = {name: Dim(name) for name in graph.free()}
    each = (enumerate(sizes) for sizes in graph.inputs.values())
    return tuple({axis: dims[size] for axis, size in sizes if isinstance(size, str)} for sizes in each)


@contextlib.contextmanager
def _without_notices() -> Iterator[None]:
    """PyTorch logs how an attempt fails, which the error says, and warns where two inputs share a dimension."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "# The axis name")
            yield
    finally:
        logging.disable(before)
