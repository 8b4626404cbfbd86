"""Layers chosen by name, glob, index, range or stride, or spread evenly."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from fnmatch import fnmatchcase

from layerprobe.errors import LayerprobeError, closest
from layerprobe.records import Layer, body_layers


def find_layers(
    layers: Sequence[Layer], wanted: Sequence[str] | None, model: str, remedy: str = ""
) -> tuple[Layer, ...]:
    """Look layers up, and return them in order of depth without repeats.

    A pattern is a name (``layer3.6``), a glob (``layer3.*``), an index (``25``; ``-1`` is the last), a range with
    both ends (``3-7``), a Python slice (``3:8``, ``-4:``, ``::2``), ``every:4`` (0, 4, 8, ...) or ``all``.

    Args:
        layers: the layers of the model.
        wanted: patterns; what any of them selects is taken. None: every layer.
        model: the model's name, for the error message.
        remedy: where its layers are listed, for the error message; default: what lists those of a model.

    Raises:
        LayerprobeError: if a pattern selects nothing, or there is none.

    Examples:
        >>> layers = [Layer(i, f"block.{i}", "block", (8,), 0) for i in range(10)]
        >>> [layer.index for layer in find_layers(layers, ["0-2", "every:4", "*.7", "-1"], "net")]
        [0, 1, 2, 4, 7, 8, 9]
    """
    if wanted is None:
        return tuple(layers)
    if not wanted:
        raise LayerprobeError(f"no layer of {model} is named; {remedy or _listing(model)}")
    chosen = {index for pattern in wanted for index in _select(layers, pattern, model, remedy or _listing(model))}
    return tuple(layers[index] for index in sorted(chosen))


def even_layers(layers: Sequence[Layer], count: int, model: str) -> tuple[Layer, ...]:
    """``count`` layers spread evenly over a network's blocks, ending at the last one.

    Position i of k among B blocks is ceil((i + 1) B / k) - 1. Of a network without blocks see ``body_layers``.

    Raises:
        LayerprobeError: if there are fewer than ``count`` of them.
    """
    body = body_layers(layers)
    if len(body) < count:
        raise LayerprobeError(
            f"{model} has {len(body)} blocks, fewer than the {count} layers to pair; choose fewer layers"
        )
    return tuple(body[math.ceil((i + 1) * len(body) / count) - 1] for i in range(count))


def middle_layer(layers: Sequence[Layer], model: str) -> Layer:
    """The block that the first half of a network's blocks ends with.

    Of B blocks it is the ceil(B / 2)-th. Of a network without blocks see ``body_layers``.

    Raises:
        LayerprobeError: if there is none.
    """
    body = body_layers(layers)
    if not body:
        raise LayerprobeError(f"{model} has no block and no activation, and so no middle layer; choose a layer by name")
    return body[math.ceil(len(body) / 2) - 1]


def penultimate_layer(layers: Sequence[Layer]) -> Layer:
    """What enters the classifier: the flattened feature, or the last layer of a network that has none."""
    return next((layer for layer in reversed(layers) if layer.kind == "feature"), layers[-1])


def _listing(model: str) -> str:
    return f"`layerprobe layers --model {model}` lists them"


def _select(layers: Sequence[Layer], pattern: str, model: str, remedy: str) -> Sequence[int]:
    names = {layer.name: position for position, layer in enumerate(layers)}
    indices = range(len(layers))
    if pattern in names:
        return [names[pattern]]
    selected: Sequence[int] = ()
    if pattern == "all":
        selected = indices
    elif re.fullmatch(r"-?\d+", pattern):
        selected = [int(pattern) % len(layers)] if -len(layers) <= int(pattern) < len(layers) else []
    elif span := re.fullmatch(r"(\d+)-(\d+)", pattern):
        first, last = int(span[1]), int(span[2])
        selected = range(first, last + 1) if first <= last < len(layers) else ()
    elif stride := re.fullmatch(r"every:([1-9]\d*)", pattern):
        selected = indices[:: int(stride[1])]
    elif re.fullmatch(r"(-?\d+)?:(-?\d+)?(:[1-9]\d*)?", pattern):
        selected = indices[slice(*(int(part) if part else None for part in pattern.split(":")))]
    else:
        selected = [position for name, position in names.items() if fnmatchcase(name, pattern)]
    if not selected:
        raise LayerprobeError(_message(pattern, names, model, remedy))
    return selected


def _message(pattern: str, names: dict[str, int], model: str, remedy: str) -> str:
    if re.fullmatch(r"[-\d:]+", pattern):
        return f"no layer {pattern!r} in {model}: its {len(names)} layers are 0 to {len(names) - 1}; {remedy}"
    if set(pattern) & set("*?["):
        return f"no layer of {model} has a name like {pattern!r}; {remedy}"
    return f"layer {pattern!r} is not in {model}; {closest(pattern, names)}; {remedy}"
