"""The head of a network: all that lies between its last layers and the scores, where that is one linear map.

Most networks end in one linear layer or convolution, and their tape stays as it is. Where the scores are a sum over
several such layers, or a product with constants that is then summed (cosine similarities), the operations of the head
become one: its matrix L takes the place of W in Excitation Backprop, arXiv 1608.00507, and in the contrast.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

import torch

from grounding.attention.annotations import readers_of
from grounding.attention.graph import Operation, Value, write_count
from grounding.attention.replay import needed_for, replay, values_of
from grounding.attention.rules import proportional, routing
from grounding.attention.rules.arithmetic import rules_for
from grounding.attention.rules.linear_map import LINEAR_MAP

aten = torch.ops.aten

_PRODUCTS = frozenset((aten.mul.Tensor, aten.mul_.Tensor))
_DIFFERENCES = frozenset((aten.sub.Tensor, aten.sub_.Tensor))
_AFFINE_RULES = (routing.reshape, routing.routing, routing.concatenation, routing.stacking, routing.division)
_AFFINE = frozenset(
    rules_for(
        "clone detach alias _to_copy native_dropout mean mean.dim sum.dim_IntList avg_pool2d _adaptive_avg_pool2d "
        "upsample_nearest2d upsample_bilinear2d col2im native_batch_norm _native_batch_norm_legit_no_training "
        "add.Tensor add_.Tensor sub.Tensor sub_.Tensor",
        LINEAR_MAP,
    )
)
_ONE_OPERAND = frozenset(rules_for("mul.Tensor mul_.Tensor div.Tensor div_.Tensor bmm", LINEAR_MAP))


def join_head(operations: Sequence[Operation], output: Value) -> list[Operation]:
    """The same forward pass, with one operation for a head that is a linear map in several steps."""
    operations = _with_summed_products(operations, output)
    makers = {value: operation for operation in operations for value in operation.outputs}
    last, above, past = ends(operations, output)
    joins = set(_joining(above, last, past))
    joins.update(operation for operation in above if _turns(operation))
    if not joins and not past:
        return list(operations)
    top = output
    while makers[top] not in joins and len(_carriers(makers[top])) == 1:
        top = _carriers(makers[top])[0]
    inside = _inside(operations, makers, top, last)
    return _as_one(operations, makers, *inside, top) if inside else list(operations)


def comes_past(operations: Sequence[Operation], output: Value) -> bool:
    """Whether the scores still sum over several layers, of which one depends on another: no one layer is the last."""
    last, above, past = ends(operations, output)
    inputs = {value for operation in last for value in operation.inputs}
    return any(True for _ in _joining(above, last, past)) and dependent(operations, inputs) is not None


def ends(operations: Sequence[Operation], output: Value) -> tuple[list[Operation], list[Operation], set[Value]]:
    """The last operations with weights; what lies above; the inputs of the former that the scores also come past by."""
    live, frontier = {output}, set[Value]()
    last: list[Operation] = []
    above: list[Operation] = []
    past: set[Value] = set()
    for operation in reversed(operations):
        reached = live.intersection(operation.outputs)
        past |= reached & frontier
        if not reached - frontier:
            continue
        (last if operation.weighted else above).append(operation)
        (frontier if operation.weighted else live).update(
            operation.inputs if operation.weighted else _carriers(operation)
        )
    return last, above[::-1], past


def _joining(above: Iterable[Operation], last: Iterable[Operation], past: Iterable[Value]) -> Iterator[Operation]:
    """The operations that make one number of what comes from several of the last layers."""
    origins: dict[Value, set[object]] = {value: {operation} for operation in last for value in operation.outputs}
    origins.update((value, {value}) for value in past)
    beside: dict[Value, set[int] | None] = {}  # the dimensions along which they lie side by side; None: unknown
    for operation in above:
        carriers = [value for value in _carriers(operation) if value in origins]
        of = set().union(*(origins[value] for value in carriers))
        dims = [beside.get(value, set()) for value in carriers]
        known = None if None in dims else set().union(*(each for each in dims if each))
        pass_down = operation.rule.pass_down if operation.rule else None
        side_by_side = pass_down in (routing.concatenation, routing.stacking)
        if len(of) > 1 and not side_by_side and (len(carriers) > 1 or _reduces(operation, known)):
            yield operation
        for value in operation.outputs:
            origins[value] = of
            beside[value] = _moved(operation, known) if len(of) > 1 else set()


def _reduces(operation: Operation, dims: set[int] | None) -> bool:
    """Whether it sums or averages along one of these dimensions."""
    if not operation.rule or operation.rule.pass_down is not proportional.average:
        return False
    return dims is None or bool(dims & _summed(operation))


def _summed(operation: Operation) -> set[int]:
    """The dimensions that a sum or a mean takes together."""
    rank = len(operation.inputs[0].shape)
    given = operation.argument(1, "dim", None)
    return {dim % rank for dim in given} if given else set(range(rank))


def _moved(operation: Operation, dims: set[int] | None) -> set[int] | None:
    """Where the dimensions of its input are in its output, and the one that it joins along."""
    rule, shape = operation.rule, operation.outputs[0].shape
    if dims is None or rule is None:
        return None
    if rule.pass_down is routing.stacking:
        new = operation.argument(1, "dim", 0) % len(shape)
        return {dim + (dim >= new) for dim in dims} | {new}
    if rule.pass_down is routing.concatenation:
        return dims | {operation.argument(1, "dim", 0) % len(shape)}
    if rule.moves_dimension:
        moved = {rule.moves_dimension(operation, dim) for dim in dims}
        return None if None in moved else {dim for dim in moved if dim is not None}
    return dims if shape == operation.inputs[0].shape else None


def _turns(operation: Operation) -> bool:
    """Whether it multiplies by a negative constant that is not folded into a layer below."""
    if not operation.rule or operation.rule.pass_down is not proportional.product:
        return False
    if len(operation.inputs) != 1 or operation.folded:
        return False
    return any(_negative(arg) for arg in operation.args[:2] if not getattr(arg, "active", False))


def _negative(constant: Value | float) -> bool:
    return bool((constant.content() < 0).any()) if isinstance(constant, Value) else constant < 0


def _with_summed_products(operations: Sequence[Operation], output: Value) -> Sequence[Operation]:
    """With one operation for each product with constants of both signs, summed, that no layer lies above."""
    readers = readers_of(operations)
    makers = {value: operation for operation in operations for value in operation.outputs}
    for total in ends(operations, output)[1]:
        product = makers.get(total.inputs[0]) if total.inputs else None
        if not (total.rule and total.rule.pass_down is proportional.average and product):
            continue
        region, value = [total], total.inputs[0]
        weighs = False
        while len(readers[value]) == 1 and (maker := makers.get(value)) and (constant := _factor(maker)):
            weighs |= _weighs(constant, maker, _summed(total))
            region.append(maker)
            value = maker.inputs[0]
        if weighs and not _gathers(operations, value):
            operations = _as_one(operations, makers, {value}, set(region), total.outputs[0])
    return operations


def _gathers(operations: Sequence[Operation], value: Value) -> bool:
    """Whether a value only puts the outputs of several layers side by side, such as heads that are then weighed."""
    last, above, _ = ends(operations, value)
    return len(last) > 1 and all(each.rule and each.rule.pass_down in _AFFINE_RULES for each in above)


def _factor(operation: Operation) -> Value | None:
    """The constant tensor that an activation is multiplied by; None of any other operation."""
    if operation.overload not in _PRODUCTS or len(operation.inputs) != 1:
        return None
    constant = next((arg for arg in operation.args[:2] if isinstance(arg, Value) and not arg.active), None)
    return constant if constant is not None and constant.shape else None


def _weighs(constant: Value, product: Operation, dims: set[int]) -> bool:
    """Whether a constant differs along one of the dimensions, and speaks for and against."""
    missing = len(product.outputs[0].shape) - len(constant.shape)
    sizes = [1] * missing + [n if step else 1 for n, step in zip(constant.shape, constant.stride, strict=True)]
    return any(sizes[dim] > 1 for dim in dims) and _negative(constant)


def _inside(
    operations: Sequence[Operation], makers: Mapping[Value, Operation], top: Value, last: Sequence[Operation]
) -> tuple[set[Value], set[Operation]] | None:
    """The values that a head starts from, none of which depends on another, and its operations; None if not linear."""
    inputs = {value for operation in last for value in operation.inputs}
    frontier: set[Value] = set()
    region: set[Operation] = set()
    waiting = [top]
    while waiting:
        value = waiting.pop()
        operation = makers.get(value)
        if value in inputs or operation is None:
            frontier.add(value)
        elif not _affine(operation):
            return None
        elif operation not in region:
            region.add(operation)
            waiting += _carriers(operation)
        if not waiting and (upper := dependent(operations, frontier)):
            frontier.remove(upper)
            inputs.discard(upper)
            waiting.append(upper)
    return frontier, region


def dependent(operations: Sequence[Operation], values: set[Value]) -> Value | None:
    """The uppermost of the values that signal gets from to another of them."""
    above = set(values)
    found: Value | None = None
    for operation in operations:
        if not above.isdisjoint(operation.inputs):
            found = next((value for value in operation.outputs if value in values), found)
            above.update(operation.outputs)
    return found


def _as_one(
    operations: Sequence[Operation],
    makers: Mapping[Value, Operation],
    frontier: set[Value],
    region: set[Operation],
    top: Value,
) -> list[Operation]:
    """With one operation for those of the region, in the place of the uppermost; as before, where that is not known."""
    inside = frontier | {value for operation in region for value in operation.outputs}
    gates = [arg for operation in region for arg in values_of(operation) if arg.active and arg not in inside]
    sources = needed_for(frontier, makers)
    known = needed_for(gates, makers)
    if sources is None or known is None:
        return list(operations)
    contents = replay(sources[0], {value: value.content() for value in sources[1]})
    for value in frontier:
        if value.tensor is None:
            value.tensor = contents[value]
            value.version = write_count(value.tensor)
            value.lost_in = next((each.lost_in for each in sources[1] if each.lost_in), "")
    parts: list[Operation] = []
    ordered = [value for operation in operations for value in operation.inputs if value in frontier]
    for operation in operations:
        if operation in region:
            own = operation.parts or (replace(operation, inputs=tuple(v for v in _carriers(operation) if v in inside)),)
            parts += own
        elif operation in known[0]:
            parts.append(replace(operation, inputs=()))
    kept = [*dict.fromkeys(ordered), *(value for value in known[1] if value not in frontier)]
    kept += [value for operation in region if operation.parts for value in operation.args if value not in kept]
    head = Operation(
        None, tuple(kept), {}, tuple(dict.fromkeys(ordered)), (top,), makers[top].module, LINEAR_MAP, parts=tuple(parts)
    )
    return [head if operation is makers[top] else operation for operation in operations]


def _affine(operation: Operation) -> bool:
    """Whether what it returns is an affine function of what carries signal to it."""
    if operation.weighted:
        return True
    rule = operation.rule
    if operation.overload is None or rule is None or operation.refusal is not None:
        return False
    if operation.overload in _ONE_OPERAND:
        return len(operation.inputs) == 1
    return rule.pass_down in _AFFINE_RULES or operation.overload in _AFFINE


def _carriers(operation: Operation) -> tuple[Value, ...]:
    """The inputs that carry signal; of a difference, both."""
    if operation.overload in _DIFFERENCES:
        return tuple(value for value in operation.args[:2] if isinstance(value, Value) and value.active)
    return operation.inputs
