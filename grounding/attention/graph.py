"""The records of the engine: what was recorded, what passes down, and the rule of an operation.

Tape -> Operation -> Value         a forward pass, its operations, the tensors between them
Flow                               the winning probability of one value on its way down
Rule                               all that the engine knows of one kind of operation

Words: *above* is nearer to the scores and later in the forward pass, *below* nearer to the image; winning probability
passes *down*, from the scores to the image.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

import torch
from torch import Tensor
from torch._ops import OpOverload

from grounding.attention.flow import Flow
from grounding.attention.rows import LayerTable
from grounding.errors import GroundingError


@dataclass(frozen=True, slots=True)
class Tokens:
    """A dimension of tokens, of which those from `first` on are the places of a grid of these `sides`, row by row."""

    first: int
    sides: tuple[int, ...]  # (height, width) or (time, height, width)

    @property
    def count(self) -> int:
        """How many tokens are places."""
        return math.prod(self.sides)


_SPOILT = -1  # the version of a content that has changed since the recording

Factor = tuple[str | Tokens | None, int]  # "n", "t", "h", "w", tokens or anything else, and its size
Axes = tuple[tuple[Factor, ...], ...]  # for each dimension the factors of its size, slowest first
Affine = tuple[Tensor | float, Tensor | float]  # s and t of y -> s y + t, each a number or one for each channel


@dataclass(eq=False, slots=True)
class Value:
    """A tensor at one moment of the forward pass; an in-place operation makes a new one.

    Attributes:
        shape: of the tensor.
        stride: of the tensor.
        active: whether it depends on the inputs; parameters and constants do not.
        tensor: its content, kept for constants and where a rule needs it.
        depth: convolutions and linear layers on the longest way from an input.
        version: PyTorch's count of the writes to `tensor` when the recording ended.
        axes: which dimensions are the places of the image (see `spatial`); empty where there are none.
        lost_at: the operation above which it is unknown where the places are; empty where it is known.
        lost_in: of a differentiable tape, the operation inside which the gradient of `tensor` was lost; else empty.
    """

    shape: torch.Size
    stride: tuple[int, ...]
    active: bool
    tensor: Tensor | None = field(default=None, repr=False)
    depth: int = 0
    version: int = 0
    axes: Axes = ()
    lost_at: str = ""
    lost_in: str = ""

    def content(self, dtype: torch.dtype | None = None) -> Tensor:
        """The values of the tensor at that moment, in this dtype."""
        assert self.tensor is not None, "a rule reads a value that the tape did not keep: see Rule.needs_values"
        return self.tensor.to(dtype or self.tensor.dtype)

    @property
    def overwritten(self) -> bool:
        """Whether the content has changed since the recording, by training for instance."""
        return self.tensor is not None and write_count(self.tensor) != self.version

    def __getstate__(self) -> dict[str, Any]:
        """For copies and pickles, whose tensors count their writes anew."""
        state = {each.name: getattr(self, each.name) for each in fields(self)}
        return state | {"version": _SPOILT if self.overwritten else 0}

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            setattr(self, name, value)
        if self.tensor is not None and self.version != _SPOILT:
            self.version = write_count(self.tensor)


@dataclass(eq=False, slots=True)
class Derived(Value):
    """A constant that is computed from others whenever it is read, so that it takes no memory and never is outdated.

    Attributes:
        function: gives the content from the contents of `sources`; one that can be pickled.
        sources: constants of the recording, or numbers.
    """

    function: Callable[..., Tensor] = field(default=torch.as_tensor, repr=False)
    sources: tuple[Any, ...] = field(default=(), repr=False)

    def content(self, dtype: torch.dtype | None = None) -> Tensor:
        """The values, in this dtype."""
        given = (each.content() if isinstance(each, Value) else each for each in self.sources)
        tensor = self.function(*given)
        return tensor.to(dtype or tensor.dtype)

    @property
    def overwritten(self) -> bool:
        """Whether one of the sources has changed since the recording."""
        return any(each.overwritten for each in self.sources if isinstance(each, Value))


def write_count(tensor: Tensor) -> int:
    """PyTorch's count of the writes to a tensor; it does not count those to a tensor made in inference mode."""
    return 0 if tensor.is_inference() else tensor._version


@dataclass(eq=False, slots=True)
class Operation:
    """One ATen operation of the forward pass.

    Attributes:
        overload: for instance `aten.convolution.default`; None for memory that was written in parts, through views. Its
            arguments are the index of `writes.last_written` and the values written, and `starts`, where these begin.
        args: as it was called, every tensor replaced by its `Value`.
        kwargs: likewise.
        inputs: the active values among them, in order; without those that are constants to the signal, such as gates.
        outputs: what it returned; an in-place operation returns a new value. Of outputs that are whole numbers, such as
            the indices of a maximum, the content is always kept.
        module: the name of the innermost module that called it, such as `layer3.0.conv1`.
        rule: what the engine knows of it; None where that is nothing.
        folds: the operations, affine channel by channel, that alone follow this convolution or linear layer, such as a
            batch normalisation or a layer scale; each with the dimension of its input that the channels are.
        folded: it is one of these.
        parts: the recorded operations that this one stands for, where it is a linear map that was written as several.
    """

    overload: OpOverload | None
    args: tuple[Any, ...] = field(repr=False)
    kwargs: dict[str, Any] = field(repr=False)
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    module: str = ""
    rule: Rule | None = field(default=None, repr=False)
    folds: tuple[tuple[Operation, int], ...] = field(default=(), repr=False)
    folded: bool = False
    parts: tuple[Operation, ...] = field(default=(), repr=False)

    @property
    def name(self) -> str:
        """As PyTorch prints it."""
        if self.parts:
            return f"the linear map of {', '.join(dict.fromkeys(part.name for part in self.parts))}"
        return str(self.overload) if self.overload is not None else "an in-place write through a view"

    @property
    def refusal(self) -> str | None:
        """Why winning probability cannot pass down through it, empty where nobody has said how; None where it can."""
        if self.rule is None or self.rule.pass_down is None:
            return ""
        return self.rule.refuses(self)

    @property
    def weighted(self) -> bool:
        """Whether it is a linear operation with weights of the network."""
        return self.rule is not None and self.rule.dual is not None

    def __getstate__(self) -> dict[str, Any]:
        """For copies and pickles: PyTorch's operations are pickled by name."""
        return {each.name: getattr(self, each.name) for each in fields(self)} | {
            "overload": str(self.overload) if self.overload is not None else None
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            setattr(self, name, value)
        if isinstance(name := state["overload"], str):
            namespace, packet, overload = name.split(".")
            self.overload = getattr(getattr(getattr(torch.ops, namespace), packet), overload)

    def argument(self, position: int, name: str, default: Any) -> Any:
        """An argument that may have been given by position, by name, or not at all."""
        return self.args[position] if position < len(self.args) else self.kwargs.get(name, default)


def first_operand_alone(operation: Operation) -> str | None:
    """The refusal of most rules: exactly one operand, the first, may carry signal."""
    if len(operation.inputs) != 1:
        return "more than one of its operands depends on the images"
    return None if operation.args[0] is operation.inputs[0] else "an operand after the first depends on the images"


@dataclass(frozen=True, eq=False, slots=True)
class Rule:
    """How winning probability passes down through one kind of operation, and what else the engine must know of it.

    Attributes:
        pass_down: (operation, flow of its first output) -> a flow for each of `operation.inputs`, in order. It must be
            linear in the flow. None where there is no rule, for what only the other attributes are known of.
        needs_values: it reads the values of its active inputs, so the tape keeps them.
        refuses: why it does not apply to an operation on these operands; None where it does.
        places: (operation, shape of an output) -> the axes of that output, or () if it has no image positions (see
            `spatial`). Leave it None if you do not know where they go: then no map can be read above the operation.
        every_output: `pass_down` gets the flows of all outputs that carry signal, by value, instead of one.
        dual: of an operation with weights, `pass_down` with the weights -W: the dual unit.
        with_bias: of an operation with weights, (operation, flow, negate=...) -> what `pass_down`, or `dual` where
            `negate` is set, give where the bias takes its share: Z = W+ x + b+.
        pass_map: `pass_down` summed over channels, (K, N, h, w), in a shorter way; None where that one is no shorter.
        joins: which of two activations carry signal. `sum`: both. `product`: the one that is no gate, else the one that
            is not broadcast, else both. `matrix product`: the one that is no gate, else both. `first`: the first alone
            (difference, quotient). `choice`: all but masks and indices, which only choose.
        makes: what the outputs are where they are multiplied with an activation. `gate`: a constant. `attention
            weights`: a constant, also after a linear layer has mixed those of several heads.
        folds: (operation, dimension of its input) -> whether each entry y of that dimension becomes s y + t with
            constants s and t, so that it is folded into the layer below.
        affine: (operation, dimension of its input) -> s and t, where `folds` says that there are such.
        moves_dimension: (operation, dimension of its input) -> where that dimension is in the output, for operations
            that only rearrange; None where it is merged with another.
        ignores_values: the outputs depend on the shape of the operands alone, so they are constants.
        overwrites: it writes all of its first operand and reads nothing of it.
    """

    pass_down: Callable[..., tuple[Flow, ...]] | None
    needs_values: bool = False
    refuses: Callable[[Operation], str | None] = first_operand_alone
    places: Callable[[Operation, torch.Size], Axes] | None = None
    every_output: bool = False
    dual: Callable[[Operation, Flow], tuple[Flow, ...]] | None = None
    with_bias: Callable[..., tuple[Flow, ...]] | None = None
    pass_map: Callable[[Operation, Flow], Tensor | None] | None = None
    joins: Literal["sum", "product", "matrix product", "first", "choice"] | None = None
    makes: Literal["gate", "attention weights"] | None = None
    folds: Callable[[Operation, int], bool] | None = None
    affine: Callable[[Operation, int], Affine] | None = None
    moves_dimension: Callable[[Operation, int], int | None] | None = None
    ignores_values: bool = False
    overwrites: bool = False


@dataclass(frozen=True, eq=False, slots=True)
class Tape:
    """One recorded forward pass. Never changes, and holds no reference to the network but its parameters.

    Attributes:
        inputs: the values of the tensors that the network was given, in that order.
        output: the value of the scores.
        operations: those that depend on an input, in the order they ran.
        outputs: the tensors that the network returned; the first are the scores.
        modules: the names of the network's modules, each with the name that `Operation.module` has for it.
        differentiable: it has the autograd graph of all that it holds; then it cannot be copied or pickled.
        input_names: of each input the keyword that it was given by, or else `inputs[0]` and so on.
        names: T names of the scores; empty where they have none.
        table: what makes `layers`.
    """

    inputs: tuple[Value, ...]
    output: Value
    operations: tuple[Operation, ...] = field(repr=False)
    outputs: tuple[Tensor, ...] = field(repr=False)
    modules: Mapping[str, str] = field(repr=False)
    differentiable: bool
    input_names: tuple[str, ...]
    names: tuple[str, ...]
    table: Callable[[Tape, Any], LayerTable]

    @property
    def scores(self) -> Tensor:
        """(N, T), what the top-down signals weigh."""
        return self.outputs[0]

    def layers(self, signals: Any = None) -> LayerTable:
        """The layers that a map can be read at, or why not, and how much winning probability arrives at each.

        Args:
            signals: as `mwp` takes them; by default, for each image, its highest score.

        Returns:
            A list of `LayerRow`, from the inputs up, that prints as a table.

        Raises:
            GroundingError: signals that do not fit.
        """
        return self.table(self, signals)

    def __reduce_ex__(self, protocol: Any) -> Any:
        """For copies and pickles, which an autograd graph has none of."""
        if self.differentiable:
            raise GroundingError("a differentiable recording cannot be copied or pickled: record once more instead")
        return object.__reduce_ex__(self, protocol)

    def __repr__(self) -> str:
        given = ", ".join(str(tuple(value.shape)) for value in self.inputs)
        return f"Tape({given} -> {tuple(self.output.shape)}, {len(self.operations)} operations)"
