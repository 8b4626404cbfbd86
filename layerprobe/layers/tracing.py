"""One forward pass, watched: which modules were called, which add two tensors, which non-linearities ran."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.hooks import RemovableHandle

from layerprobe.layers.nested import first_tensor, made_tensors
from layerprobe.layers.taps import Tap, function_name

# Non-linear functions that are no activations: a module that computes one isn't linear.
_ATTENTION = {"softmax", "scaled_dot_product_attention", "multi_head_attention_forward"}
_NONLINEAR = (nn.MultiheadAttention, nn.Softmax, nn.Softmax2d, nn.RNNBase)
_ADDITIONS = {"add", "add_", "__add__", "__radd__", "__iadd__"}
_NOT_ACTIVATIONS = (nn.MultiheadAttention, nn.Softmax, nn.Softmax2d, nn.LogSoftmax, nn.Softmin)
_ACTIVATION_NAME = re.compile(r"relu|gelu|silu|swish|mish|sigmoid|tanh|elu$", re.IGNORECASE)


@dataclass
class Call:
    """One call of a module, or of a functional non-linearity in a module's own ``forward``.

    Attributes:
        module: the module; for a function, the one whose ``forward`` calls it.
        tap: where its result is taken.
        ancestors: the modules that it was called in, for a function ``module`` too.
        input: first tensor that entered.
        outputs: the tensors that came out and are its own (``made_tensors``).
        output: of these the first with one row per image, else the first.
        is_activation: whether it is a non-linearity, or returns the result of one as it is.
        parameters_before: parameters of the network used before it.
        parameters: parameters of the network used up to its end.
        entered: when it began, counted in events.
        left: when it ended.
    """

    module: nn.Module
    tap: Tap
    ancestors: tuple[nn.Module, ...]
    input: Tensor | None = None
    outputs: tuple[Tensor, ...] = ()
    output: Tensor | None = None
    is_activation: bool = False
    parameters_before: int = 0
    parameters: int = 0
    entered: int = 0
    left: int = 0


@dataclass
class Watcher(TorchFunctionMode):
    """Records the calls of a forward pass.

    Attributes:
        names: dotted path of every module.
        images: number of images in the batch.
        calls: every call, in the order of their ends.
        residual: the modules that add two tensors of one shape in their own ``forward``.
        nonlinear: the modules that have a non-linearity inside.
    """

    names: dict[nn.Module, str]
    images: int
    calls: list[Call] = field(default_factory=list)
    residual: set[nn.Module] = field(default_factory=set)
    nonlinear: set[nn.Module] = field(default_factory=set)

    def __post_init__(self) -> None:
        super().__init__()
        self._stack: list[Call] = []
        self._counts: dict[tuple[nn.Module, str], int] = {}
        self._seen: dict[int, int] = {}
        self._clock = 0

    def enter(self, module: nn.Module, inputs: tuple[object, ...], kwargs: dict[str, object]) -> None:
        """A module begins."""
        self._count_parameters(module.parameters(recurse=False))
        call = self._begin(module, "")
        call.input, call.is_activation = first_tensor((inputs, kwargs)), is_activation(module)
        self._stack.append(call)
        if call.is_activation or isinstance(module, _NONLINEAR):
            self._note_nonlinearity()

    def leave(self, module: nn.Module, inputs: tuple[object, ...], output: object) -> None:
        """A module ends. Where it returns a function's result as it is, the two are one layer: the module."""
        call = self._stack.pop()
        self._count_parameters(module.parameters())
        self._end(call, made_tensors(output, inputs))
        last = self.calls[-1] if self.calls else call
        if last.tap.function and last.module is module and last.output is call.output and self.names[module]:
            call.is_activation = True
            self.calls.pop()
        self.calls.append(call)

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if not self._stack:
            return func(*args, **(kwargs or {}))
        caller = self._stack[-1]
        if getattr(func, "__name__", "") in _ADDITIONS and _joins_branches(args, self.images):
            self.residual.add(caller.module)
        function = "" if caller.is_activation else function_name(func)
        if function or getattr(func, "__name__", "") in _ATTENTION:
            self._note_nonlinearity()
        call = self._begin(caller.module, function) if function else None
        result = func(*args, **(kwargs or {}))
        if call and isinstance(result, Tensor):
            call.is_activation = True
            self._end(call, [result])
            self.calls.append(call)
        return result

    def _begin(self, module: nn.Module, function: str) -> Call:
        count = self._counts[module, function] = self._counts.get((module, function), 0) + 1
        return Call(
            module,
            Tap(self.names[module], count, function=function),
            ancestors=tuple(call.module for call in self._stack),
            parameters_before=sum(self._seen.values()),
            entered=self._tick(),
        )

    def _end(self, call: Call, outputs: Sequence[Tensor]) -> None:
        call.outputs, call.parameters, call.left = tuple(outputs), sum(self._seen.values()), self._tick()
        with_rows = (tensor for tensor in outputs if tensor.ndim and len(tensor) == self.images)
        call.output = next(with_rows, outputs[0] if outputs else None)

    def _note_nonlinearity(self) -> None:
        self.nonlinear.update(call.module for call in self._stack)

    def _count_parameters(self, parameters: Iterator[nn.Parameter]) -> None:
        self._seen.update((id(parameter), parameter.numel()) for parameter in parameters)

    def _tick(self) -> int:
        self._clock += 1
        return self._clock


def is_activation(module: nn.Module) -> bool:
    """Whether a module is a non-linearity: one of torch's, or a parameterless one whose class is named like one."""
    if any(True for _ in module.children()) or isinstance(module, _NOT_ACTIVATIONS):
        return False
    if type(module).__module__ == "torch.nn.modules.activation":
        return True
    parameterless = next(module.parameters(recurse=False), None) is None
    return parameterless and bool(_ACTIVATION_NAME.search(type(module).__name__))


def _joins_branches(operands: tuple[Any, ...], images: int) -> bool:
    """Whether an addition joins two branches; a bias or position embedding lacks the images, or is the same for all."""
    if len(operands) < 2 or not all(isinstance(operand, Tensor) for operand in operands[:2]):
        return False
    left, right = operands[:2]
    alike = bool(left.ndim >= 2 and left.shape == right.shape and left.is_floating_point())
    return alike and not any(_is_constant(operand, images) for operand in (left, right))


def _is_constant(tensor: Tensor, images: int) -> bool:
    """Whether a tensor is the same for both images. Zeros count as varying: a branch may be initialized to them.

    The images lie along the first axis, perhaps divided into parts, or along the second.
    """
    half = len(tensor) // 2
    alike = bool(half and torch.equal(tensor[:half], tensor[half : 2 * half]))
    if not alike and tensor.shape[1] == images == 2:
        alike = torch.equal(tensor[:, 0], tensor[:, 1])
    return alike and bool(tensor.any())


@dataclass(frozen=True)
class Pass:
    """A watched forward pass.

    Attributes:
        calls: every call, in the order of their ends.
        residual: the modules that add two tensors of one shape in their own ``forward``.
        nonlinear: the modules that have a non-linearity inside.
        returned: what the network returned.
    """

    calls: list[Call]
    residual: set[nn.Module]
    nonlinear: set[nn.Module]
    returned: object


def watch(model: nn.Module, images: Tensor, training: bool = False) -> Pass:
    """Run a network and record its calls; it is left as it was.

    Args:
        model: the network.
        images: (batch, channels, height, width).
        training: whether it runs in the modes that its modules are in; else all are in evaluation mode.
    """
    with _watching(model, len(images)) as watcher, nullcontext() if training else evaluating(model):
        returned = model(images)
    return Pass(watcher.calls, watcher.residual, watcher.nonlinear, returned)


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """A network in evaluation mode; afterwards every module is in the mode that it was in."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True


@contextmanager
def _watching(model: nn.Module, images: int) -> Iterator[Watcher]:
    watcher = Watcher({module: name for name, module in model.named_modules()}, images)
    # Compiled code calls no hooks of modules inside it: the pass runs as it was written.
    compiled = {module: module._compiled_call_impl for module in model.modules() if module._compiled_call_impl}
    for module in compiled:
        module._compiled_call_impl = None
    handles: list[RemovableHandle] = []
    for module in model.modules():
        handles.append(module.register_forward_pre_hook(watcher.enter, with_kwargs=True))
        handles.append(module.register_forward_hook(watcher.leave))
    try:
        with torch.no_grad(), watcher:
            yield watcher
    finally:
        for handle in handles:
            handle.remove()
        for module, call in compiled.items():
            module._compiled_call_impl = call
