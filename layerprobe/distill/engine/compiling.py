"""Networks under ``torch.compile``, with taps on their layers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from layerprobe.errors import LayerprobeError
from layerprobe.layers.capture import Capture
from layerprobe.layers.taps import Tap


def compile_networks(networks: Iterable[nn.Module], tapped: Iterable[str]) -> None:
    """Have networks compiled when they first run; they stay the same modules, with the same names.

    Raises:
        LayerprobeError: if a layer is the result of a function that a module calls: compiled code no longer shows it.
    """
    for name in tapped:
        if Tap.of(name).function:
            raise LayerprobeError(
                f"layer {name!r} is the result of a function, which --compile hides; choose layers that modules put "
                "out, or leave --compile out"
            )
    for network in networks:
        # Taps divide a network, and its parts of one class are compilations of one function: there may be many.
        parts = sum(1 for _ in network.modules())
        torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, parts)
        network.compile()


class CompiledCapture(Capture):
    """A capture whose taps stay out of the compiled code; what lies between two taps is compiled."""

    def _entering(self, module: str) -> Any:
        return torch.compiler.disable(super()._entering(module))  # type: ignore[no-untyped-call]

    def _leaving(self, module: str) -> Any:
        return torch.compiler.disable(super()._leaving(module))  # type: ignore[no-untyped-call]
