"""Global-and-local attention (GALA): a network learns which of its channels count, and where.

Linsley et al., "Learning what and where to attend", arXiv 1805.08819. A layer's features are multiplied by an attention
that a global branch (of channels) and a local branch (of places) make of these features.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from grounding.errors import GroundingError, check_at_least_one, did_you_mean

Squash = Literal["tanh", "sigmoid"]
ApplyTo = Literal["input", "output"]
SQUASHES: tuple[Squash, ...] = ("tanh", "sigmoid")
APPLY_TO: tuple[ApplyTo, ...] = ("input", "output")


@dataclass(frozen=True, slots=True)
class GalaSettings:
    """Where a network has attention, and of which kind: the arguments of `insert_gala`."""

    layers: tuple[str, ...]
    reduction: int = 4
    squash: Squash = "tanh"
    apply_to: ApplyTo = "input"

    def __str__(self) -> str:
        """As the settings of a training are written."""
        layers = f"gala.layers=[{', '.join(self.layers)}]"
        return f"{layers} gala.reduction={self.reduction} gala.squash={self.squash} gala.apply_to={self.apply_to}"


class GlobalLocalAttention(nn.Module):
    """The factors by which features are to be multiplied; it does not multiply them itself.

    With the global branch g (means over places, linear to C / r, ReLU, linear to C) and the local branch l (1x1
    convolution to C / r, ReLU, 5x5 to C / r, ReLU, 1x1 to one channel):

        z = alpha * (g + l) + beta * (g * l)        factor = 1 + tanh(z), or 2 * sigmoid(z)

    alpha and beta, (C,) each, are learnt and 0 at first. So every factor is 1 at first, a network that has learnt keeps
    its output to the last bit, and the gradients of alpha and beta are not 0. The paper has the factor tanh(z), which
    would change the network at once and turn the signs of features over; the authors' code defaults to sigmoid(z). Ours
    are between 0 and 2 and never negative.

    Args:
        channels: C, of the features.
        reduction: r; the branches are C // r channels wide.
        squash: which factor.

    Raises:
        GroundingError: fewer channels than `reduction`, one that is less than 1, or another squash.
    """

    def __init__(self, channels: int, reduction: int = 4, squash: Squash = "tanh") -> None:
        super().__init__()
        _check_choice("squash", squash, SQUASHES)
        check_at_least_one("reduction", reduction)
        if channels < reduction:
            raise GroundingError(
                f"attention over {channels} channels has reduction {reduction}: expected at most {channels}"
            )
        narrow, self.squash = channels // reduction, squash
        self.global_branch = nn.Sequential(nn.Linear(channels, narrow), nn.ReLU(), nn.Linear(narrow, channels))
        self.local_branch = nn.Sequential(
            nn.Conv2d(channels, narrow, 1),
            nn.ReLU(),
            nn.Conv2d(narrow, narrow, 5, padding=2),
            nn.ReLU(),
            nn.Conv2d(narrow, 1, 1),
        )
        self.alpha, self.beta = nn.Parameter(torch.zeros(channels)), nn.Parameter(torch.zeros(channels))

    def forward(self, features: Tensor) -> Tensor:
        """(N, C, h, w) features -> (N, C, h, w) factors, 0 to 2."""
        what: Tensor = self.global_branch(features.mean((2, 3)))[:, :, None, None]  # (N, C, 1, 1)
        where: Tensor = self.local_branch(features)  # (N, 1, h, w)
        alpha, beta = self.alpha[:, None, None], self.beta[:, None, None]
        z = alpha * (what + where) + beta * (what * where)
        return 1 + torch.tanh(z) if self.squash == "tanh" else 2 * torch.sigmoid(z)


def insert_gala(
    network: nn.Module,
    names: Sequence[str],
    example: Tensor,
    *,
    reduction: int = 4,
    squash: Squash = "tanh",
    apply_to: ApplyTo = "input",
    run: Callable[[Tensor], object] | None = None,
) -> None:
    """Give modules of a network attention, in place: what they are given, or return, is multiplied by its factors.

    Each gets a child `gala`, so that the state dict has its keys beside those that were there. Of an `nn.Sequential` it
    is the first child (`input`) or the last (`output`), because a Sequential runs its children. A module that runs
    several times attends each time, with the same weights. Copies and pickles of the network have attention of their
    own.

    Args:
        network: any module; the order of dimensions of its features is (N, C, h, w).
        names: of its modules, as `named_modules` has them.
        example: images for one forward pass, which finds the numbers of channels: in evaluation mode and without
            gradients. The modes of the network are as before afterwards.
        reduction: the branches of a module are C // reduction channels wide.
        squash: which factor, as of `GlobalLocalAttention`.
        apply_to: whether what the modules are given is multiplied (a residual block's, before its two ways part), or
            what they return.
        run: what runs the network on the example; by default the network itself.

    Raises:
        GroundingError: no name, one that does not exist, two that are the same place, a container that is not run
            itself, a module that did not run, has attention already, has too few channels, or is given or returns
            anything but (N, C, h, w) floating point features. The network is then as it was.
    """
    _check_choice("apply_to", apply_to, APPLY_TO)
    stages = _stages(network, names, apply_to)
    seen = _seen(network, stages, apply_to, lambda: (run or network)(example))
    made: dict[str, GlobalLocalAttention] = {}
    for name, stage in stages.items():
        features = _features(name, seen[name], apply_to, square=example.shape[-1] == example.shape[-2])
        try:
            made[name] = GlobalLocalAttention(features.shape[1], reduction, squash)
        except GroundingError as error:
            raise GroundingError(f"gala cannot be put into '{name}': {error}") from error
        made[name].to(features.device, features.dtype).train(stage.training)
    for name, stage in stages.items():
        stage.add_module("gala", made[name])
        if apply_to == "input":
            stage.register_forward_pre_hook(_multiply_input)
        else:
            stage.register_forward_hook(_multiply_output)


def gala_layers(network: nn.Module) -> dict[str, GlobalLocalAttention]:
    """The attention of a network by the name of its module, such as `layer3.0.gala`, in the network's order."""
    return {name: each for name, each in network.named_modules() if isinstance(each, GlobalLocalAttention)}


def gala_parameters(network: nn.Module) -> list[nn.Parameter]:
    """The parameters of all attention of a network."""
    return [parameter for each in gala_layers(network).values() for parameter in each.parameters()]


@contextmanager
def capture(network: nn.Module) -> Iterator[list[Tensor]]:
    """Collect attention while the context is open: (N, C, h, w) of each that ran, in the order they ran.

    It has its gradients. The list stays empty where the network has no attention.
    """
    attention: list[Tensor] = []

    def note(_: nn.Module, __: Any, factors: Tensor) -> None:
        attention.append(factors)

    handles = [each.register_forward_hook(note) for each in gala_layers(network).values()]
    try:
        yield attention
    finally:
        for handle in handles:
            handle.remove()


def attended(stage: nn.Module) -> ApplyTo | None:
    """Which side of a module has attention; None where neither has."""
    if not isinstance(getattr(stage, "gala", None), GlobalLocalAttention):
        return None
    return "output" if _multiply_output in stage._forward_hooks.values() else "input"


def _multiply_input(stage: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """A forward pre-hook; a function of the module, so that a copied or pickled module uses its own attention."""
    return (_multiplied(stage, inputs[0]), *inputs[1:])


def _multiply_output(stage: nn.Module, _: Any, output: Tensor) -> Tensor:
    """A forward hook."""
    return _multiplied(stage, output)


def _multiplied(stage: nn.Module, features: Tensor) -> Tensor:
    attention: Tensor = stage.get_submodule("gala")(features)
    return features * attention.to(features.dtype)  # in mixed precision attention is float32


def _stages(network: nn.Module, names: Sequence[str], apply_to: ApplyTo) -> dict[str, nn.Module]:
    """The module of each name that the attention is attached to."""
    if isinstance(names, str) or not names:
        raise GroundingError(f"gala is for the modules {names!r}: expected a list of names, one at least")
    modules = {name: module for name, module in network.named_modules(remove_duplicate=False) if name}
    stages: dict[str, nn.Module] = {}
    for name in names:
        if name not in modules:
            otherwise = f"expected one such as {', '.join(key for key, _ in network.named_children())}"
            raise GroundingError(f"gala: the network has no module '{name}': {did_you_mean(name, modules, otherwise)}")
        stage = modules[name]
        while isinstance(stage, nn.Sequential) and len(stage):
            stage = stage[0 if apply_to == "input" else -1]
        if isinstance(stage, (nn.Sequential, nn.ModuleList, nn.ModuleDict)):
            kind = type(stage).__name__
            raise GroundingError(f"gala: '{name}' is a {kind}, which others go through: name a module in it or above")
        if name in stages:
            raise GroundingError(f"gala: module '{name}' is named twice: name it once")
        if other := next((key for key, known in stages.items() if known is stage), None):
            raise GroundingError(f"gala: the {apply_to} of '{other}' and '{name}' is the same place: leave one out")
        if hasattr(stage, "gala"):
            raise GroundingError(f"gala: '{name}' has attention already: name another module")
        stages[name] = stage
    return stages


def _seen(
    network: nn.Module, stages: dict[str, nn.Module], apply_to: ApplyTo, run: Callable[[], object]
) -> dict[str, list[Any]]:
    """Run the network once: what each stage is given, or returns, each time that it runs."""
    seen: dict[str, list[Any]] = {name: [] for name in stages}
    modes = [(module, module.training) for module in network.modules()]

    def noting(name: str) -> Callable[..., None]:
        def note(_: nn.Module, given: tuple[Any, ...], output: Any) -> None:
            seen[name].append(output if apply_to == "output" else next(iter(given), None))

        return note

    handles = [stage.register_forward_hook(noting(name)) for name, stage in stages.items()]
    try:
        network.eval()
        with torch.no_grad():
            run()
    finally:
        for handle in handles:
            handle.remove()
        for module, mode in modes:
            module.training = mode
    return seen


def _features(name: str, seen: Sequence[Any], apply_to: ApplyTo, square: bool) -> Tensor:
    """The features that a stage is given or returns, which are (N, C, h, w) with one C in all of its runs."""
    if not seen:
        raise GroundingError(f"gala: '{name}' did not run in the forward pass: name a module that does")
    for each in seen:
        sound = isinstance(each, Tensor) and each.dim() == 4 and each.is_floating_point()
        if not sound or (square and each.shape[2] != each.shape[3]):  # of square images, channels are last there
            what = f"a tensor {tuple(each.shape)}" if isinstance(each, Tensor) else f"a {type(each).__name__}"
            raise GroundingError(f"gala: the {apply_to} of '{name}' is {what}: expected features (N, C, h, w)")
    if len(channels := dict.fromkeys(each.shape[1] for each in seen)) > 1:
        counts = " and ".join(map(str, channels))
        raise GroundingError(f"gala: '{name}' runs {len(seen)} times, on {counts} channels: name a module with one")
    features: Tensor = seen[0]
    return features


def _check_choice(name: str, value: str, known: Sequence[str]) -> None:
    if value not in known:
        raise GroundingError(f"{name} is '{value}': expected {' or '.join(known)}")
