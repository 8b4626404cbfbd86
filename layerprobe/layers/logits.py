"""Which tensor of a model's output holds the logits: the one place where that is decided.

A model may return features and logits, a dictionary, a named tuple or a dataclass. Of the tensors in it,

1. the one whose entry or field is called ``logits`` is taken;
2. else the only one that is (batch, columns);
3. else the one that the classifier gave, as a forward pass shows: it is what a linear layer put out, and every other
   (batch, columns) tensor was made on the way to that layer. If more than one could be meant, none is taken.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from layerprobe.errors import LayerprobeError
from layerprobe.layers.nested import NAMED, Path, named_tensors
from layerprobe.layers.tracing import Call, Pass, watch

_CLASSIFIERS = (nn.Linear, nn.Conv2d)


def classify(model: nn.Module, images: Tensor) -> Tensor:
    """Run a classifier and return its logits, (batch, classes), whatever else it returns.

    Raises:
        LayerprobeError: if the model returns no tensor, or several that could be the logits.
    """
    return pick_logits(model, images, model(images))


def pick_logits(model: nn.Module, images: Tensor, output: object) -> Tensor:
    """Find the logits in what a model returned.

    Args:
        model: the model. Where its output alone doesn't tell, it is run once more to see which module gives what; the
            answer is kept for as long as the model lives.
        images: (batch, channels, height, width) that it was run on.
        output: what it returned.

    Raises:
        LayerprobeError: if the output has no tensor, or several that could be the logits.
    """
    if isinstance(output, Tensor):
        return output
    tensors = dict(named_tensors(output))
    if not tensors:
        raise LayerprobeError(
            f"a classifier returns its logits, but the model returned no tensor ({type(output).__name__}); "
            "return a tensor, or a dictionary with the entry 'logits'"
        )
    known = _PATHS.setdefault(model, {})
    form = model.training, tuple(tensors)
    if form not in known:
        candidates = _candidates(tensors, len(images))
        known[form] = next(iter(candidates)) if len(candidates) == 1 else _watch_for_logits(model, images)
    return tensors[known[form]]


_Form = tuple[bool, tuple[Path, ...]]
"""Of what a model returns: whether it trains, and the places of all tensors."""

_PATHS: WeakKeyDictionary[nn.Module, dict[_Form, Path]] = WeakKeyDictionary()
"""Where the logits stand in each form of what a model returns: one answer for all batches."""


def find_logits(model: nn.Module, seen: Pass, images: int) -> Tensor | None:
    """The logits that a model returned in a watched pass of some images in evaluation mode; None: no tensor.

    Raises:
        LayerprobeError: if several tensors could be the logits.
    """
    if isinstance(seen.returned, Tensor):
        return seen.returned
    tensors = dict(named_tensors(seen.returned))
    if not tensors:
        return None
    known = _PATHS.setdefault(model, {})
    form = False, tuple(tensors)
    if form not in known:
        candidates = _candidates(tensors, images)
        known[form] = next(iter(candidates)) if len(candidates) == 1 else _choose(candidates, seen.calls)
    return tensors[known[form]]


def _candidates(tensors: Mapping[Path, Tensor], images: int) -> Mapping[Path, Tensor]:
    """The tensors that could be the logits; where none is (batch, columns), the first of all."""
    named = {path: tensor for path, tensor in tensors.items() if path[-1] == NAMED}
    rows = {
        path: tensor
        for path, tensor in tensors.items()
        if tensor.ndim == 2 and len(tensor) == images and tensor.is_floating_point()
    }
    return named or rows or dict([next(iter(tensors.items()))])


def _choose(tensors: Mapping[Path, Tensor], calls: Sequence[Call]) -> Path:
    """The tensor that the classifier gave, where every other one was made on the way to it."""
    chosen = [
        path
        for path, tensor in tensors.items()
        for head in [_classifier(tensor, calls)]
        if head and all(other == path or _leads_to(tensors[other], head, calls) for other in tensors)
    ]
    if len(chosen) != 1:
        raise _ambiguous(tensors)
    return chosen[0]


def _classifier(tensor: Tensor, calls: Sequence[Call]) -> Call | None:
    """The call of a linear layer, or of a convolution of a pooled map, that gave a tensor."""
    return next((call for call in reversed(calls) if _is_classifier(call) and _same(call.output, tensor)), None)


def _is_classifier(call: Call) -> bool:
    return isinstance(call.module, _CLASSIFIERS) and not call.tap.function


def _leads_to(tensor: Tensor, head: Call, calls: Sequence[Call]) -> bool:
    """Whether a tensor was made on the way to a classifier.

    Either a module read it that began no later, or a module put it out before. What another linear layer put out, and
    nothing read, are other logits.
    """
    if any(call.entered <= head.entered and _same(call.input, tensor) for call in calls):
        return True
    given = any(call.left < head.entered and _same(call.output, tensor) for call in calls)
    return given and _classifier(tensor, calls) is None


def _same(one: Tensor | None, other: Tensor) -> bool:
    """Whether two tensors hold the same values; one may have been cast or flattened."""
    if one is other:
        return True
    if one is None or one.ndim == 0 or one.numel() != other.numel() or len(one) != len(other):
        return False
    return torch.equal(one.reshape(other.shape).to(other.dtype), other)


def _watch_for_logits(model: nn.Module, images: Tensor) -> Path:
    """Where the logits stand in the output that a model gives in its present mode.

    In training it may return more, or in another order: the classifier is the one that gives the logits otherwise.
    """
    usual = watch(model, images)
    logits = find_logits(model, usual, len(images))
    if not model.training:
        return _PATHS[model][False, tuple(path for path, _ in named_tensors(usual.returned))]
    head = _classifier(logits, usual.calls) if logits is not None else None
    with _undone(model, images.device):
        seen = watch(model, images, training=True)
    candidates = _candidates(dict(named_tensors(seen.returned)), len(images))
    heads = {path: _classifier(tensor, seen.calls) for path, tensor in candidates.items()}
    chosen = [path for path, call in heads.items() if call and head and call.tap == head.tap]
    if len(chosen) != 1:
        raise _ambiguous(candidates)
    return chosen[0]


@contextmanager
def _undone(model: nn.Module, device: torch.device) -> Iterator[None]:
    """What a pass in training mode changes, batch statistics and random states, is put back."""
    buffers = [(buffer, buffer.clone()) for buffer in model.buffers()]
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        yield
    with torch.no_grad():
        for buffer, before in buffers:
            buffer.copy_(before)


def _ambiguous(tensors: Mapping[Path, Tensor]) -> LayerprobeError:
    shapes = ((".".join(map(str, path)), "x".join(map(str, tensor.shape))) for path, tensor in tensors.items())
    found = ", ".join(f"{path!r} ({shape})" for path, shape in shapes)
    return LayerprobeError(
        f"a classifier returns its logits, but {len(tensors)} tensors of the model's output could be those: {found}; "
        "return the logits alone, or in a dictionary or named tuple as 'logits'"
    )
