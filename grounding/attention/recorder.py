"""Record one forward pass as a list of ATen operations, without touching the network."""

import weakref
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode

from grounding.attention.annotations import attach_folds, detach_gates, release
from grounding.attention.checks import check_dense, check_evaluation_mode, check_images, check_model, check_outputs
from grounding.attention.gradients import Gradients, check_differentiable, check_gradient, copy_with_graph
from grounding.attention.graph import Operation, Rule, Tape, Value, write_count
from grounding.attention.kinds import Kind, kind_of
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
    attach_folds(recorder.operations, output)
    detach_gates(recorder.operations)
    label(recorder.operations)
    recorder.close()
    release(recorder.operations, output)
    operations = tuple(recorder.operations)
    return Tape(recorder.inputs, output, operations, outputs, recorder.modules.canonical, differentiable)


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
    """A tensor that may carry signal: its value, and the writes to its memory, up to then.

    As long as `reference` gives the tensor, no other has the identity that is the key of this one.
    """

    reference: weakref.ref[Tensor]
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
        self._kinds: dict[OpOverload, Kind] = {}
        self._gradients = gradients
        self._fused = ""  # the fused operation that is being written out
        self.operations: list[Operation] = []
        self.modules = ModuleNames(model, record.__code__)
        self._known: dict[int, _Known] = {}  # by the identity of a tensor
        self._storages: dict[int, _Storage] = {}
        self._kept: dict[int, list[Value]] = {}  # by storage: values that an in-place write would spoil
        for tensor in inputs:
            self._watch(tensor)
            self._learn(tensor, Value(tensor.shape, tensor.stride(), active=True))
        self.inputs = tuple(self._known[id(tensor)].value for tensor in inputs)
        for value in self.inputs:
            if len(value.shape) == 4:
                value.axes = image_axes(value.shape)

    def __torch_dispatch__(
        self, func: OpOverload, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        kind = self._kinds.get(func)
        if kind is None:
            kind = self._kinds[func] = kind_of(func, self._rules)
        if kind.plainer is not None:
            return self._write_out(func, kind.plainer, args, kwargs)
        rule = kind.rule
        given = _tensors((*args, *kwargs.values()))
        check_dense(func, given)
        if kind.quantised:
            raise GroundingError(f"{func} is quantised: expected a network of dense floating point tensors")
        mutated = self._mutated(func, kind, args, kwargs) if kind.written else []
        values = {id(tensor): self.value_of(tensor) for tensor in given}
        constant = rule is not None and rule.ignores_values
        active = () if constant else tuple([value for tensor in given if (value := values[id(tensor)]).active])
        if kind.has_modes:
            check_evaluation_mode(func, args, kwargs, bool(active))
        if active:
            self._keep(rule, given, values)
        for tensor in mutated:
            self._rescue(func, tensor)
        result = func(*args, **kwargs)
        outputs = [result] if isinstance(result, Tensor) else _tensors(_as_sequence(result))
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

    def _mutated(self, func: OpOverload, kind: Kind, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Tensor]:
        """The tensors that the operation is about to write to."""
        mutated = _tensors(args[at] if at < len(args) else kwargs.get(name) for at, name in kind.written)
        for tensor in mutated:
            if _memory(tensor) not in self._storages:
                raise GroundingError(
                    f"the forward pass changes a tensor of the model ({func}), as batch normalisation does "
                    "in training mode: call model.eval() first"
                )
        return mutated

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
        depth = 0
        if active:
            depth = max([value.depth for value in active]) + (rule is not None and rule.dual is not None)
        results = tuple([Value(tensor.shape, tensor.stride(), bool(active), depth=depth) for tensor in outputs])
        for tensor in mutated:
            storage = self._storages[_memory(tensor)]
            storage.writes += 1
            storage.written = results[0] if active and results else storage.written
        for tensor, value in zip(outputs, results, strict=True):
            if active or self._recall(tensor) is not None:
                self._learn(tensor, value)
            if active and not tensor.dtype.is_floating_point:
                self._hold(value, tensor)  # the argmax of a maximum
        if active:
            recorded = tuple([arg if type(arg) in _PLAIN else _replace(arg, values) for arg in args])
            named = {name: _replace(arg, values) for name, arg in kwargs.items()} if kwargs else {}
            self.operations.append(Operation(func, recorded, named, active, results, self.modules.caller(), rule))

    def value_of(self, tensor: Tensor) -> Value:
        """The value that this tensor has now."""
        known = self._recall(tensor)
        storage = self._storages.get(_memory(tensor))
        writes = known.writes if known else 0
        if known is not None and (storage is None or storage.writes == writes):
            return known.value
        active = known is not None and known.value.active
        if storage and storage.writes != writes and (active or storage.written):
            old = known.value if known is not None and active else None
            sources = tuple(value for value in (old, storage.written) if value)
            value = Value(tensor.shape, tensor.stride(), active=True, depth=max(source.depth for source in sources))
            write = Operation(None, sources, {}, sources, (value,), self.modules.caller(), rule_of(None, {}))
            self.operations.append(write)
            self._learn(tensor, value)
            return value
        return known.value if known is not None else Value(tensor.shape, tensor.stride(), active=False)

    def close(self) -> None:
        """Note the version of all that was kept."""
        for value in (value for values in self._kept.values() for value in values):
            assert value.tensor is not None
            value.version = write_count(value.tensor)

    def _watch(self, tensor: Tensor) -> None:
        self._storages[_memory(tensor)] = _Storage(StorageWeakRef(tensor.untyped_storage()))

    def _recall(self, tensor: Tensor) -> _Known | None:
        """What is known of a tensor; None of one that never carried signal."""
        known = self._known.get(id(tensor))
        return known if known is not None and known.reference() is tensor else None

    def _learn(self, tensor: Tensor, value: Value) -> None:
        storage = self._storages.get(_memory(tensor))
        self._known[id(tensor)] = _Known(weakref.ref(tensor), value, storage.writes if storage else 0)

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


_PLAIN = frozenset({int, float, bool, str, type(None), torch.dtype, torch.device, torch.layout, torch.memory_format})


def _tensors(leaves: Iterable[Any]) -> list[Tensor]:
    """The tensors among the arguments or results of an operation; these nest no deeper than lists."""
    tensors: list[Tensor] = []
    for leaf in leaves:
        if type(leaf) in _PLAIN:  # far cheaper than to ask whether it is a tensor
            continue
        if isinstance(leaf, Tensor):
            tensors.append(leaf)
        elif isinstance(leaf, (list, tuple)):
            tensors += [item for item in leaf if type(item) not in _PLAIN and isinstance(item, Tensor)]
    return tensors


def _as_sequence(result: Any) -> Any:
    return result if isinstance(result, (tuple, list)) else (result,)


def _replace(argument: Any, values: dict[int, Value]) -> Any:
    """The argument with each tensor, which `values` has by its identity, replaced by its value."""
    if isinstance(argument, (list, tuple)):
        return [values.get(id(item), item) for item in argument]
    return values.get(id(argument), argument)
