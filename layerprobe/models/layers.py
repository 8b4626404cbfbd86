"""The generalized layers of a network, found by watching one forward pass.

Definition (section 3 of Cooper et al., arXiv 2511.14981): in execution order, the output of every residual,
inverted-residual or transformer encoder block, the output of every free-standing non-linearity, and the
flattened feature vector that enters the classifier.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.hooks import RemovableHandle

from layerprobe.errors import LayerprobeError, closest
from layerprobe.types import Layer

_ADDITIONS = {"add", "add_", "__add__", "__radd__", "__iadd__"}
# Fused kernels hide the additions of these two from a Python-level watcher.
_FUSED_BLOCKS = (nn.TransformerEncoderLayer, nn.TransformerDecoderLayer)
_NOT_ACTIVATIONS = (nn.MultiheadAttention, nn.Softmax, nn.Softmax2d, nn.LogSoftmax, nn.Softmin)
_ACTIVATION_NAME = re.compile(r"relu|gelu|silu|swish|mish|sigmoid|tanh|elu$", re.IGNORECASE)


@dataclass(frozen=True)
class Tap:
    """Where a layer's tensor is taken: the output, or the input, of the n-th call of a module."""

    module: str
    call: int
    takes_input: bool

    @classmethod
    def of(cls, name: str) -> Tap:
        """Read a layer's name: ``layer3.6``, ``relu@2`` (second call), ``fc.input`` (what enters ``fc``).

        Example:
            >>> Tap.of("relu@2")
            Tap(module='relu', call=2, takes_input=False)
            >>> Tap.of("fc.input")
            Tap(module='fc', call=1, takes_input=True)
        """
        path, _, call = name.partition("@")
        takes_input = path == "input" or path.endswith(".input")
        module = path.removesuffix("input").removesuffix(".") if takes_input else path
        return cls(module, int(call or 1), takes_input)

    @property
    def name(self) -> str:
        """The layer's name; ``Tap.of`` reads it back."""
        path = f"{self.module}.input".removeprefix(".") if self.takes_input else self.module
        return path if self.call == 1 else f"{path}@{self.call}"


def first_tensor(value: object) -> Tensor | None:
    """The first tensor in a module's input or output: itself, or the first in a tuple, list or dict."""
    if isinstance(value, Tensor):
        return value
    items: Iterable[object] = ()
    if isinstance(value, Mapping):
        items = value.values()
    elif isinstance(value, (tuple, list)):
        items = value
    return next((tensor for item in items if (tensor := first_tensor(item)) is not None), None)


@dataclass
class _Call:
    """One call of one module during the watched pass."""

    module: nn.Module
    tap: Tap
    ancestors: tuple[nn.Module, ...]
    input: Tensor | None
    output: Tensor | None = None
    parameters_before: int = 0
    parameters: int = 0
    entered: int = 0
    left: int = 0


@dataclass
class _Watcher(TorchFunctionMode):
    """Records every module call of a forward pass, and which modules add two tensors themselves."""

    names: dict[nn.Module, str]
    calls: list[_Call] = field(default_factory=list)
    residual: set[nn.Module] = field(default_factory=set)

    def __post_init__(self) -> None:
        super().__init__()
        self._stack: list[_Call] = []
        self._counts: dict[nn.Module, int] = {}
        self._seen: dict[int, int] = {}
        self._clock = 0

    def enter(self, module: nn.Module, inputs: tuple[object, ...], kwargs: dict[str, object]) -> None:
        self._counts[module] = self._counts.get(module, 0) + 1
        self._count_parameters(module.parameters(recurse=False))
        self._stack.append(
            _Call(
                module,
                Tap(self.names[module], self._counts[module], takes_input=False),
                ancestors=tuple(call.module for call in self._stack),
                input=first_tensor((inputs, kwargs)),
                parameters_before=sum(self._seen.values()),
                entered=self._tick(),
            )
        )

    def leave(self, module: nn.Module, inputs: tuple[object, ...], output: object) -> None:
        call = self._stack.pop()
        self._count_parameters(module.parameters())
        call.output, call.left = first_tensor(output), self._tick()
        call.parameters = sum(self._seen.values())
        self.calls.append(call)

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if getattr(func, "__name__", "") in _ADDITIONS and self._stack and _joins_branches(args):
            self.residual.add(self._stack[-1].module)
        return func(*args, **(kwargs or {}))

    def _count_parameters(self, parameters: Iterator[nn.Parameter]) -> None:
        self._seen.update((id(parameter), parameter.numel()) for parameter in parameters)

    def _tick(self) -> int:
        self._clock += 1
        return self._clock


def _joins_branches(operands: tuple[Any, ...]) -> bool:
    """Whether an addition joins two branches; a bias or a position embedding lacks the batch dimension."""
    if len(operands) < 2 or not all(isinstance(operand, Tensor) for operand in operands[:2]):
        return False
    left, right = operands[:2]
    return bool(left.ndim >= 2 and left.shape == right.shape and left.is_floating_point())


@contextmanager
def _watching(model: nn.Module) -> Iterator[_Watcher]:
    """Hook every module of a model, in evaluation mode, and restore it afterwards."""
    watcher = _Watcher({module: name for name, module in model.named_modules()})
    training = [module for module in model.modules() if module.training]
    handles: list[RemovableHandle] = []
    for module in model.modules():
        handles.append(module.register_forward_pre_hook(watcher.enter, with_kwargs=True))
        handles.append(module.register_forward_hook(watcher.leave))
    model.eval()
    try:
        with torch.no_grad(), watcher:
            yield watcher
    finally:
        for handle in handles:
            handle.remove()
        for module in training:
            module.training = True


def discover_layers(model: nn.Module, image_size: tuple[int, int], channels: int = 3) -> tuple[Layer, ...]:
    """Find the generalized layers of a classification network with one forward pass of two random images.

    A residual block is a module that adds two tensors of the same shape in its own ``forward`` (the outermost
    such module counts), or another instance of the same class, so that an inverted-residual block without a
    shortcut is found too.

    Args:
        model: any image classifier; it is run in evaluation mode and left as it was.
        image_size: height and width of the input in pixels.
        channels: channels of the input.

    Returns:
        The layers in execution order, indexed from 0.

    Raises:
        LayerprobeError: if the model can't take such images, or has no layer that counts.
    """
    device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    images = torch.randn(2, channels, *image_size, generator=torch.Generator().manual_seed(0)).to(device)
    with _watching(model) as watcher:
        try:
            model(images)
        except (RuntimeError, ValueError, AssertionError, TypeError) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            size = "x".join(map(str, image_size))
            raise LayerprobeError(
                f"the model can't take {size}-pixel images: {reason}; choose another size with --image-size"
            ) from error
    layers = _layers_of(model, watcher)
    if not layers:
        raise LayerprobeError(
            "the model has no residual or transformer block, no activation module and no linear classifier "
            "that a forward pass reaches; write its non-linearities as modules (nn.ReLU() instead of F.relu)"
        )
    return layers


def _layers_of(model: nn.Module, watcher: _Watcher) -> tuple[Layer, ...]:
    blocks = _blocks(model, watcher)
    found: list[tuple[int, Layer]] = []
    for call in watcher.calls:
        if blocks.intersection(call.ancestors) or call.output is None:
            continue
        kind = "block" if call.module in blocks else "activation" if _is_activation(call.module) else None
        if kind:
            layer = Layer(0, call.tap.name, kind, tuple(call.output.shape[1:]), call.parameters)
            found.append((call.left, layer))
    head = _classifier_call(watcher.calls, blocks)
    if head is not None and head.input is not None:
        tap = Tap(head.tap.module, head.tap.call, takes_input=True)
        before = head.parameters_before - sum(p.numel() for p in head.module.parameters(recurse=False))
        found.append((head.entered, Layer(0, tap.name, "feature", tuple(head.input.shape[1:]), before)))
    found.sort(key=lambda pair: pair[0])
    return tuple(
        Layer(index, layer.name, layer.kind, layer.shape, layer.parameters) for index, (_, layer) in enumerate(found)
    )


def _blocks(model: nn.Module, watcher: _Watcher) -> set[nn.Module]:
    """The residual blocks, those without a shortcut included. Blocks inside blocks are told apart by the caller."""
    residual = {module for module in watcher.residual if module is not model and not isinstance(module, nn.Sequential)}
    residual |= {call.module for call in watcher.calls if isinstance(call.module, _FUSED_BLOCKS)}
    total = sum(parameter.numel() for parameter in model.parameters())
    # A wrapped backbone that adds two branches at its top is a network, not one huge block.
    backbones = {
        module
        for module in residual
        if 2 * sum(parameter.numel() for parameter in module.parameters()) > total
        and any(inner in residual for inner in module.modules() if inner is not module)
    }
    kinds = tuple({type(module) for module in residual - backbones})
    return {call.module for call in watcher.calls if type(call.module) in kinds} - backbones - {model}


def _is_activation(module: nn.Module) -> bool:
    if any(True for _ in module.children()) or isinstance(module, _NOT_ACTIVATIONS):
        return False
    if type(module).__module__ == "torch.nn.modules.activation":
        return True
    parameterless = next(module.parameters(recurse=False), None) is None
    return parameterless and bool(_ACTIVATION_NAME.search(type(module).__name__))


def _classifier_call(calls: list[_Call], blocks: set[nn.Module]) -> _Call | None:
    """The linear layer that the flattened feature enters: the first of the run of vector modules at the end.

    In a plain multilayer perceptron the whole network is such a run; there the last linear layer counts.
    """
    leaves = [call for call in calls if not any(True for _ in call.module.children())]
    run: list[_Call] = []
    for call in reversed(leaves):
        in_block = call.module in blocks or blocks.intersection(call.ancestors)
        if in_block or call.input is None or call.output is None or call.input.ndim != 2 or call.output.ndim != 2:
            break
        run.append(call)
    linear = [call for call in run if isinstance(call.module, nn.Linear)]
    if not linear:
        return None
    first = linear[-1]
    starts_the_network = not any(
        call.entered < first.entered and next(call.module.parameters(), None) is not None for call in leaves
    )
    return linear[0] if starts_the_network else first


def is_channels_last(shape: tuple[int, ...]) -> bool:
    """Whether a map's shape for one image is (height, width, channels), as in Swin, not (channels, height, width).

    Networks don't say. A map of a square image has two equal sides: where the first two axes are equal and the last two
    are not, channels come last. (Of an image that isn't square, a map with as many channels as rows is misread.)

    Example:
        >>> is_channels_last((7, 7, 768)), is_channels_last((768, 7, 7)), is_channels_last((49, 768))
        (True, False, False)
    """
    return len(shape) == 3 and shape[0] == shape[1] != shape[2]


def find_layers(layers: Sequence[Layer], wanted: Sequence[str], model: str) -> tuple[Layer, ...]:
    """Look layers up by name or integer index, and return them in order of depth without repeats.

    Args:
        layers: the layers of the model.
        wanted: names (``layer3.6``) or indices (``25``, ``-1`` for the last).
        model: the model's name, for the error message.

    Raises:
        LayerprobeError: if a layer isn't there.
    """
    by_name = {layer.name: layer for layer in layers}
    chosen: set[int] = set()
    for name in wanted:
        if name in by_name:
            chosen.add(by_name[name].index)
        elif re.fullmatch(r"-?\d+", name) and -len(layers) <= int(name) < len(layers):
            chosen.add(int(name) % len(layers))
        else:
            hint = closest(name, by_name)
            raise LayerprobeError(
                f"layer {name!r} is not in {model}; {hint}; `layerprobe layers --model {model}` lists them"
            )
    return tuple(layers[index] for index in sorted(chosen))
