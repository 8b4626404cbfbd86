"""Where in a forward pass a layer's tensor is taken, and how that place is named."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from layerprobe.records.layers import OUTPUT

_FUNCTIONS = {
    "celu", "elu", "gelu", "hardsigmoid", "hardswish", "hardtanh", "leaky_relu", "logsigmoid", "mish", "prelu", "relu",
    "relu6", "rrelu", "selu", "sigmoid", "silu", "softplus", "softsign", "tanh", "tanhshrink",
}  # fmt: skip
_FUNCTION_NAME = re.compile(r"(?:(?P<module>.+)\.)?F\.(?P<function>\w+)")


@dataclass(frozen=True)
class Tap:
    """Where a layer's tensor is taken: the n-th output, or input, of a module, or result of a function it calls.

    Attributes:
        module: dotted path of the module; empty: the network itself.
        call: which call, from 1.
        takes_input: whether the module's input is taken, not its output.
        function: name of the non-linearity that the module's own ``forward`` calls; empty: none, the module's output.
    """

    module: str
    call: int = 1
    takes_input: bool = False
    function: str = ""

    @classmethod
    def of(cls, name: str) -> Tap:
        """Read a layer's name.

        ``layer3.6`` (a module's output), ``relu@2`` (of its second call), ``fc.input`` (what enters ``fc``),
        ``features.F.relu@3`` (result of the third ``F.relu`` in the forward of ``features``), ``output`` (what the
        network itself returns; a module of that name is ``output@1``).

        Examples:
            >>> Tap.of("relu@2")
            Tap(module='relu', call=2, takes_input=False, function='')
            >>> Tap.of("F.relu@3")
            Tap(module='', call=3, takes_input=False, function='relu')
        """
        if name == OUTPUT:
            return cls("")
        path, _, call = name.partition("@")
        number = int(call or 1)
        if function := _FUNCTION_NAME.fullmatch(path):
            return cls(function["module"] or "", number, function=function["function"])
        if path == "input" or path.endswith(".input"):
            return cls(path.removesuffix("input").removesuffix("."), number, takes_input=True)
        return cls(path, number)

    @property
    def name(self) -> str:
        """The layer's name; ``Tap.of`` reads it back."""
        end = "input" if self.takes_input else f"F.{self.function}" if self.function else ""
        path = ".".join(part for part in (self.module, end) if part)
        return path or OUTPUT if self.call == 1 and path != OUTPUT else f"{path}@{self.call}"


def function_name(function: Callable[..., Any]) -> str:
    """The name that a functional non-linearity has in a layer's name; empty for any other function.

    Examples:
        >>> import torch
        >>> function_name(torch.relu_), function_name(torch.nn.functional.gelu), function_name(torch.add)
        ('relu', 'gelu', '')
    """
    name = getattr(function, "__name__", "").removesuffix("_")
    return name if name in _FUNCTIONS else ""
