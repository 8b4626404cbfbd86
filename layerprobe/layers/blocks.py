"""Which modules are the blocks of a network: residual, inverted-residual and transformer encoder blocks.

No architecture is known by name here. What a module does in a watched forward pass tells:

- it joins two branches by an addition, with a non-linearity inside; or it is of a class that does so elsewhere;
- or it is an inverted residual that never has a shortcut: a depthwise convolution, then a linear projection;
- or it is put together from wrappers of one branch each, such as ``x + attention(x)`` and then ``x + mlp(x)``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from torch import Tensor, nn

from layerprobe.layers.tracing import Pass

# Fused kernels hide the additions of these two from a Python-level watcher.
_FUSED_BLOCKS = (nn.TransformerEncoderLayer, nn.TransformerDecoderLayer)
_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)


def find_blocks(model: nn.Module, seen: Pass, logits: Tensor | None) -> set[nn.Module]:
    """The blocks of a network, those without a shortcut included.

    A block may hold others, as a transformer block with a convolutional one inside; the outermost is the layer.

    Args:
        model: the network.
        seen: a forward pass of it.
        logits: the logits that it gave.
    """
    called = {call.module for call in seen.calls}
    # What adds the logits of two classifiers, as in distilled networks, is a classifier.
    candidates = called - {call.module for call in seen.calls if call.output is logits} - {model}
    adding = (seen.residual & seen.nonlinear) | {module for module in called if isinstance(module, _FUSED_BLOCKS)}
    kinds = {type(module) for module in adding & candidates if not _is_stage(module, adding, model)}
    # A class that adds somewhere adds everywhere, or would with equal shapes; linear instances are downsampling steps.
    blocks = {module for module in candidates if type(module) in kinds and module in adding | seen.nonlinear}
    inside = {inner for module in blocks for inner in module.modules()}
    free = {module for module in candidates - inside if blocks.isdisjoint(module.modules())}
    blocks |= _innermost({module for module in free if _is_inverted_residual(module, seen)})
    wrappers = {module for module in called if type(module) in {type(adder) for adder in seen.residual}}
    return blocks | _innermost({module for module in candidates - blocks if _is_assembled(module, wrappers, seen)})


def _is_stage(module: nn.Module, adding: set[nn.Module], model: nn.Module) -> bool:
    """Whether a module that adds is more than a block: a part of the network, made of blocks.

    It is if it is most of the network (a wrapped backbone that adds something at its top), or if most of it is lists of
    blocks of one class (HRNet's stages, which add maps of several resolutions; groups of blocks with a long shortcut).
    """
    inner = [other for other in module.modules() if other in adding and other is not module]
    if inner and 2 * _size(module) > _size(model):
        return True
    lists = [holder for holder in module.modules() if isinstance(holder, _CONTAINERS)]
    listed = [child for holder in lists for child in holder.children() if child in adding]
    return any(
        number > 1 and 2 * sum(_size(child) for child in listed if type(child) is kind) > _size(module)
        for kind, number in Counter(map(type, listed)).items()
    )


def _is_inverted_residual(module: nn.Module, seen: Pass) -> bool:
    """Whether a module ends with a depthwise convolution, a non-linearity and a projection that nothing follows.

    MobileNets and their kin have some such blocks without a shortcut, which a class of its own may make.
    """
    if isinstance(module, _CONTAINERS):
        return False
    calls = [call for call in seen.calls if module in call.ancestors]
    convolutions = [(call, call.module) for call in calls if isinstance(call.module, nn.Conv2d)]
    depthwise = [(call, layer) for call, layer in convolutions if layer.groups == layer.in_channels > 1]
    if not depthwise:
        return False
    (last, projection), (middle, wide) = convolutions[-1], depthwise[-1]
    activations = [call.left for call in calls if call.is_activation]
    return (
        projection.kernel_size == (1, 1)
        and projection.groups == 1
        and projection.out_channels <= projection.in_channels == wide.out_channels
        and any(middle.left < time < last.left for time in activations)
        and not any(time > last.left for time in activations)
    )


def _is_assembled(module: nn.Module, wrappers: set[nn.Module], seen: Pass) -> bool:
    """Whether a module is a chain of wrappers ``x + branch(x)`` of one class around branches of several classes.

    Such is a transformer block written with a ``Residual`` class. A stage, that repeats one kind of branch or changes
    the shape, isn't.
    """
    if isinstance(module, _CONTAINERS) or module in wrappers or module not in seen.nonlinear:
        return False
    chain = list(_outermost(module, wrappers))
    branches = [[child for child in wrapper.children() if _size(child)] for wrapper in chain]
    if len({type(wrapper) for wrapper in chain}) != 1 or any(len(branch) != 1 for branch in branches):
        return False
    if len({type(branch[0]) for branch in branches}) < 2 or sum(map(_size, chain)) < _size(module):
        return False
    shapes = [(call.input, call.output) for call in seen.calls if call.module is module]
    return all(before is not None and after is not None and before.shape == after.shape for before, after in shapes)


def _outermost(module: nn.Module, wanted: set[nn.Module]) -> Iterator[nn.Module]:
    for child in module.children():
        if child in wanted:
            yield child
        else:
            yield from _outermost(child, wanted)


def _innermost(modules: set[nn.Module]) -> set[nn.Module]:
    return {
        module for module in modules if not any(other in modules for other in module.modules() if other is not module)
    }


def _size(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
