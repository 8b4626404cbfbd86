"""An axis of layers in order of depth."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from matplotlib.axes import Axes

from layerprobe.records import Layer
from layerprobe.report.figures.style import as_written, is_narrow

MOST_TICKS = 32
LONGEST_NAME, SHORTEST_NAME = 14, 8
"""Characters of a name above which it is shortened, and that are left at least."""


def short_names(layers: Sequence[Layer]) -> list[str]:
    """Names for tick labels: of a long one the shortest end, from a dot on, that no other layer's name has.

    Examples:
        >>> names = ["stem", "encoder.layers.encoder_layer_0", "encoder.layers.encoder_layer_1"]
        >>> short_names([Layer(0, name, "block", (1,), 0) for name in names])
        ['stem', 'encoder_layer_0', 'encoder_layer_1']
    """
    names = [layer.name for layer in layers]
    return [_shortened(name, names) if len(name) > LONGEST_NAME else name for name in names]


def _shortened(name: str, names: Sequence[str]) -> str:
    parts = name.split(".")
    ends = [".".join(parts[start:]) for start in range(len(parts) - 1, -1, -1)]
    alone = (end for end in ends if sum(f".{other}".endswith(f".{end}") for other in names) == 1)
    return next((end for end in alone if len(end) >= SHORTEST_NAME), name)


def name_layers(axis: Axes, layers: Sequence[Layer], keep: Sequence[str], which: Literal["x", "y"] = "x") -> None:
    """Layer names as tick labels at their indices; of many layers every k-th, and always those to keep, in bold."""
    narrow = is_narrow(axis.figure.get_size_inches()[0])  # type: ignore[union-attr]
    most = MOST_TICKS // 2 if narrow else MOST_TICKS
    step = max(1, math.ceil(len(layers) / most))
    kept = {number for number, layer in enumerate(layers) if layer.name in keep}
    near = {number + offset for number in kept for offset in range(1 - step, step)}
    shown = [n for n in range(len(layers)) if n in kept or (n % step == 0 and n not in near)]
    short = short_names(layers)
    names = [as_written(short[number]) for number in shown]
    places = [layers[number].index for number in shown]
    if which == "x":
        axis.set_xticks(places, names, rotation=90)
    else:
        axis.set_yticks(places, names)
    labels = axis.get_xticklabels() if which == "x" else axis.get_yticklabels()
    for label, number in zip(labels, shown, strict=True):
        label.set_fontweight("bold" if number in kept else "normal")
        if narrow:
            label.set_fontsize(5.5)  # neighbours that are kept stand close together
