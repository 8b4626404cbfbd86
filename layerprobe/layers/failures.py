"""Why a network's layers can't be read, in one line that says what is known."""

from __future__ import annotations

import sys

import torch
from torch import Tensor, nn

from layerprobe.errors import LayerprobeError
from layerprobe.layers.tracing import evaluating
from layerprobe.plugins import one_line
from layerprobe.settings.base import SettingsError

_OTHER_SIZES = (32, 64, 96, 128, 160, 192, 224, 240, 256, 299, 384)


def refuse_hidden(model: nn.Module) -> None:
    """Refuse a network whose modules can't be watched, since its code was turned into something else.

    Raises:
        LayerprobeError: if it, or a part of it, is compiled with ``torch.compile`` or scripted with ``torch.jit``.
    """
    for name, module in model.named_modules():
        what = f"the model's part {name!r}" if name else "the model"
        if _is_compiled(module):
            raise LayerprobeError(
                f"{what} is compiled (torch.compile), and what its modules put out can't be seen: "
                "pass the model itself, before it is compiled (`distill` and `train` compile it with --compile)"
            )
        if isinstance(module, torch.jit.ScriptModule) and _hides_modules(module):
            raise LayerprobeError(
                f"{what} is scripted or traced (torch.jit), and what its modules put out can't be seen: "
                "pass the module that it was made from"
            )


def _hides_modules(module: torch.jit.ScriptModule) -> bool:
    """Whether a scripted or traced module runs others unseen; a traced one without any inside is seen as a whole."""
    return any(True for _ in module.children()) or isinstance(module, torch.jit._script.RecursiveScriptModule)


def _is_compiled(module: nn.Module) -> bool:
    dynamo = sys.modules.get("torch._dynamo.eval_frame")  # torch.compile imports it, and it takes a second
    return module._compiled_call_impl is not None or bool(dynamo and isinstance(module, dynamo.OptimizedModule))


def explain_failure(model: nn.Module, images: Tensor, error: BaseException) -> BaseException:
    """What a watched forward pass that failed is to raise.

    Args:
        model: the network.
        images: (batch, channels, height, width) that it was run on.
        error: what was raised.

    Returns:
        A one-line error where the network fails on its own too: it says that the image size is wrong only where the
        network takes images of another size. Else the error itself.
    """
    if isinstance(error, LayerprobeError) or _takes(model, images):
        return error
    size, reason = _format(images), one_line(error)
    for other in _OTHER_SIZES:
        resized = images.new_zeros(*images.shape[:2], other, other)
        if resized.shape != images.shape and _takes(model, resized):
            return SettingsError(
                f"the model can't take {size}-pixel images: {reason}; it takes {_format(resized)}-pixel ones, "
                f"so choose another size with <data.image_size>, for example {other}"
            )
    return SettingsError(
        f"the model's forward pass fails on {len(images)} images of {images.shape[1]}x{size}: {reason}; "
        f"so it does on squares of {_OTHER_SIZES[0]} to {_OTHER_SIZES[-1]} pixels; correct the model, or choose a size "
        "that it takes with <data.image_size>"
    )


def _takes(model: nn.Module, images: Tensor) -> bool:
    try:
        with torch.no_grad(), evaluating(model):
            model(images)
    except KeyboardInterrupt:
        raise
    except BaseException:  # whatever a model of the user's own raises
        return False
    return True


def _format(images: Tensor) -> str:
    return "x".join(map(str, images.shape[2:]))
