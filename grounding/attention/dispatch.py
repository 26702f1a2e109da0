"""Every ATen operation of a forward pass, seen as it runs, with the value that each tensor has at that moment."""

import weakref
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode

from grounding.attention.checks import check_dense, check_evaluation_mode
from grounding.attention.gradients import Gradients, copy_with_graph
from grounding.attention.graph import Operation, Rule, Value, write_count
from grounding.attention.kinds import Kind, kind_of
from grounding.attention.module_names import ModuleNames
from grounding.attention.rules.table import rule_of
from grounding.attention.spatial import input_axes
from grounding.attention.writes import Write, last_written, overlap
from grounding.errors import GroundingError


@dataclass(slots=True)
class _Storage:
    """Memory that came into being during the recording, and all that was written there since the first activation.

    As long as `reference` lives, no other storage can have the address that is the key of this one.
    """

    reference: StorageWeakRef
    writes: list[Write] = field(default_factory=list)


@dataclass(slots=True)
class _Known:
    """A tensor that may carry signal: its value, and how often its memory had been written then.

    As long as `reference` gives the tensor, no other has the identity that is the key of this one.
    """

    reference: weakref.ref[Tensor]
    value: Value
    writes: int = 0


class Recorder(TorchDispatchMode):
    """Sees every ATen operation below autograd, in the order it runs."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Not unless somebody compiles: to skip Dynamo, PyTorch imports it, which takes longer than a picture."""
        return False

    def __init__(
        self,
        inputs: tuple[Tensor, ...],
        rules: Mapping[OpOverload, Rule],
        gradients: Gradients | None,
        modules: ModuleNames,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._rules = rules
        self._kinds: dict[OpOverload, Kind] = {}
        self._gradients = gradients
        self._fused = ""  # the fused operation that is being written out
        self.operations: list[Operation] = []
        self.modules = modules
        self._known: dict[int, _Known] = {}  # by the identity of a tensor
        self._storages: dict[int, _Storage] = {}
        self._kept: dict[int, list[Value]] = {}  # by storage: values that an in-place write would spoil
        for tensor in inputs:
            self._watch(tensor)
            value = Value(tensor.shape, tensor.stride(), active=True)
            self._write(tensor, value)
            self._learn(tensor, value)
        self.inputs = tuple(self._known[id(tensor)].value for tensor in inputs)
        for value in self.inputs:
            value.axes = input_axes(value.shape)

    def __torch_dispatch__(
        self, func: OpOverload, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is _NUMBER and not isinstance(args[0], Tensor):
            return args[0]  # a constant of a traced network, which PyTorch hands on as a number
        kind = self._kinds.get(func)
        if kind is None:
            kind = self._kinds[func] = kind_of(func, self._rules)
        if kind.plainer is not None:
            return self._write_out(func, kind.plainer, args, kwargs)
        rule = kind.rule
        given = _tensors((*args, *kwargs.values()))
        check_dense(func, given)
        mutated = self._mutated(func, kind, args, kwargs) if kind.written else []
        if kind.is_view and self._stale(given[0]):
            return self._look_through(func, args, kwargs, given)
        read = given[1:] if rule is not None and rule.overwrites else given
        values = {id(tensor): self.value_of(tensor) for tensor in read}
        for tensor in mutated:  # what is overwritten has a value that nobody reads
            values.setdefault(id(tensor), Value(tensor.shape, tensor.stride(), active=False))
        constant = rule is not None and rule.ignores_values
        active = () if constant else tuple([value for tensor in read if (value := values[id(tensor)]).active])
        if kind.has_modes:
            check_evaluation_mode(func, args, kwargs, bool(active))
        if active:
            self._keep(rule, read, values)
        self._rescue(func, mutated)
        result = func(*args, **kwargs)
        outputs = [result] if isinstance(result, Tensor) else _tensors(_as_sequence(result))
        check_dense(func, outputs)
        before = {_memory(tensor) for tensor in given}
        fresh = [tensor for tensor in outputs if _memory(tensor) not in before]
        for tensor in fresh:
            self._watch(tensor)
        if self._gradients is not None:
            self._gradients.follow(self._fused or str(func), func, given, outputs)
        if active or mutated:
            self._note(func, rule, args, kwargs, values, active, mutated, fresh, outputs)
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

    def _look_through(
        self, func: OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any], given: list[Tensor]
    ) -> Any:
        """Make a view of memory that was written in parts: what it holds is asked for when it is read."""
        result = func(*args, **kwargs)
        if self._gradients is not None:
            outputs = _tensors(_as_sequence(result))
            self._gradients.follow(self._fused or str(func), func, given, outputs)
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
        fresh: list[Tensor],
        outputs: list[Tensor],
    ) -> None:
        """Add an operation that has run to the tape."""
        depth = 0
        if active:
            depth = max([value.depth for value in active]) + (rule is not None and rule.dual is not None)
        written = {id(tensor) for tensor in (*mutated, *fresh)}
        outputs = outputs + [tensor for tensor in mutated if not any(tensor is output for output in outputs)]
        results = tuple([Value(tensor.shape, tensor.stride(), bool(active), depth=depth) for tensor in outputs])
        for tensor, value in zip(outputs, results, strict=True):
            if id(tensor) in written:
                self._write(tensor, value if active else None)
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
        noted = known.writes if known is not None else 0
        if storage is None or len(storage.writes) == noted:
            return known.value if known is not None else Value(tensor.shape, tensor.stride(), active=False)
        if known is not None and not overlap(tensor, storage.writes[noted:]):
            value = known.value
        else:
            value = self._written(tensor, storage.writes)
        self._learn(tensor, value)
        return value

    def _written(self, tensor: Tensor, writes: list[Write]) -> Value:
        """The value of a tensor whose memory was written in parts; an operation of the tape makes it."""
        found = last_written(tensor, writes)
        parts, index = found or ([write for write in writes if write.value is not None], None)
        sources = tuple(part.value for part in parts if part.value is not None)
        depth = max((source.depth for source in sources), default=0)
        value = Value(tensor.shape, tensor.stride(), bool(sources), depth=depth)
        if sources:
            args: tuple[Value, ...] = ()
            if index is not None:
                args = (Value(index.shape, index.stride(), active=False), *sources)
                self._hold(args[0], index)
            starts = tuple(part.offset - int(tensor.storage_offset()) for part in parts)
            module, rule = self.modules.caller(), rule_of(None, {})
            self.operations.append(Operation(None, args, {"starts": starts}, sources, (value,), module, rule))
        return value

    def close(self) -> None:
        """Note the version of all that was kept."""
        for value in (value for values in self._kept.values() for value in values):
            assert value.tensor is not None
            value.version = write_count(value.tensor)

    def _watch(self, tensor: Tensor) -> None:
        self._storages[_memory(tensor)] = _Storage(StorageWeakRef(tensor.untyped_storage()))

    def _write(self, tensor: Tensor, value: Value | None) -> None:
        """Note what was written to a tensor, None for constants: these matter once an activation was written."""
        writes = self._storages[_memory(tensor)].writes
        if value is not None or writes:
            writes.append(Write.to(tensor, value))

    def _stale(self, tensor: Tensor) -> bool:
        """Whether its memory was written since its value was noted, if ever."""
        storage, known = self._storages.get(_memory(tensor)), self._recall(tensor)
        return storage is not None and len(storage.writes) != (known.writes if known is not None else 0)

    def _recall(self, tensor: Tensor) -> _Known | None:
        """What is known of a tensor; None of one that never carried signal."""
        known = self._known.get(id(tensor))
        return known if known is not None and known.reference() is tensor else None

    def _learn(self, tensor: Tensor, value: Value) -> None:
        storage = self._storages.get(_memory(tensor))
        self._known[id(tensor)] = _Known(weakref.ref(tensor), value, len(storage.writes) if storage else 0)

    def _keep(self, rule: Rule | None, tensors: list[Tensor], values: dict[int, Value]) -> None:
        """Keep the content of constants, and of activations where a rule needs it."""
        for tensor in tensors:
            value = values[id(tensor)]
            needed = not value.active or (rule is not None and rule.needs_values)
            if value.tensor is None and (needed or not tensor.dtype.is_floating_point):  # masks and indices choose
                self._hold(value, tensor)

    def _hold(self, value: Value, tensor: Tensor) -> None:
        value.tensor = tensor
        value.lost_in = self._gradients.lost_in(tensor) if self._gradients is not None else ""
        self._kept.setdefault(_memory(tensor), []).append(value)

    def _rescue(self, func: OpOverload, mutated: Iterable[Tensor]) -> None:
        """Copy what the tape holds of memory that `func` is about to overwrite."""
        for value in (value for tensor in mutated for value in self._kept.pop(_memory(tensor), [])):
            if value.tensor is not None:
                plain = self._gradients is None
                value.tensor = value.tensor.clone() if plain else copy_with_graph(func, value.tensor)


def _memory(tensor: Tensor) -> int:
    """Equal for tensors that share memory."""
    address: int = tensor.untyped_storage()._cdata
    return address


_NUMBER = torch.ops.aten._local_scalar_dense.default
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
