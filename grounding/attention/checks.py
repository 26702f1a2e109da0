"""What cannot be recorded, said before anything is: wrapped models, training mode, tensors that are not dense."""

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch._ops import OpOverload
from torch.nn.modules.lazy import LazyModuleMixin
from torch.nn.parameter import is_lazy

from grounding.attention.decompositions import by_name
from grounding.attention.graph import Operation, Value
from grounding.errors import GroundingError

aten = torch.ops.aten

_WRAPPERS = (nn.DataParallel, nn.parallel.DistributedDataParallel)


def check_model(model: Callable[..., Any]) -> None:
    """That it can be called, runs in this thread, and has its weights."""
    if not callable(model):
        raise GroundingError(f"record was given a {type(model).__name__}: expected a module or a function of tensors")
    lazy = False
    for name, module in model.named_modules() if isinstance(model, nn.Module) else ():
        lazy = lazy or isinstance(module, LazyModuleMixin)
        if isinstance(module, _WRAPPERS):
            inner = ".".join(part for part in ("model", name, "module") if part)
            while isinstance(module.module, _WRAPPERS):
                module, inner = module.module, f"{inner}.module"
            raise GroundingError(
                f"the model is wrapped in {type(module).__name__}, whose threads cannot be recorded: record {inner}"
            )
    if lazy and isinstance(model, nn.Module) and any(map(is_lazy, model.parameters())):
        raise GroundingError("the model has lazy modules without weights: run it once first")


def is_input(argument: Any) -> bool:
    """Whether a keyword argument of the model is an input: floating point numbers, or bytes, which may be pixels."""
    return isinstance(argument, Tensor) and (argument.is_floating_point() or argument.dtype == torch.uint8)


def check_images(inputs: Sequence[Any]) -> None:
    """That there are tensors, and pixels."""
    if not inputs or not all(isinstance(tensor, Tensor) for tensor in inputs):
        raise GroundingError(f"record was given inputs of {[type(i).__name__ for i in inputs]}: expected tensors")
    images = next((tensor for tensor in inputs if tensor.dim() in (4, 5)), inputs[0])
    if not images.numel():
        raise GroundingError(f"the images have shape {tuple(images.shape)}: expected at least one pixel")
    check_dense("the input", inputs)


def check_batched(inputs: Sequence[Value], operations: Sequence[Operation], failure: Exception | None = None) -> None:
    """That no input was one image without a batch, (C, H, W): the network fails on it, or runs all the same.

    A convolution of PyTorch takes such an image: it adds a dimension, and takes it away from the output.
    """
    first = next((operation for operation in operations if operation.weighted), None)
    read = first.inputs[0].shape if first is not None else ()
    squeezed = first is not None and any(
        each.overload is not None and each.overload.overloadpacket is aten.squeeze and first.outputs[0] in each.inputs
        for each in operations
    )
    for value in inputs:
        ran = squeezed and read == (1, *value.shape)
        failed = failure is not None and not operations and len(value.shape) == 3 and value.shape[0] in (1, 3, 4)
        if ran or failed:
            expected = "(N, C, H, W)" if len(value.shape) == 3 else "(N, C, T, H, W)"
            because = str(failure or "").strip().partition("\n")[0][:80]
            raise GroundingError(
                f"an image has shape {tuple(value.shape)}: expected a batch {expected}, add a dimension, images[None]"
                + (f" (the model failed: {because})" if because else "")
            ) from failure


def check_dense(owner: object, tensors: Iterable[Tensor]) -> None:
    """That tensors, of an operation for instance, are neither sparse nor quantised."""
    for tensor in tensors:
        if tensor.is_quantized or tensor.layout is not torch.strided:
            kind = "quantised" if tensor.is_quantized else str(tensor.layout).removeprefix("torch.")
            raise GroundingError(f"{owner} has a {kind} tensor: expected a network of dense floating point tensors")


def check_evaluation_mode(func: OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any], active: bool) -> None:
    """That an operation neither drops out nor, on an active tensor, takes the statistics of a batch."""
    if active and _is_batch_norm(func):
        call = by_name(func, *args, **kwargs)
        as_instance_norm = call.running_mean is None and len(args[0]) == 1
        if call.training and not as_instance_norm:
            raise GroundingError(
                f"batch normalisation uses the statistics of the batch ({func}): call model.eval() first"
            )
    if (func is aten.native_dropout.default and args[2] is not False) or func.overloadpacket is aten.bernoulli_:
        raise GroundingError(f"dropout is active ({func}): call model.eval() first")


def has_modes(func: OpOverload) -> bool:
    """Whether `check_evaluation_mode` has something to check of an operation."""
    return _is_batch_norm(func) or func is aten.native_dropout.default or func.overloadpacket is aten.bernoulli_


@functools.cache
def _is_batch_norm(func: OpOverload) -> bool:
    """Whether an operation can take the statistics of its batch."""
    return {"training", "running_mean"} <= {argument.name for argument in func._schema.arguments}
