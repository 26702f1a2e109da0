"""Record one forward pass as a list of ATen operations, without touching the network."""

import functools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakTensorKeyDictionary

from grounding.attention.annotations import attach_scales, detach_gates, release
from grounding.attention.canonical import canonical, measure_depths
from grounding.attention.checks import check_dense, check_evaluation_mode, check_images, check_model, check_outputs
from grounding.attention.decompositions import decomposition
from grounding.attention.gradients import Gradients, check_differentiable, check_gradient, copy_with_graph
from grounding.attention.graph import Operation, Rule, Tape, Value, write_count
from grounding.attention.head import join_head
from grounding.attention.linear_sums import merge_sums
from grounding.attention.module_names import ModuleNames
from grounding.attention.rules.table import rule_of
from grounding.attention.spatial import image_axes, label
from grounding.errors import GroundingError


def record(
    model: Callable[..., Tensor | tuple[Tensor, ...]],
    *inputs: Tensor,
    rules: Mapping[OpOverload, Rule] | None = None,
    differentiable: bool = False,
) -> Tape:
    """Run one forward pass and record it. Nothing of the model is patched, hooked, edited or switched.

    Args:
        model: a module in evaluation mode, or any function of tensors, that returns the scores (N, T), or a tuple of
            tensors with the scores first.
        inputs: what it is called with. The images are the first of them that is (N, C, H, W) and that the scores depend
            on: the layers of `layers.layers` and strides are counted from these.
        rules: of your own, by ATen operation; they come before the package's.
        differentiable: keep the autograd graph, so that maps have a gradient by the inputs and the weights: through x,
            W+ and Z of arXiv 1608.00507, equation 10. The scores, `Tape.scores`, then have theirs too.

    Raises:
        GroundingError: batch normalisation or dropout in training mode, a forward pass that changes a tensor of the
            model, a result that is no tensor or tuple of tensors, or scores that do not depend on the inputs; a
            differentiable recording where gradients are off, or of what requires none.
    """
    model = getattr(model, "_orig_mod", model)  # what torch.compile wraps: a recording runs uncompiled
    check_model(model)
    check_images(inputs)
    if differentiable:
        check_differentiable()
    recorder = _Recorder(model, inputs, rules or {}, Gradients() if differentiable else None)
    with torch.inference_mode(False), torch.set_grad_enabled(differentiable), recorder:
        returned = model(*inputs)
    outputs = returned if type(returned) is tuple else (returned,)
    check_outputs(outputs)
    output = recorder.value_of(outputs[0])
    if not output.active:
        raise GroundingError("the output of the model does not depend on its inputs")
    if differentiable:
        check_gradient(outputs[0])
    recorder.close()
    with torch.inference_mode(False), torch.set_grad_enabled(differentiable):
        operations = in_linear_form(recorder.operations, output, rules or {})
    release(operations, output)
    return Tape(recorder.inputs, output, tuple(operations), outputs, recorder.modules.canonical, differentiable)


def in_linear_form(recorded: list[Operation], output: Value, given: Mapping[OpOverload, Rule]) -> list[Operation]:
    """The recorded operations with what is linear written in the forms that have rules, and annotated."""
    operations = merge_sums(canonical(recorded, given))
    measure_depths(operations)
    attach_scales(operations)
    detach_gates(operations)
    label(operations)
    return join_head(operations, output)


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

    def __init__(
        self,
        model: Callable[..., Any],
        inputs: tuple[Tensor, ...],
        rules: Mapping[OpOverload, Rule],
        gradients: Gradients | None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._rules = rules
        self._gradients = gradients
        self._fused = ""  # the fused operation that is being written out
        self.operations: list[Operation] = []
        self.modules = ModuleNames(model, record.__code__)
        self._known = WeakTensorKeyDictionary()  # tensor -> _Known; a dead tensor leaves
        self._storages: dict[int, _Storage] = {}
        self._kept: dict[int, list[Value]] = {}  # by storage: values that an in-place write would spoil
        for tensor in inputs:
            self._watch(tensor)
            self._known[tensor] = _Known(Value(tensor.shape, tensor.stride(), active=True))
        self.inputs = tuple(self._known[tensor].value for tensor in inputs)
        for value in self.inputs:
            if len(value.shape) == 4:
                value.axes = image_axes(value.shape)

    def __torch_dispatch__(
        self, func: OpOverload, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        plainer = None if func in self._rules else decomposition(func)
        if plainer is not None:
            return self._write_out(func, plainer, args, kwargs)
        rule = rule_of(func, self._rules)
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
        constant = rule is not None and rule.ignores_values
        active = tuple(values[id(tensor)] for tensor in given if values[id(tensor)].active and not constant)
        check_evaluation_mode(func, args, kwargs, bool(active))
        if active:
            self._keep(rule, given, values)
        for tensor in mutated:
            self._rescue(func, tensor)
        result = func(*args, **kwargs)
        outputs = _tensors(result if isinstance(result, (tuple, list)) else (result,))
        check_dense(func, outputs)
        before = {_memory(tensor) for tensor in given}
        for tensor in outputs:
            if _memory(tensor) not in before:
                self._watch(tensor)
        if self._gradients is not None:
            self._gradients.follow(self._fused or str(func), func, given, outputs)
        if active or mutated:
            self._note(func, rule, args, kwargs, values, active, mutated, outputs)
        return result

    def _write_out(
        self, func: OpOverload, plainer: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Record a fused operation as the plainer ones that compute the same."""
        outermost, self._fused = self._fused, self._fused or str(func)
        try:
            with self:
                return plainer(*args, **kwargs)
        finally:
            self._fused = outermost

    def _note(
        self,
        func: OpOverload,
        rule: Rule | None,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        values: dict[int, Value],
        active: tuple[Value, ...],
        mutated: list[Tensor],
        outputs: list[Tensor],
    ) -> None:
        """Add an operation that has run to the tape."""
        depth = max((value.depth for value in active), default=0) + (rule is not None and rule.dual is not None)
        results = tuple(Value(tensor.shape, tensor.stride(), bool(active), depth=depth) for tensor in outputs)
        for tensor in mutated:
            storage = self._storages[_memory(tensor)]
            storage.writes += 1
            storage.written = results[0] if active and results else storage.written
        for tensor, value in zip(outputs, results, strict=True):
            if active or tensor in self._known:
                self._known[tensor] = _Known(value, self._writes(tensor))
            if active and not tensor.dtype.is_floating_point:
                self._hold(value, tensor)  # the argmax of a maximum
        if active:
            recorded = tuple(_replace(arg, values) for arg in args)
            named = {name: _replace(arg, values) for name, arg in kwargs.items()}
            self.operations.append(Operation(func, recorded, named, active, results, self.modules.caller(), rule))

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
            write = Operation(None, sources, {}, sources, (value,), self.modules.caller(), rule_of(None, {}))
            self.operations.append(write)
            self._known[tensor] = _Known(value, storage.writes)
            return value
        return known.value if known is not None else Value(tensor.shape, tensor.stride(), active=False)

    def close(self) -> None:
        """Note the version of all that was kept."""
        for value in (value for values in self._kept.values() for value in values):
            assert value.tensor is not None
            value.version = write_count(value.tensor)

    def _watch(self, tensor: Tensor) -> None:
        self._storages[_memory(tensor)] = _Storage(StorageWeakRef(tensor.untyped_storage()))

    def _writes(self, tensor: Tensor) -> int:
        storage = self._storages.get(_memory(tensor))
        return storage.writes if storage else 0

    def _keep(self, rule: Rule | None, tensors: list[Tensor], values: dict[int, Value]) -> None:
        """Keep the content of constants, and of activations where a rule needs it."""
        for tensor in tensors:
            value = values[id(tensor)]
            if value.tensor is None and (not value.active or (rule is not None and rule.needs_values)):
                self._hold(value, tensor)

    def _hold(self, value: Value, tensor: Tensor) -> None:
        value.tensor = tensor
        value.lost_in = self._gradients.lost_in(tensor) if self._gradients is not None else ""
        self._kept.setdefault(_memory(tensor), []).append(value)

    def _rescue(self, func: OpOverload, tensor: Tensor) -> None:
        """Copy what the tape holds of memory that `func` is about to overwrite."""
        for value in self._kept.pop(_memory(tensor), []):
            if value.tensor is not None:
                plain = self._gradients is None
                value.tensor = value.tensor.clone() if plain else copy_with_graph(func, value.tensor)


def _memory(tensor: Tensor) -> int:
    """Equal for tensors that share memory."""
    address: int = tensor.untyped_storage()._cdata
    return address


def _tensors(leaves: Iterable[Any]) -> list[Tensor]:
    """The tensors among the arguments or results of an operation; these nest no deeper than lists."""
    tensors: list[Tensor] = []
    for leaf in leaves:
        if isinstance(leaf, Tensor):
            tensors.append(leaf)
        elif isinstance(leaf, (list, tuple)):
            tensors += [item for item in leaf if isinstance(item, Tensor)]
    return tensors


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
