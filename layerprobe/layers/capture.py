"""Captures the outputs of chosen layers in a forward pass, exactly as each layer returned them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.hooks import RemovableHandle

from layerprobe.layers.batch_axis import images_first, with_rows
from layerprobe.layers.logits import pick_logits
from layerprobe.layers.nested import first_tensor, made_tensors, replace_tensor
from layerprobe.layers.taps import Tap, function_name
from layerprobe.records import Layer


@dataclass(frozen=True)
class Captured:
    """What a forward pass gave.

    Attributes:
        logits: the network's logits, (batch, classes), whatever else it returns.
        features: what was kept of each layer, by layer name, (batch, ...).
    """

    logits: Tensor
    features: Mapping[str, Tensor]


Keep = Callable[[str, Tensor], Tensor]
"""Called as ``keep(layer, tensor)`` the moment a layer has put its tensor out: what is kept of it."""


class Capture:
    """Runs a network and keeps what the named layers put out, with one row per image.

    A module that is called several times gives each call its own layer. A tensor that a later in-place operation
    overwrites is copied first. The first pass copies every layer's output and notes which copies were needed. It
    does so once in training mode and once in evaluation mode, where an in-place dropout overwrites nothing.

    With ``keep``, each tensor is reduced or converted at once, and the network's own can be freed. With ``gate``, the
    network goes on from a detached copy of that layer's output: whatever is computed from the logits then sends no
    gradient through that layer.

    Use it as a context manager, or call ``close`` when done.

    Args:
        model: the network.
        layers: the layers that ``discover_layers`` found. Their names are enough if their outputs have the images
            first. They are not enough where tokens come first, as in ``nn.TransformerEncoder`` by default.
        gate: name of a layer, see above.
        keep: see above.

    Examples:
        >>> import torch
        >>> network = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
        >>> with Capture(network, ["1"]) as capture:
        ...     captured = capture(torch.ones(5, 2))
        >>> captured.features["1"].shape, captured.logits.shape
        (torch.Size([5, 3]), torch.Size([5, 1]))
    """

    def __init__(
        self, model: nn.Module, layers: Sequence[Layer | str], gate: str | None = None, keep: Keep | None = None
    ) -> None:
        self._model, self._gate, self._keep = model, gate, keep
        self._axes = {layer.name: layer.batch_axis for layer in layers if isinstance(layer, Layer)}
        names = [layer if isinstance(layer, str) else layer.name for layer in layers]
        self._images = 0
        self._features: dict[str, Tensor] = {}
        self._versions: dict[str, tuple[Tensor, int]] = {}
        self._copied = {training: set(names) for training in (False, True)}
        self._calls: dict[tuple[str, str], int] = {}
        self._stack: list[str] = []
        self._taps = {Tap.of(name): name for name in [*names, *([gate] if gate else [])]}
        self._wanted = set(names)
        functional = any(tap.function for tap in self._taps)
        self._functions = _Functions(self._called) if functional else nullcontext()
        # Which module calls a function is known only if all of them say when they begin and end.
        self._handles = self._hook(
            {name for name, _ in model.named_modules()} if functional else {tap.module for tap in self._taps}
        )

    def __call__(self, images: Tensor) -> Captured:
        """Run the network on a batch.

        Raises:
            RuntimeError: if a layer was not reached in this pass.
        """
        self._features, self._versions, self._calls, self._stack = {}, {}, {}, []
        self._images = len(images)
        with self._functions:
            output = self._model(images)
        missing = self._wanted - self._features.keys()
        if missing:
            raise RuntimeError(f"the forward pass did not reach {sorted(missing)}")
        self._copied[self._model.training] &= {
            name for name, (tensor, version) in self._versions.items() if tensor._version != version
        }
        features, self._features, self._versions = self._features, {}, {}
        return Captured(self._pick_logits(images, output), features)

    def _pick_logits(self, images: Tensor, output: object) -> Tensor:
        """The logits. Whether it takes a pass more to tell them, what that pass leaves here is thrown away."""
        logits = pick_logits(self._model, images, output)
        self._features, self._versions = {}, {}
        return logits

    def close(self) -> None:
        """Take the hooks off the network."""
        for handle in self._handles:
            handle.remove()

    def __enter__(self) -> Capture:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _hook(self, modules: set[str]) -> list[RemovableHandle]:
        handles = []
        for name in modules:
            module = self._model.get_submodule(name)
            handles.append(module.register_forward_pre_hook(self._entering(name), with_kwargs=True))
            handles.append(module.register_forward_hook(self._leaving(name)))
        return handles

    def _entering(self, module: str) -> Any:
        def hook(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            self._stack.append(module)
            tap = Tap(module, self._count(module, ""), takes_input=True)
            new_args, new_kwargs = self._take(tap, (args, kwargs))
            return new_args, new_kwargs

        return hook

    def _leaving(self, module: str) -> Any:
        def hook(_: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
            self._stack.pop()
            return self._take(Tap(module, self._calls[module, ""]), output, args)

        return hook

    def _called(self, function: str, result: Any) -> Any:
        """A non-linearity ran in the forward of the module that runs now."""
        module = self._stack[-1]
        return self._take(Tap(module, self._count(module, function), function=function), result)

    def _count(self, module: str, function: str) -> int:
        count = self._calls[module, function] = self._calls.get((module, function), 0) + 1
        return count

    def _take(self, tap: Tap, value: Any, inputs: object = None) -> Any:
        """Keep the tensor if the tap is a layer; return the value that the network goes on with."""
        name = self._taps.get(tap)
        if name is None:
            return value
        tensor = (
            first_tensor(value)
            if tap.takes_input
            else with_rows(made_tensors(value, inputs), self._images, self._axes.get(name, 0))
        )
        if tensor is None:
            raise RuntimeError(f"layer {name!r} has no tensor to capture")
        if name in self._wanted:
            self._store(name, tensor)
        if name == self._gate:
            value = replace_tensor(value, tensor, tensor.detach().clone())
        return value

    def _store(self, name: str, tensor: Tensor) -> None:
        axis = self._axes.get(name, 0)
        if not axis and len(tensor) % self._images:
            raise RuntimeError(
                f"layer {name!r} puts out {tuple(tensor.shape)}, whose first axis doesn't count the {self._images} "
                "images; capture the Layer that discover_layers gave, not its name"
            )
        kept = images_first(tensor, self._images, axis)
        if self._keep:
            kept = self._keep(name, kept)
        if _shares_memory(kept, tensor):
            self._versions[name] = (tensor, tensor._version)
            kept = kept.clone() if name in self._copied[self._model.training] else kept
        self._features[name] = kept


class _Functions(TorchFunctionMode):
    """Tells of every functional non-linearity, and lets its result be exchanged."""

    def __init__(self, called: Callable[[str, Any], Any]) -> None:
        super().__init__()
        self._called = called

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        function = function_name(func)
        return self._called(function, result) if function else result


def _shares_memory(one: Tensor, other: Tensor) -> bool:
    return one.device == other.device and one.untyped_storage().data_ptr() == other.untyped_storage().data_ptr()
