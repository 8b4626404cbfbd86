"""An axis of layers in order of depth."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.axis import Tick
from matplotlib.transforms import ScaledTranslation

from layerprobe.records import Layer
from layerprobe.report.figures.labels import as_written, text_width

FONT = 6.0
"""Points: the size of layers' names."""
ROOM = 1.7
"""Inches: the longest names that stand at an axis; of a network with longer ones every layer has its number."""
_SPACE, _CLOSEST = 1.25 * FONT / 72, 1.1 * FONT / 72
"""Inches between two names: at least where some are left out, and where neighbours must all be named."""


def names_fit(layers: Sequence[Layer], room: float = ROOM) -> bool:
    """Whether the full names of layers fit into so many inches; a shortened one might be another layer's."""
    return max(text_width(layer.name, FONT, bold=True) for layer in layers) <= room


def names_room(layers: Sequence[Layer]) -> float:
    """The inches that names, or numbers, take below an axis."""
    return max(text_width(text, FONT, bold=True) for text in _texts(layers, ROOM)) + 0.1


def name_layers(
    axis: Axes,
    layers: Sequence[Layer],
    keep: Sequence[str],
    length: float,
    which: Literal["x", "y"] = "x",
    places: Sequence[float] | None = None,
    room: float = ROOM,
) -> str:
    """Layers' full names as tick labels, or the numbers of all where one is too long.

    Of many layers every k-th is named, and always those to keep, in bold.

    Args:
        axis: where they stand.
        layers: in order of depth.
        keep: names of layers that are always named.
        length: of the axis in inches, about.
        which: axis.
        places: of the layers; None: at their indices.
        room: inches for the longest name.

    Returns:
        What the labels are, for the label of the axis.
    """
    places = [layer.index for layer in layers] if places is None else places
    texts = _texts(layers, room)
    step = max(1, math.ceil(len(layers) * _SPACE / length - 1e-6))
    kept = {number for number, layer in enumerate(layers) if layer.name in keep}
    near = {number + offset for number in kept for offset in range(1 - step, step)}
    shown = [n for n in range(len(layers)) if n in kept or (n % step == 0 and n not in near)]
    side = axis.xaxis if which == "x" else axis.yaxis
    side.set_ticks([places[n] for n in shown], [as_written(texts[n]) for n in shown])
    unit = length / (max(places) - min(places) + 1)
    if which == "x" and max(text_width(text, FONT, bold=True) for text in texts) + 0.04 > unit:
        axis.tick_params(axis="x", labelrotation=90)
    ticks = side.get_major_ticks()[: len(shown)]
    for tick, number in zip(ticks, shown, strict=True):
        tick.label1.set_fontweight("bold" if number in kept else "normal")
        tick.label1.set_fontsize(FONT)
    _keep_apart(ticks, [unit * places[n] for n in shown], which)
    return "layer" if names_fit(layers, room) else "layer index"


def _texts(layers: Sequence[Layer], room: float) -> list[str]:
    named = names_fit(layers, room)
    return [layer.name if named else str(layer.index) for layer in layers]


def _keep_apart(ticks: Sequence[Tick], places: Sequence[float], which: Literal["x", "y"]) -> None:
    """Move labels that would cover each other; their ticks stay at the layers."""
    for tick, place, apart in zip(ticks, places, push_apart(places, _CLOSEST), strict=True):
        if abs(apart - place) > 1e-3:
            offset = (apart - place, 0.0) if which == "x" else (0.0, apart - place)
            scale = tick.label1.figure.dpi_scale_trans
            tick.label1.set_transform(tick.label1.get_transform() + ScaledTranslation(*offset, scale))


def push_apart(places: Sequence[float], apart: float) -> list[float]:
    """Ascending places moved by the least squares to be so far apart: isotonic regression, by pooling neighbours.

    Examples:
        >>> push_apart([0.0, 1.0, 9.0], 2.0)
        [-0.5, 1.5, 9.0]
    """
    pools: list[tuple[float, int]] = []  # sum and number of places that moved together, less what keeps them apart
    for number, place in enumerate(places):
        total, count = place - number * apart, 1
        while pools and pools[-1][0] / pools[-1][1] > total / count:
            before = pools.pop()
            total, count = total + before[0], count + before[1]
        pools.append((total, count))
    means = [total / count for total, count in pools for _ in range(count)]
    return [mean + number * apart for number, mean in enumerate(means)]
