"""Which module called an operation: read off Python's own stack, so that no hook is needed."""

import sys
from collections.abc import Callable
from types import CodeType, FrameType
from typing import Any

from torch import nn

_CALL = nn.Module._call_impl.__code__


class ModuleNames:
    """Names of the modules of a network, and of those that are running.

    Args:
        model: the network; of another function, the names are those of the outermost modules that it calls.
        until: the code of the function that records; what called that is of no interest.

    Attributes:
        canonical: every name of a module -> its first name. Several, where it is registered several times.
    """

    def __init__(self, model: Callable[..., Any], until: CodeType) -> None:
        self.canonical: dict[str, str] = {}
        self._names: dict[int, str] = {}
        self._until = until
        owner = getattr(model, "__self__", model)
        if isinstance(owner, nn.Module):
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
            self._add(stack[-1])
        return next((self._names[id(module)] for module in stack if id(module) in self._names), "")

    def _add(self, model: nn.Module) -> None:
        for name, module in model.named_modules(remove_duplicate=False):
            self._names.setdefault(id(module), name)
            if name in self.canonical:  # of another network that the function calls
                self.canonical[name] = ""
            else:
                self.canonical[name] = self._names[id(module)]
