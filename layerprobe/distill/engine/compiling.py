"""Forward passes under ``torch.compile``, with the tapped layers among what the compiled code puts out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from layerprobe.errors import LayerprobeError
from layerprobe.layers.batch_axis import images_first
from layerprobe.layers.capture import Capture, Captured
from layerprobe.layers.taps import Tap
from layerprobe.records import Layer


def check_compilable(tapped: Iterable[str]) -> None:
    """Refuse layers that compiled code doesn't show.

    Raises:
        LayerprobeError: if a layer is the result of a function that a module calls.
    """
    for name in tapped:
        if Tap.of(name).function:
            raise LayerprobeError(
                f"layer {name!r} is the result of a function, which --compile hides; choose layers that modules put "
                "out, or leave --compile out"
            )


class CompiledCapture(Capture):
    """A capture whose passes are compiled once the first ones, which are not, have shown what the layers put out.

    The network and its taps become one graph. Where a tapped module takes or gives more than one tensor, that is looked
    at outside of the compiled code, which is then in pieces. Batches of another size, such as the last one of an epoch,
    and passes in another mode are not compiled: compiling takes longer than they do.

    Args:
        model: the network.
        layers: as for ``Capture``.
        gate: as for ``Capture``.
        replayed: whether a GPU replays what it has recorded of a pass (CUDA graphs), which spares the processor the
            launch of every kernel. What a pass put out is then overwritten after ``mark_step``.

    Attributes:
        paused: whether passes are not compiled for the time being.
    """

    def __init__(
        self, model: nn.Module, layers: Sequence[Layer | str], gate: str | None = None, replayed: bool = False
    ) -> None:
        self._whole = True
        self._numbers: dict[str, int] = {}
        self._compiled: tuple[int, bool] | None = None
        self.paused = self._listens = False
        super().__init__(model, layers, gate)
        self._names = {(tap.module, tap.call, tap.takes_input): name for tap, name in self._taps.items()}
        mode = "reduce-overhead" if replayed else None
        self._compiled_pass = torch.compile(self._traced_pass, dynamic=False, mode=mode)

    def compile_passes(self, images: int) -> None:
        """From now on passes of so many images in the network's present mode are compiled."""
        self._compiled = images, self._model.training
        # Every network has code of its own, and one in pieces one for each module at most.
        parts = 1 if self._whole else sum(1 for _ in self._model.modules())
        torch._dynamo.config.recompile_limit += parts

    def __call__(self, images: Tensor) -> Captured:
        """Run the network on a batch."""
        self._listens = True
        try:
            written = self.paused or (len(images), self._model.training) != self._compiled
            return super().__call__(images) if written else self._call_compiled(images)
        finally:
            self._listens = False

    def _call_compiled(self, images: Tensor) -> Captured:
        self._calls, self._stack, self._versions, self._images = {}, [], {}, len(images)
        output, features = self._compiled_pass(images)
        self._features, self._versions = {}, {}
        return Captured(self._pick_logits(images, output), dict(features))

    def _traced_pass(self, images: Tensor) -> tuple[object, dict[str, Tensor]]:
        self._numbers, self._features = {}, {}
        output = self._model(images)
        return output, self._features

    def _entering(self, module: str) -> Any:
        plain = super()._entering(module)
        apart = torch.compiler.disable(plain)  # type: ignore[no-untyped-call]

        def hook(network: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            if not torch.compiler.is_compiling():
                return plain(network, args, kwargs)
            if not self._whole:
                return apart(network, args, kwargs)
            number = self._numbers.get(module, 0) + 1
            self._numbers[module] = number
            name = self._names.get((module, number, True))
            return None if name is None else ((self._keep_traced(name, args[0]), *args[1:]), kwargs)

        return hook

    def _leaving(self, module: str) -> Any:
        plain = super()._leaving(module)
        apart = torch.compiler.disable(plain)  # type: ignore[no-untyped-call]

        def hook(network: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
            if not torch.compiler.is_compiling():
                return plain(network, args, output)
            if not self._whole:
                return apart(network, args, output)
            name = self._names.get((module, self._numbers[module], False))
            return output if name is None else self._keep_traced(name, output)

        return hook

    def _take(self, tap: Tap, value: Any, inputs: object = None) -> Any:
        if not self._listens:  # the network runs by itself, as it does where it is tested
            return value
        if tap in self._taps and not isinstance(value[0][0] if tap.takes_input and value[0] else value, Tensor):
            self._whole = False
        return super()._take(tap, value, inputs)

    def _keep_traced(self, name: str, tensor: Tensor) -> Tensor:
        """Keep a layer's tensor, as ``Capture`` does, within compiled code; what the network goes on with."""
        if name in self._wanted:
            kept = images_first(tensor, self._images, self._axes.get(name, 0))
            self._features[name] = kept.clone() if name in self._copied[self._model.training] else kept
        return tensor.detach().clone() if name == self._gate else tensor


def mark_step() -> None:
    """Let the memory of the last step's replayed passes be overwritten: nothing of it is needed any more."""
    torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
