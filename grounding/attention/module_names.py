"""Which module called an operation: read off Python's own stack, so that no hook is needed."""

import functools
import sys
from collections.abc import Callable, Iterator
from types import CellType, CodeType, FrameType, FunctionType
from typing import Any

from torch import nn

_CALL = nn.Module._call_impl.__code__
_COMPILED = "_orig_mod"  # where torch.compile puts the module that it wraps


class ModuleNames:
    """Names of the modules of a network, and of those that are running.

    They do not depend on what the network is wrapped in: a module that holds nothing but one other network,
    `torch.compile`, a function, `functools.partial` and a bound method have the names of what is inside.

    Args:
        model: the network; of another function, the names are those of the networks that it refers to and calls, or
            else of the outermost modules that it calls.
        until: the code of the function that records; what called that is of no interest.

    Attributes:
        canonical: every name of a module -> its first name. Several, where it is registered several times, or the
            network is wrapped. Empty, where two modules have that name.
    """

    def __init__(self, model: Callable[..., Any], until: CodeType) -> None:
        self.canonical: dict[str, str] = {}
        self._names: dict[int, str] = {}
        self._until = until
        self._known = list(_networks(model))
        if isinstance(owner := _bare(model), nn.Module):
            self._add(owner)

    def caller(self) -> str:
        """The name of the innermost module that is running in this thread; empty where there is none."""
        stack: list[nn.Module] = []
        frame: FrameType | None = sys._getframe(1)
        while frame is not None and frame.f_code is not self._until:
            if frame.f_code is _CALL:
                stack.append(frame.f_locals["self"])
                if id(stack[-1]) in self._names:
                    break
            frame = frame.f_back
        if stack and id(stack[-1]) not in self._names:
            self._add(next((known for known in self._known if _holds(known, stack[-1])), stack[-1]))
        return next((self._names[id(module)] for module in stack if id(module) in self._names), "")

    def _add(self, model: nn.Module) -> None:
        wrapper = _wrapper(model)
        first: dict[str, str] = {}
        aliases: dict[str, str] = {}
        for name, module in model.named_modules(remove_duplicate=False):
            plain = _plain("" if wrapper.startswith(f"{name}.") else name.removeprefix(wrapper))
            first.setdefault(plain, self._names.setdefault(id(module), plain))
            aliases |= {name: first[plain], _plain(name): first[plain]}
        for name, canonical in (aliases | first).items():  # another network that the function calls may have that name
            self.canonical[name] = "" if name in self.canonical else canonical


def _bare(model: Any) -> Any:
    """What `functools.partial` and bound methods are of."""
    while isinstance(model, functools.partial):
        model = model.func
    return getattr(model, "__self__", model)


def _networks(model: Any) -> Iterator[nn.Module]:
    """The network itself; those in the closure, the defaults or the globals of a function, or that an object has."""
    model = _bare(model)
    if isinstance(model, nn.Module):
        yield model
        return
    held = list(getattr(model, "__dict__", {}).values())
    if isinstance(model, FunctionType):
        held += [*(model.__defaults__ or ()), *(model.__kwdefaults__ or {}).values()]
        held += [content for cell in model.__closure__ or () for content in _contents(cell)]
        held += [model.__globals__[name] for name in model.__code__.co_names if name in model.__globals__]
    yield from (each for each in map(_bare, held) if isinstance(each, nn.Module))


def _contents(cell: CellType) -> list[Any]:
    """What a closure holds; nothing as long as the variable has no value."""
    try:
        return [cell.cell_contents]
    except ValueError:
        return []


def _plain(name: str) -> str:
    """Without the parts that torch.compile adds."""
    return ".".join(part for part in name.split(".") if part != _COMPILED)


def _holds(network: nn.Module, module: nn.Module) -> bool:
    return any(each is module for each in network.modules())


def _wrapper(model: nn.Module) -> str:
    """The beginning of all names inside the network that a module wraps, dot included; empty where it wraps none."""
    prefix = ""
    while len(children := list(model.named_children())) == 1 and list(children[0][1].children()):
        name, model = children[0]
        prefix += f"{name}."
    return prefix
