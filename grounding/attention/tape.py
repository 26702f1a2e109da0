"""Record one forward pass as a list of ATen operations, without touching the network."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only
from torch.utils.weak import WeakTensorKeyDictionary

from grounding.attention.rules import BATCH_NORMS, GATES, NEEDS_VALUES, PRODUCTS, RESHAPES, WEIGHTED
from grounding.errors import GroundingError

aten = torch.ops.aten

_SPREADS = RESHAPES | {aten.expand.default}  # what leaves a gate a gate


@dataclass(eq=False, slots=True)
class Value:
    """A tensor at one moment of the forward pass; an in-place operation makes a new one.

    Attributes:
        shape, stride: of the tensor.
        active: whether it depends on the inputs; parameters and constants do not.
        tensor: its content, kept for constants and where a rule needs it.
        depth: convolutions and linear layers on the longest way from an input.
        version: PyTorch's count of the writes to `tensor` when the recording ended.
    """

    shape: torch.Size
    stride: tuple[int, ...]
    active: bool
    tensor: Tensor | None = None
    depth: int = 0
    version: int = 0

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
        batch_norm: the batch normalisation that alone reads the output of this convolution or linear layer.
    """

    overload: OpOverload | None
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    batch_norm: "Operation | None" = None

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
    """

    inputs: tuple[Value, ...]
    output: Value
    operations: tuple[Operation, ...]
    scores: Tensor


def record(model: Callable[..., Tensor], *inputs: Tensor) -> Tape:
    """Run one forward pass and record it. Nothing of the model is patched, hooked, edited or switched.

    Args:
        model: a module in evaluation mode, or any function of tensors that returns one tensor.
        inputs: what it is called with; the first is the batch of images, (N, C, H, W).

    Raises:
        GroundingError: batch normalisation or dropout in training mode, a forward pass that changes a tensor of the
            model, a result that is not one tensor, or one that does not depend on the inputs.
    """
    if not inputs or not all(isinstance(tensor, Tensor) for tensor in inputs):
        raise GroundingError(f"record was given inputs of {[type(i).__name__ for i in inputs]}: expected tensors")
    recorder = _Recorder(inputs)
    with torch.inference_mode(False), torch.no_grad(), recorder:
        scores = model(*inputs)
    if not isinstance(scores, Tensor):
        raise GroundingError(
            f"the model returned a {type(scores).__name__}: expected one tensor; "
            "record a function that picks it, such as lambda images: model(images).logits"
        )
    output = recorder.value_of(scores)
    if not output.active:
        raise GroundingError("the output of the model does not depend on its inputs")
    _attach_batch_norms(recorder.operations)
    _detach_gates(recorder.operations)
    recorder.close()
    return Tape(recorder.inputs, output, tuple(recorder.operations), scores)


@dataclass(slots=True)
class _Storage:
    """Memory that came into being during the recording: how often it was written, and the last active value there."""

    writes: int = 0
    written: Value | None = None


@dataclass(slots=True)
class _Known:
    value: Value
    writes: int = 0


class _Recorder(TorchDispatchMode):
    """Sees every ATen operation below autograd, in the order it runs."""

    def __init__(self, inputs: tuple[Tensor, ...]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operations: list[Operation] = []
        self._known = WeakTensorKeyDictionary()  # tensor -> _Known; a dead tensor leaves
        self._storages: dict[StorageWeakRef, _Storage] = {}
        self._kept: dict[StorageWeakRef, list[Value]] = {}  # by storage: values that an in-place write would spoil
        for tensor in inputs:
            self._storages[_memory(tensor)] = _Storage()
            self._known[tensor] = _Known(Value(tensor.shape, tensor.stride(), active=True))
        self.inputs = tuple(self._known[tensor].value for tensor in inputs)

    def __torch_dispatch__(
        self, func: OpOverload, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        _check_evaluation_mode(func, args, kwargs)
        mutated = list(_mutated(func, args, kwargs))
        for tensor in mutated:
            if _memory(tensor) not in self._storages:
                raise GroundingError(
                    f"the forward pass changes a tensor of the model ({func}), as batch normalisation does "
                    "in training mode: call model.eval() first"
                )
        recorded_args, recorded_kwargs = tree_map_only(Tensor, self.value_of, (args, kwargs))
        values = [leaf for leaf in tree_leaves((recorded_args, recorded_kwargs)) if isinstance(leaf, Value)]
        active = tuple(value for value in values if value.active)
        if active:
            self._keep(func, (args, kwargs), (recorded_args, recorded_kwargs))
        for tensor in mutated:
            self._rescue(tensor)
        result = func(*args, **kwargs)
        outputs = [leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
        before = {_memory(leaf) for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)}
        for tensor in outputs:
            if _memory(tensor) not in before:
                self._storages[_memory(tensor)] = _Storage()
        depth = max((value.depth for value in active), default=0) + (func in WEIGHTED)
        made = tuple(Value(tensor.shape, tensor.stride(), bool(active), depth=depth) for tensor in outputs)
        for tensor in mutated:
            storage = self._storages[_memory(tensor)]
            storage.writes += 1
            storage.written = made[0] if active and made else storage.written
        for tensor, value in zip(outputs, made, strict=True):
            if active or tensor in self._known:
                self._known[tensor] = _Known(value, self._storage(tensor).writes)
            if active and not tensor.dtype.is_floating_point:
                self._hold(value, tensor)  # the argmax of a maximum
        if active:
            self.operations.append(Operation(func, recorded_args, recorded_kwargs, active, made))
        return result

    def value_of(self, tensor: Tensor) -> Value:
        """The value that this tensor has now."""
        known: _Known | None = self._known.get(tensor, None)
        storage = self._storage(tensor)
        writes = known.writes if known else 0
        active = known is not None and known.value.active
        if storage.writes != writes and (active or storage.written):
            old = known.value if known is not None and active else None
            sources = tuple(value for value in (old, storage.written) if value)
            value = Value(tensor.shape, tensor.stride(), active=True, depth=max(source.depth for source in sources))
            self.operations.append(Operation(None, sources, {}, sources, (value,)))
            self._known[tensor] = _Known(value, storage.writes)
            return value
        return known.value if known is not None else Value(tensor.shape, tensor.stride(), active=False)

    def close(self) -> None:
        """Note the version of all that was kept."""
        for value in (value for values in self._kept.values() for value in values):
            assert value.tensor is not None
            value.version = _version(value.tensor)

    def _storage(self, tensor: Tensor) -> _Storage:
        return self._storages.get(_memory(tensor)) or _Storage()

    def _keep(self, func: OpOverload, tensors: Any, values: Any) -> None:
        """Keep the content of constants, and of activations where a rule needs it."""
        for tensor, value in zip(tree_leaves(tensors), tree_leaves(values), strict=True):
            if isinstance(value, Value) and value.tensor is None and (not value.active or func in NEEDS_VALUES):
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


def _memory(tensor: Tensor) -> StorageWeakRef:
    """Equal for tensors that share memory; unlike an address, never equal to that of memory freed before."""
    return StorageWeakRef(tensor.untyped_storage())


def _mutated(func: OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Iterator[Tensor]:
    """The tensors that the operation writes to."""
    if not func._schema.is_mutable:
        return
    for position, argument in enumerate(func._schema.arguments):
        if argument.alias_info is not None and argument.alias_info.is_write:
            given = args[position] if position < len(args) else kwargs.get(argument.name)
            yield from (leaf for leaf in tree_leaves(given) if isinstance(leaf, Tensor))


def _check_evaluation_mode(func: OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    if func in BATCH_NORMS and dict(zip(_names(func), args, strict=False), **kwargs).get("training", False):
        raise GroundingError(f"batch normalisation uses the statistics of the batch ({func}): call model.eval() first")
    if (func is aten.native_dropout.default and args[2] is not False) or func.overloadpacket is aten.bernoulli_:
        raise GroundingError(f"dropout is active ({func}): call model.eval() first")


def _names(func: OpOverload) -> list[str]:
    return [argument.name for argument in func._schema.arguments]


def _attach_batch_norms(operations: list[Operation]) -> None:
    """Tell each convolution and linear layer which batch normalisation follows it, where that is its only reader."""
    readers: dict[Value, list[Operation]] = {}
    for operation in operations:
        for value in operation.inputs:
            readers.setdefault(value, []).append(operation)
    for operation in operations:
        following = readers.get(operation.outputs[0], []) if operation.outputs else []
        if operation.overload in WEIGHTED and len(following) == 1 and following[0].overload in BATCH_NORMS:
            operation.batch_norm = following[0]


def _detach_gates(operations: list[Operation]) -> None:
    """Leave the gate out of the inputs of each product of an activation and a gate."""
    gates: set[Value] = set()
    for operation in operations:
        inputs = [value for value in operation.inputs if value not in gates]
        if operation.overload in GATES or (operation.overload in _SPREADS and not inputs):
            gates.update(operation.outputs)
        if operation.overload in PRODUCTS and len(inputs) == 1:
            operation.inputs = tuple(inputs)
