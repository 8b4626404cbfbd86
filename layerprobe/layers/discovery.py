"""The generalized layers of a network, found by watching one forward pass.

Definition (section 3 of Cooper et al., arXiv 2511.14981): in execution order, the output of every residual,
inverted-residual or transformer encoder block, the output of every free-standing non-linearity, and the
flattened feature vector that enters the classifier. A network without a classifier has the same layers, and in the last
one's place what it returns: a pooled embedding, a map or tokens.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from layerprobe.errors import LayerprobeError, first_of
from layerprobe.layers.batch_axis import Rows, find_rows, grows, images_first, is_plain
from layerprobe.layers.blocks import find_blocks
from layerprobe.layers.channel_axis import find_channels_last
from layerprobe.layers.failures import explain_failure, refuse_hidden
from layerprobe.layers.logits import find_logits
from layerprobe.layers.space import Space, check_prefix, read_space, say_unplaced, without_windows
from layerprobe.layers.taps import Tap
from layerprobe.layers.tracing import Call, Pass, watch
from layerprobe.models.classifier import lacks_classifier, removed_classifiers
from layerprobe.records import Layer, Shape

_log = logging.getLogger(__name__)

BATCH = 2
"""Images of the pass by which layers are found."""

_POOLS = (nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d, nn.AvgPool2d, nn.MaxPool2d)


@dataclass(frozen=True)
class Discovery:
    """What a forward pass shows of a network.

    Attributes:
        layers: its generalized layers, in execution order, indexed from 0.
        returned: shape of what it returns for a batch; of a classifier the logits', (batch, classes).
        has_classifier: whether it has a classifier.
    """

    layers: tuple[Layer, ...]
    returned: tuple[int, ...]
    has_classifier: bool = True


def discover_layers(
    model: nn.Module, image_size: tuple[int, int], channels: int = 3, prefix_tokens: int | None = None
) -> tuple[Layer, ...]:
    """Find the generalized layers of a network with a forward pass of two random images.

    A residual block is a module that adds two tensors of the same shape in its own ``forward`` and has a non-linearity
    inside, or another instance of the same class (``find_blocks`` has the whole rule). If blocks are nested, the
    outermost counts. A non-linearity is a module, or a function such as ``F.relu`` that a ``forward`` calls.

    If that pass doesn't show along which axis of an output the images lie, a second pass with three images does.

    Args:
        model: any network of images; it is run in evaluation mode and left as it was.
        image_size: height and width of the input in pixels.
        channels: channels of the input.
        prefix_tokens: extra tokens of a transformer, such as the class token; None: as many as it declares.

    Returns:
        The layers in execution order, indexed from 0.

    Raises:
        LayerprobeError: if the model is compiled or scripted, can't take such images, returns several tensors that
            could be its logits, or has no layer that counts, or none with so many extra tokens.
    """
    return discover(model, image_size, channels, prefix_tokens).layers


def discover(
    model: nn.Module, image_size: tuple[int, int], channels: int = 3, prefix_tokens: int | None = None
) -> Discovery:
    """As ``discover_layers``, with the shape of what the network returns, and whether these are logits."""
    refuse_hidden(model)
    device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    images = torch.randn(BATCH + 1, channels, *image_size, generator=torch.Generator().manual_seed(0)).to(device)
    seen, returned = _see(model, images[:BATCH])
    removed = _removed_classifiers(model, seen, returned)
    has_classifier = not (removed or lacks_classifier(model)) and returned is not None and returned.ndim == 2
    if has_classifier:
        candidates = _candidates(model, seen, returned)
    else:
        candidates = _candidates_without_classifier(model, seen, returned, removed)
    if all(is_plain(candidate.tensors, BATCH) for candidate in candidates):
        rows: Sequence[Rows | None] = [_plain_rows(candidate.tensors) for candidate in candidates]
    else:
        again, _ = _see(model, images[[1, 0, 2]])
        rows = _rows_by_growth(candidates, again)
    space = read_space(model, image_size, prefix_tokens)
    layers = tuple(
        _layer(index, candidate, place, seen, space)
        for index, (candidate, place) in enumerate(
            (candidate, place) for candidate, place in zip(candidates, rows, strict=True) if place
        )
    )
    if not layers:
        raise LayerprobeError(
            "the model has no residual or transformer block, no non-linearity and no linear classifier "
            "that a forward pass reaches"
        )
    check_prefix(layers, prefix_tokens)
    say_unplaced(layers, space, prefix_tokens)
    shape = tuple(returned.shape) if returned is not None else ()
    return Discovery(without_windows(layers), shape, has_classifier)


def _see(model: nn.Module, images: Tensor) -> tuple[Pass, Tensor | None]:
    """A watched forward pass, and the logits that it gave."""
    try:
        seen = watch(model, images)
        return seen, find_logits(model, seen, len(images))
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # whatever a model of the user's own raises
        explained = explain_failure(model, images, error)
        if explained is error:
            raise
        raise explained from error


@dataclass(frozen=True)
class _Candidate:
    """What is a layer if its images can be told apart.

    Attributes:
        time: when it was there, in events of the pass.
        call: that put it out, or that it entered.
        tap: where it is taken.
        kind: of the layer.
        tensors: what the module put out, or what entered it.
        parameters: used up to there.
    """

    time: int
    call: Call
    tap: Tap
    kind: str
    tensors: tuple[Tensor, ...]
    parameters: int


def _candidates(model: nn.Module, seen: Pass, logits: Tensor | None) -> list[_Candidate]:
    blocks = find_blocks(model, seen, logits)
    found = [_of_output(call, kind) for call, kind in _body(seen, blocks) if not _is_result(call, logits)]
    head = _classifier_call(seen, blocks, logits, [])
    return _in_order([*found, *_feature(head)])


def _candidates_without_classifier(
    model: nn.Module, seen: Pass, returned: Tensor | None, removed: list[Call]
) -> list[_Candidate]:
    """As in the same network with a classifier; where none was removed, what the network returns is the last layer."""
    blocks = find_blocks(model, seen, None)
    found = [_of_output(call, kind) for call, kind in _body(seen, blocks)]
    feature = list(_feature(_classifier_call(seen, blocks, returned, removed) if removed else None))
    if not feature and not any(candidate.call.output is returned for candidate in found):
        feature = [_of_output(call, "feature") for call in _giving(seen, returned)]
    return _in_order([*found, *feature])


def _body(seen: Pass, blocks: set[nn.Module]) -> Iterator[tuple[Call, str]]:
    """Blocks and free-standing non-linearities, with their kinds."""
    for call in seen.calls:
        if call.output is None or call.output.ndim < 2 or blocks.intersection(call.ancestors):
            continue
        if call.module in blocks and not call.tap.function:
            yield call, "block"
        elif call.is_activation:
            yield call, "activation"


def _of_output(call: Call, kind: str) -> _Candidate:
    return _Candidate(call.left, call, call.tap, kind, call.outputs, call.parameters)


def _feature(head: Call | None) -> Iterator[_Candidate]:
    """What enters the classifier."""
    if head is not None and head.input is not None:
        own = sum(parameter.numel() for parameter in head.module.parameters(recurse=False))
        yield _Candidate(head.entered, head, _input_of(head), "feature", (head.input,), head.parameters_before - own)


def _giving(seen: Pass, returned: Tensor | None) -> Sequence[Call]:
    """The outermost module that made what the network returns, or the network itself where no module did.

    Modules behind it may hand the tensor through, as dropout and what stands in a classifier's place do.
    """
    giving = [call for call in seen.calls if returned is not None and call.output is returned and not call.tap.function]
    around = [call for call in giving if call.tap.module and call.module in giving[0].ancestors]
    if not giving:
        _log.warning("what the model returns first is not what is taken for its features, and is no layer")
    return [*giving[:1], *around][-1:]


def _in_order(candidates: Iterable[_Candidate]) -> list[_Candidate]:
    return sorted(candidates, key=lambda candidate: candidate.time)


def _input_of(call: Call) -> Tap:
    return Tap(call.tap.module, call.tap.call, takes_input=True)


def _is_result(call: Call, logits: Tensor | None) -> bool:
    """Whether a call puts out the logits."""
    return call.output is logits and call.output is not None and call.output.ndim == 2


def _plain_rows(tensors: Sequence[Tensor]) -> Rows:
    return Rows(next(number for number, tensor in enumerate(tensors) if tensor.ndim and len(tensor) == BATCH))


def _rows_by_growth(candidates: Sequence[_Candidate], again: Pass) -> list[Rows | None]:
    """Where the images are in every candidate, told by a pass of one image more. What can't be told is said."""
    outputs: dict[Tap, tuple[Tensor, ...]] = {call.tap: call.outputs for call in again.calls}
    inputs = {_input_of(call): (call.input,) for call in again.calls if call.input is not None}
    after: Mapping[Tap, tuple[Tensor, ...]] = {**outputs, **inputs}
    rows = [find_rows(candidate.tensors, after.get(candidate.tap, ())) for candidate in candidates]
    # A result whose shape doesn't depend on the number of images, as a gate of weights alone, is no loss.
    lost = [
        candidate.tap.name
        for candidate, place in zip(candidates, rows, strict=True)
        if not place and (candidate.kind == "block" or grows(candidate.tensors, after.get(candidate.tap, ())))
    ]
    if lost:
        _log.warning(
            "%d of the model's layers can't be read, and are left out: no axis of their output has one entry per "
            "image: %s",
            len(lost),
            first_of(lost),
        )
    return rows


def _layer(index: int, candidate: _Candidate, rows: Rows, seen: Pass, space: Space) -> Layer:
    tensor = candidate.tensors[rows.tensor]
    output = images_first(tensor, BATCH, rows.axis)
    told = find_channels_last(candidate.call, seen.calls, tensor) if tensor.ndim == 4 else None
    shape = tuple(output.shape[1:])
    return Layer(
        index=index,
        name=candidate.tap.name,
        kind=candidate.kind,
        shape=Shape(shape, space.layout(shape, rows.folded, told)),
        parameters=candidate.parameters,
        folded=rows.folded,
        batch_axis=rows.axis,
    )


def _removed_classifiers(model: nn.Module, seen: Pass, logits: Tensor | None) -> list[Call]:
    """The calls of what stands in the place of the classifiers, in a network that is built without.

    What a linear layer gives, with no activation in between, are logits all the same.
    """
    names = removed_classifiers(model)
    if logits is None or not names:
        return []
    found = [
        call
        for call in seen.calls
        if call.tap.module in names and call.output is not None and call.output.shape == logits.shape
    ]
    begun = max((call.left for call in seen.calls if _gives_logits(call, logits)), default=0)
    if begun and not any(
        begun < call.entered < one.entered for call in seen.calls if call.is_activation for one in found
    ):
        return []
    return found


def _is_one_of(call: Call, calls: Sequence[Call]) -> bool:
    return any(call is one for one in calls)


def _classifier_call(seen: Pass, blocks: set[nn.Module], logits: Tensor | None, removed: list[Call]) -> Call | None:
    """The linear layer that the flattened feature enters: the first of the run of vector modules at the end.

    In a plain multilayer perceptron the whole network is such a run; there the last linear layer counts. A classifier
    that is a 1x1 convolution of the pooled feature stands alone.
    """
    leaves = [call for call in seen.calls if not call.tap.function and not any(True for _ in call.module.children())]
    ends = (_is_one_of(call, removed) if removed else _gives_logits(call, logits) for call in leaves)
    last = max((number for number, is_end in enumerate(ends) if is_end), default=None)
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
    linear = [call for call in run if isinstance(call.module, nn.Linear) or _is_one_of(call, removed)]
    if not linear:
        return None
    first = linear[-1]
    starts_the_network = not any(
        call.entered < first.entered and next(call.module.parameters(), None) is not None for call in leaves
    )
    return linear[0] if starts_the_network else first


def _gives_logits(call: Call, logits: Tensor | None) -> bool:
    """Whether a call is a linear layer on vectors, or a convolution on pooled ones, with the network's outputs."""
    if call.input is None or call.output is None or logits is None:
        return False
    if call.output.shape[1:].numel() != logits.shape[-1]:
        return False
    if isinstance(call.module, nn.Linear):
        return call.input.ndim == 2
    return isinstance(call.module, nn.Conv2d) and call.input.shape[2:].numel() == 1
