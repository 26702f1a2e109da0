"""Record one forward pass as a list of ATen operations, without touching the network."""

import functools
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakTensorKeyDictionary

from grounding.attention.checks import check_dense, check_evaluation_mode, check_images, check_model
from grounding.attention.fused import written_out
from grounding.attention.graph import attach_scales, detach_gates, release
from grounding.attention.modules import ModuleNames
from grounding.attention.places import Axes, image_axes, label
from grounding.attention.rules import CREATORS, NEEDS_VALUES, WEIGHTED
from grounding.errors import GroundingError

aten = torch.ops.aten


@dataclass(eq=False, slots=True)
class Value:
    """A tensor at one moment of the forward pass; an in-place operation makes a new one.

    Attributes:
        shape, stride: of the tensor.
        active: whether it depends on the inputs; parameters and constants do not.
        tensor: its content, kept for constants and where a rule needs it.
        depth: convolutions and linear layers on the longest way from an input.
        version: PyTorch's count of the writes to `tensor` when the recording ended.
        axes: which dimensions are the places of the image: see `places`.
    """

    shape: torch.Size
    stride: tuple[int, ...]
    active: bool
    tensor: Tensor | None = field(default=None, repr=False)
    depth: int = 0
    version: int = 0
    axes: Axes = ()

    def content(self, dtype: torch.dtype | None = None) -> Tensor:
        """The values the tensor had at that moment, in this dtype.

        Raises:
            GroundingError: it has been overwritten since the recording, by training for instance.
        """
        assert self.tensor is not None, "a rule asked for a value that the tape did not keep: see NEEDS_VALUES"
        if _version(self.tensor) != self.version:
            raise GroundingError("weights or images have changed since the forward pass was recorded: record it again")
        return self.tensor.to(dtype or self.tensor.dtype)


@dataclass(eq=False, slots=True)
class Operation:
    """One ATen operation of the forward pass.

    Attributes:
        overload: for instance `aten.convolution.default`; None for a write through a view, which has no rule.
        args, kwargs: as it was called, every tensor replaced by its `Value`.
        inputs: the active values among them, in order; without the gate of a gated product.
        outputs: what it returned; an in-place operation returns a new value.
        module: the name of the innermost module that called it, such as `layer3.0.conv1`.
        scales: the constant factors that alone follow this convolution or linear layer, channel by channel: of batch
            normalisations, and layer scales. The product with one has it too.
    """

    overload: OpOverload | None
    args: tuple[Any, ...] = field(repr=False)
    kwargs: dict[str, Any] = field(repr=False)
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    module: str = ""
    scales: "tuple[Value | float, ...]" = ()

    @property
    def name(self) -> str:
        """As PyTorch prints it."""
        return str(self.overload) if self.overload is not None else "an in-place write through a view"


@dataclass(frozen=True, eq=False, slots=True)
class Tape:
    """One recorded forward pass. Never changes, and holds no reference to the network but its parameters.

    Attributes:
        inputs: the values of the tensors that the network was given, images first.
        output: the value of the tensor that it returned.
        operations: those that depend on an input, in the order they ran.
        scores: the returned tensor itself.
        modules: the names of the network's modules, each with the name that `Operation.module` has for it.
    """

    inputs: tuple[Value, ...]
    output: Value
    operations: tuple[Operation, ...] = field(repr=False)
    scores: Tensor = field(repr=False)
    modules: Mapping[str, str] = field(repr=False)


def record(model: Callable[..., Tensor], *inputs: Tensor) -> Tape:
    """Run one forward pass and record it. Nothing of the model is patched, hooked, edited or switched.

    Args:
        model: a module in evaluation mode, or any function of tensors that returns one tensor.
        inputs: what it is called with; the first is the batch of images, (N, C, H, W).

    Raises:
        GroundingError: batch normalisation or dropout in training mode, a forward pass that changes a tensor of the
            model, a result that is not one tensor, or one that does not depend on the inputs.
    """
    model = getattr(model, "_orig_mod", model)  # what torch.compile wraps: a recording runs uncompiled
    check_model(model)
    check_images(inputs)
    recorder = _Recorder(model, inputs)
    with torch.inference_mode(False), torch.no_grad(), recorder:
        scores = model(*inputs)
    if not isinstance(scores, Tensor):
        raise GroundingError(
            f"the model returned a {type(scores).__name__}: expected one tensor; "
            "record a function that picks it, such as lambda images: model(images).logits"
        )
    if not scores.dtype.is_floating_point:
        raise GroundingError(f"the model returned {scores.dtype}: expected floating point scores")
    broken = (~(scores < math.inf)).flatten(1).any(1).nonzero()[:, 0].tolist() if scores.dim() > 1 else []
    if broken:
        raise GroundingError(
            f"the scores of image {broken[0]} hold NaN or infinity: are its pixels what the model expects?"
        )
    output = recorder.value_of(scores)
    if not output.active:
        raise GroundingError("the output of the model does not depend on its inputs")
    attach_scales(recorder.operations)
    detach_gates(recorder.operations)
    label(recorder.operations)
    recorder.close()
    release(recorder.operations, output)
    return Tape(recorder.inputs, output, tuple(recorder.operations), scores, recorder.modules.canonical)


@dataclass(slots=True)
class _Storage:
    """Memory that came into being during the recording: how often it was written, and the last active value there.

    As long as `reference` lives, no other storage can have the address that is the key of this one.
    """

    reference: StorageWeakRef
    writes: int = 0
    written: Value | None = None


@dataclass(slots=True)
class _Known:
    value: Value
    writes: int = 0


class _Recorder(TorchDispatchMode):
    """Sees every ATen operation below autograd, in the order it runs."""

    def __init__(self, model: Callable[..., Tensor], inputs: tuple[Tensor, ...]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operations: list[Operation] = []
        self.modules = ModuleNames(model, record.__code__)
        self._known = WeakTensorKeyDictionary()  # tensor -> _Known; a dead tensor leaves
        self._storages: dict[int, _Storage] = {}
        self._kept: dict[int, list[Value]] = {}  # by storage: values that an in-place write would spoil
        for tensor in inputs:
            self._watch(tensor)
            self._known[tensor] = _Known(Value(tensor.shape, tensor.stride(), active=True))
        self.inputs = tuple(self._known[tensor].value for tensor in inputs)
        if inputs[0].dim() == 4:
            self.inputs[0].axes = image_axes(inputs[0].shape)

    def __torch_dispatch__(
        self, func: OpOverload, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        plainer = written_out(func)
        if plainer is not None:
            with self:
                return plainer(*args, **kwargs)
        given = _tensors((*args, *kwargs.values()))
        check_dense(func, given)
        if func.namespace in ("quantized", "_quantized"):
            raise GroundingError(f"{func} is quantised: expected a network of dense floating point tensors")
        mutated = _tensors(args[at] if at < len(args) else kwargs.get(name) for at, name in _written(func))
        for tensor in mutated:
            if _memory(tensor) not in self._storages:
                raise GroundingError(
                    f"the forward pass changes a tensor of the model ({func}), as batch normalisation does "
                    "in training mode: call model.eval() first"
                )
        values = {id(tensor): self.value_of(tensor) for tensor in given}
        active = tuple(values[id(tensor)] for tensor in given if values[id(tensor)].active and func not in CREATORS)
        check_evaluation_mode(func, args, kwargs, bool(active))
        if active:
            self._keep(func, given, values)
        for tensor in mutated:
            self._rescue(tensor)
        result = func(*args, **kwargs)
        outputs = _tensors(result if isinstance(result, (tuple, list)) else (result,))
        check_dense(func, outputs)
        before = {_memory(tensor) for tensor in given}
        for tensor in outputs:
            if _memory(tensor) not in before:
                self._watch(tensor)
        if active or mutated:
            self._note(func, args, kwargs, values, active, mutated, outputs)
        return result

    def _note(
        self,
        func: OpOverload,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        values: dict[int, Value],
        active: tuple[Value, ...],
        mutated: list[Tensor],
        outputs: list[Tensor],
    ) -> None:
        """Add an operation that has run to the tape."""
        depth = max((value.depth for value in active), default=0) + (func in WEIGHTED)
        made = tuple(Value(tensor.shape, tensor.stride(), bool(active), depth=depth) for tensor in outputs)
        for tensor in mutated:
            storage = self._storages[_memory(tensor)]
            storage.writes += 1
            storage.written = made[0] if active and made else storage.written
        for tensor, value in zip(outputs, made, strict=True):
            if active or tensor in self._known:
                self._known[tensor] = _Known(value, self._writes(tensor))
            if active and not tensor.dtype.is_floating_point:
                self._hold(value, tensor)  # the argmax of a maximum
        if active:
            recorded = tuple(_replace(arg, values) for arg in args)
            named = {name: _replace(arg, values) for name, arg in kwargs.items()}
            self.operations.append(Operation(func, recorded, named, active, made, self.modules.caller()))

    def value_of(self, tensor: Tensor) -> Value:
        """The value that this tensor has now."""
        known: _Known | None = self._known.get(tensor, None)
        storage = self._storages.get(_memory(tensor))
        writes = known.writes if known else 0
        active = known is not None and known.value.active
        if storage and storage.writes != writes and (active or storage.written):
            old = known.value if known is not None and active else None
            sources = tuple(value for value in (old, storage.written) if value)
            value = Value(tensor.shape, tensor.stride(), active=True, depth=max(source.depth for source in sources))
            self.operations.append(Operation(None, sources, {}, sources, (value,), self.modules.caller()))
            self._known[tensor] = _Known(value, storage.writes)
            return value
        return known.value if known is not None else Value(tensor.shape, tensor.stride(), active=False)

    def close(self) -> None:
        """Note the version of all that was kept."""
        for value in (value for values in self._kept.values() for value in values):
            assert value.tensor is not None
            value.version = _version(value.tensor)

    def _watch(self, tensor: Tensor) -> None:
        self._storages[_memory(tensor)] = _Storage(StorageWeakRef(tensor.untyped_storage()))

    def _writes(self, tensor: Tensor) -> int:
        storage = self._storages.get(_memory(tensor))
        return storage.writes if storage else 0

    def _keep(self, func: OpOverload, tensors: list[Tensor], values: dict[int, Value]) -> None:
        """Keep the content of constants, and of activations where a rule needs it."""
        for tensor in tensors:
            value = values[id(tensor)]
            if value.tensor is None and (not value.active or func in NEEDS_VALUES):
                self._hold(value, tensor)

    def _hold(self, value: Value, tensor: Tensor) -> None:
        value.tensor = tensor
        self._kept.setdefault(_memory(tensor), []).append(value)

    def _rescue(self, tensor: Tensor) -> None:
        """Copy what the tape holds of memory that is about to be overwritten."""
        for value in self._kept.pop(_memory(tensor), []):
            if value.tensor is not None:
                value.tensor = value.tensor.clone()


def _version(tensor: Tensor) -> int:
    return 0 if tensor.is_inference() else tensor._version


def _memory(tensor: Tensor) -> int:
    """Equal for tensors that share memory."""
    address: int = tensor.untyped_storage()._cdata
    return address


def _tensors(leaves: Iterable[Any]) -> list[Tensor]:
    """The tensors among the arguments or results of an operation; these nest no deeper than lists."""
    found: list[Tensor] = []
    for leaf in leaves:
        if isinstance(leaf, Tensor):
            found.append(leaf)
        elif isinstance(leaf, (list, tuple)):
            found += [item for item in leaf if isinstance(item, Tensor)]
    return found


def _replace(argument: Any, values: dict[int, Value]) -> Any:
    """The argument with each tensor replaced by its value."""
    if isinstance(argument, Tensor):
        return values[id(argument)]
    if isinstance(argument, (list, tuple)):
        return [_replace(item, values) for item in argument]
    return argument


@functools.cache
def _written(func: OpOverload) -> tuple[tuple[int, str], ...]:
    """Position and name of each argument that the operation writes to."""
    arguments = enumerate(func._schema.arguments)
    return tuple((at, each.name) for at, each in arguments if each.alias_info is not None and each.alias_info.is_write)
