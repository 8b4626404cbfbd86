"""The outputs of chosen layers in a forward pass, exactly as each layer left them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from layerprobe.models.layers import Tap, first_tensor


@dataclass(frozen=True)
class Captured:
    """What a forward pass gave.

    Attributes:
        logits: the network's output.
        features: the captured tensor of each layer, by layer name, (batch, ...).
    """

    logits: Tensor
    features: Mapping[str, Tensor]


class Capture:
    """Runs a network and keeps what the named layers put out.

    A module that is called several times gives each call its own layer. A tensor that a later in-place operation
    overwrites is copied first: the first pass copies every layer's output and notes which copies were needed.

    With ``gate``, the network goes on from a detached copy of that layer's output: whatever is computed from
    the logits then sends no gradient through that layer.

    Use it as a context manager, or call ``close`` when done.

    Example:
        >>> import torch
        >>> network = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
        >>> with Capture(network, ["1"]) as capture:
        ...     captured = capture(torch.ones(5, 2))
        >>> captured.features["1"].shape, captured.logits.shape
        (torch.Size([5, 3]), torch.Size([5, 1]))
    """

    def __init__(self, model: nn.Module, layers: Sequence[str], gate: str | None = None) -> None:
        self._model = model
        self._gate = gate
        self._features: dict[str, Tensor] = {}
        self._versions: dict[str, tuple[Tensor, int]] = {}
        self._copied = set(layers)
        self._calls: dict[str, int] = {}
        self._taps: dict[tuple[str, int], list[tuple[Tap, str]]] = {}
        for name in dict.fromkeys([*layers, *([gate] if gate else [])]):
            tap = Tap.of(name)
            self._taps.setdefault((tap.module, tap.call), []).append((tap, name))
        self._wanted = set(layers)
        self._handles = self._hook({module for module, _ in self._taps})

    def __call__(self, images: Tensor) -> Captured:
        """Run the network on a batch.

        Raises:
            RuntimeError: if a layer was not reached in this pass.
        """
        self._features, self._versions, self._calls = {}, {}, {}
        logits = first_tensor(self._model(images))
        missing = self._wanted - self._features.keys()
        if missing or logits is None:
            raise RuntimeError(f"the forward pass did not reach {sorted(missing) or 'an output'}")
        self._copied = {
            name for name, (tensor, version) in self._versions.items() if tensor._version != version
        } & self._copied
        features, self._features, self._versions = self._features, {}, {}
        return Captured(logits, features)

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
            self._calls[module] = self._calls.get(module, 0) + 1
            new_args, new_kwargs = self._take(module, (args, kwargs), takes_input=True)
            return new_args, new_kwargs

        return hook

    def _leaving(self, module: str) -> Any:
        def hook(_: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
            return self._take(module, output, takes_input=False)

        return hook

    def _take(self, module: str, value: Any, takes_input: bool) -> Any:
        """Keep the layer's tensor; return the value that the network goes on with."""
        for tap, name in self._taps.get((module, self._calls[module]), ()):
            if tap.takes_input is not takes_input:
                continue
            tensor = first_tensor(value)
            if tensor is None:
                raise RuntimeError(f"layer {name!r} has no tensor to capture")
            if name in self._wanted:
                self._features[name] = tensor.clone() if name in self._copied else tensor
                self._versions[name] = (tensor, tensor._version)
            if name == self._gate:
                value = _replace_tensor(value, tensor, tensor.detach().clone())
        return value


def _replace_tensor(value: Any, old: Tensor, new: Tensor) -> Any:
    """The same tuple, list or dict with one tensor exchanged."""
    if value is old:
        return new
    if isinstance(value, Mapping):
        return {key: _replace_tensor(item, old, new) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return type(value)(_replace_tensor(item, old, new) for item in value)
    return value
