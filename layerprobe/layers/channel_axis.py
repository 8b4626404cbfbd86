"""Which axis of a map the channels are: told by the modules that read and write it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from torch import Tensor, nn

from layerprobe.layers.tracing import Call

_FIRST = (nn.Conv2d, nn.ConvTranspose2d, nn.BatchNorm2d, nn.InstanceNorm2d, nn.GroupNorm)


def find_channels_last(layer: Call, calls: Iterable[Call], tensor: Tensor) -> bool | None:
    """Whether a map (images, ...) that a layer puts out has its channels last.

    Convolutions and normalizations of maps have the channels first, linear modules last; a layer norm has them where
    its size is. Those that read or write the very tensor are asked first, then those that read what enters the layer,
    then those inside it with maps of the same shape.

    Args:
        layer: the call that puts it out.
        calls: every call of the pass.
        tensor: what it puts out.

    Returns:
        None where no module tells, or they contradict each other.
    """
    known = [(call, told) for call in calls for told in _told(call)]
    same, entering, inside = [], [], []
    for call, (touched, last) in known:
        if touched is tensor:
            same.append(last)
        elif touched.shape == tensor.shape and touched is layer.input:
            entering.append(last)
        elif touched.shape == tensor.shape and layer.module in call.ancestors:
            inside.append(last)
    for votes in (same, entering, inside):
        if len(set(votes)) == 1:
            return votes[0]
    return None


def _told(call: Call) -> Iterator[tuple[Tensor, bool]]:
    """The maps that a module reads and writes, and whether it has their channels last."""
    for tensor in (call.input, call.output):
        if tensor is not None and tensor.ndim == 4 and not call.tap.function:
            last = _reads_last(call.module, tensor)
            if last is not None:
                yield tensor, last


def _reads_last(module: nn.Module, tensor: Tensor) -> bool | None:
    if isinstance(module, _FIRST):
        return False
    if isinstance(module, nn.Linear):
        return True
    if isinstance(module, nn.LayerNorm):
        size = module.normalized_shape[-1]
        if (tensor.shape[1] == size) != (tensor.shape[-1] == size):
            return tensor.shape[-1] == size
        # Where both axes have its size only torch's own is known to take the last.
        return True if type(module).forward is nn.LayerNorm.forward else None
    return None
