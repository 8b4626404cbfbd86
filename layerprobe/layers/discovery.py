"""The generalized layers of a network, found by watching one forward pass.

Definition (section 3 of Cooper et al., arXiv 2511.14981): in execution order, the output of every residual,
inverted-residual or transformer encoder block, the output of every free-standing non-linearity, and the
flattened feature vector that enters the classifier.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from layerprobe.errors import LayerprobeError
from layerprobe.layers.blocks import find_blocks
from layerprobe.layers.taps import Tap
from layerprobe.layers.tracing import Call, Pass, watch
from layerprobe.records import Layer
from layerprobe.settings.base import SettingsError

_BATCH = 2
_POOLS = (nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d, nn.AvgPool2d, nn.MaxPool2d)


def discover_layers(model: nn.Module, image_size: tuple[int, int], channels: int = 3) -> tuple[Layer, ...]:
    """Find the generalized layers of a classification network with a forward pass of two random images.

    A residual block is a module that adds two tensors of the same shape in its own ``forward`` and has a non-linearity
    inside, or another instance of the same class (``find_blocks`` has the whole rule). Of blocks inside blocks the
    outermost counts. A non-linearity is a module, or a function such as ``F.relu`` that a ``forward`` calls.

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
    images = torch.randn(_BATCH, channels, *image_size, generator=torch.Generator().manual_seed(0)).to(device)
    try:
        seen = watch(model, images)
        found = _layer_calls(model, seen)
        if any(_is_folded(tensor) for _, tensor in found.values()):
            found = _in_order_of_images(found, _layer_calls(model, watch(model, images.flip(0))))
    except (RuntimeError, ValueError, AssertionError, TypeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        size = "x".join(map(str, image_size))
        raise SettingsError(
            f"the model can't take {size}-pixel images: {reason}; choose another size with <data.image_size>"
        ) from error
    if not found:
        raise LayerprobeError(
            "the model has no residual or transformer block, no non-linearity and no linear classifier "
            "that a forward pass reaches"
        )
    return tuple(replace(layer, index=index) for index, (layer, _) in enumerate(found.values()))


def unfold(tensor: Tensor, images: int) -> Tensor:
    """One row per image: blocks that split an image, like those of MobileViT, work on (images * parts, ...)."""
    return tensor if len(tensor) == images else tensor.reshape(images, -1, *tensor.shape[1:])


_Found = dict[str, tuple[Layer, Tensor]]
"""Layers, their indices still missing, with what they put out, by name in execution order."""


def _layer_calls(model: nn.Module, seen: Pass) -> _Found:
    blocks = find_blocks(model, seen)
    found: list[tuple[int, Layer, Tensor]] = []
    for call in seen.calls:
        inside = blocks.intersection(call.ancestors)
        if inside or call.output is None or _is_result(call, seen) or not _has_rows(call.output):
            continue
        is_block = call.module in blocks and not call.tap.function
        kind = "block" if is_block else "activation" if call.is_activation else None
        if kind:
            found.append((call.left, _layer(call.tap, kind, call.output, call.parameters), call.output))
    head = _classifier_call(seen, blocks)
    if head is not None and head.input is not None:
        own = sum(parameter.numel() for parameter in head.module.parameters(recurse=False))
        tap = Tap(head.tap.module, head.tap.call, takes_input=True)
        layer = _layer(tap, "feature", head.input, head.parameters_before - own)
        found.append((head.entered, layer, head.input))
    found.sort(key=lambda item: item[0])
    return {layer.name: (layer, tensor) for _, layer, tensor in found}


def _layer(tap: Tap, kind: str, output: Tensor, parameters: int) -> Layer:
    return Layer(0, tap.name, kind, tuple(unfold(output, _BATCH).shape[1:]), parameters, _is_folded(output))


def _is_result(call: Call, seen: Pass) -> bool:
    """Whether a call puts out the logits."""
    return call.output is seen.output and call.output is not None and call.output.ndim == 2


def _has_rows(output: Tensor) -> bool:
    return output.ndim >= 2 and len(output) % _BATCH == 0


def _is_folded(output: Tensor) -> bool:
    return len(output) != _BATCH


def _in_order_of_images(found: _Found, flipped: _Found) -> _Found:
    """Without the folded layers whose rows are not in the order of the images; ``flipped`` saw the images swapped."""
    return {
        name: (layer, tensor)
        for name, (layer, tensor) in found.items()
        if not _is_folded(tensor)
        or torch.allclose(unfold(tensor, _BATCH).flip(0), unfold(flipped[name][1], _BATCH), rtol=1e-3, atol=1e-4)
    }


def _classifier_call(seen: Pass, blocks: set[nn.Module]) -> Call | None:
    """The linear layer that the flattened feature enters: the first of the run of vector modules at the end.

    In a plain multilayer perceptron the whole network is such a run; there the last linear layer counts. A classifier
    that is a 1x1 convolution of the pooled feature stands alone.
    """
    leaves = [call for call in seen.calls if not call.tap.function and not any(True for _ in call.module.children())]
    last = max((number for number, call in enumerate(leaves) if _gives_logits(call, seen)), default=None)
    if last is None:
        return None
    if isinstance(leaves[last].module, nn.Conv2d):
        # SqueezeNet pools what its classifier gives: at some sizes of image that is a map of one pixel already.
        return None if any(isinstance(call.module, _POOLS) for call in leaves[last:]) else leaves[last]
    run: list[Call] = []
    for call in reversed(leaves[: last + 1]):
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


def _gives_logits(call: Call, seen: Pass) -> bool:
    """Whether a call is a linear layer on vectors, or a convolution on pooled ones, with the network's outputs."""
    if call.input is None or call.output is None or seen.output is None:
        return False
    if call.output.shape[1:].numel() != seen.output.shape[-1]:
        return False
    if isinstance(call.module, nn.Linear):
        return call.input.ndim == 2
    return isinstance(call.module, nn.Conv2d) and call.input.shape[2:].numel() == 1


def is_channels_last(shape: tuple[int, ...]) -> bool:
    """Whether a map's shape for one image is (height, width, channels), as in Swin, not (channels, height, width).

    Networks don't say. A map of a square image has two equal sides: where the first two axes are equal and the last two
    are not, channels come last. (Of an image that isn't square, a map with as many channels as rows is misread.)

    Example:
        >>> is_channels_last((7, 7, 768)), is_channels_last((768, 7, 7)), is_channels_last((49, 768))
        (True, False, False)
    """
    return len(shape) == 3 and shape[0] == shape[1] != shape[2]
