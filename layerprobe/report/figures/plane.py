"""The images of the sample in the plane of most variance of each chosen layer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeAlias

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from layerprobe.records import LayerGeometry, Ranking
from layerprobe.report.figures.labels import fitted
from layerprobe.report.figures.looks import CLASS_COLOURS, MARKERS
from layerprobe.report.figures.panels import add_legend, panels
from layerprobe.report.figures.style import PAGE_WIDTH, Drawing, is_narrow
from layerprobe.report.tables.ranking import describe_sample, network_name
from layerprobe.report.tables.table import data_table

Labels: TypeAlias = np.ndarray[tuple[int], np.dtype[np.int64]]

MOST_NAMED = 14
"""Classes that a legend can tell apart: each has a colour and a marker of its own."""
_MOST_POINTS = 3000
"""Points that a panel shows; the data file has all of them."""
_ROUNDS = 10
"""Each class is drawn in so many parts, in turn, so that no class covers the others."""


def plane_figure(ranking: Ranking, width: float = PAGE_WIDTH) -> Drawing:
    """A panel per chosen layer: images along the first two principal components, one colour and marker per class."""
    chosen, labels = ranking.chosen, _labels(ranking)
    narrow = is_narrow(width)
    page = panels(len(chosen), width, width / min(len(chosen), 2 if narrow else 4), across=4, narrow_across=2)
    for axis, one in zip(page.axes, chosen, strict=True):
        _scatter(axis, one, labels)
        axis.set_title(fitted(one.layer.name, page.width, "axes.titlesize"), loc="left")
    classes = np.unique(labels)
    few = len(classes) <= MOST_NAMED
    if few and ranking.classes:
        entries: dict[str, Any] = {}
        for number, label in enumerate(classes):
            name = ranking.classes[label]
            name = f"{name} ({label})" if name in entries else name
            entries[name] = Line2D([], [], linestyle="none", **_look(number, len(classes)) | {"markersize": 4})
        add_legend(page.figure, entries)
    columns = ("layer", "row", "class", "component_1", "component_2")
    colours = "" if few else f" Colours run through {len(classes)} classes."
    caption = (
        f"Images in the plane of the first two principal components of the chosen layers of {network_name(ranking)}, "
        f"with their shares of the variance.{colours} {describe_sample(ranking)}."
    )
    return Drawing(page.figure, data_table("principal planes", columns, _data(ranking)), caption)


def _labels(ranking: Ranking) -> Labels:
    """The class of every image; without labels all images are of one."""
    if ranking.labels is None:
        return np.zeros(len(ranking.chosen[0].arrays["plane"]), dtype=np.int64)
    found: Labels = ranking.labels.numpy()
    return found


def _scatter(axis: Axes, one: LayerGeometry, labels: Labels) -> None:
    points = one.arrays["plane"].numpy()
    classes = np.unique(labels)
    step = -(-len(points) // _MOST_POINTS)
    place = np.arange(len(points)) // step % _ROUNDS
    shown = np.arange(len(points)) % step == 0
    for turn in range(_ROUNDS):
        for number, label in enumerate(classes):
            rows = points[(labels == label) & shown & (place == turn)]
            axis.plot(*rows.T, linestyle="none", alpha=0.6, rasterized=True, **_look(number, len(classes)))
    first, second = (100 * one.arrays["plane_shares"]).tolist()
    axis.set_xlabel(f"PC 1 ({first:.0f} %)")
    axis.set_ylabel(f"PC 2 ({second:.0f} %)")
    axis.set_xticks([])
    axis.set_yticks([])
    axis.set_aspect("equal", adjustable="datalim")


def _look(number: int, classes: int) -> dict[str, Any]:
    """Of a few classes each has its own pair of colour and marker; of many the colours run through a map."""
    if classes > MOST_NAMED:
        colour = matplotlib.colormaps["viridis"](0.9 * number / (classes - 1))  # its end is pale
        return {"color": colour, "marker": "o", "markersize": 1.6, "markeredgewidth": 0}
    marker = MARKERS[(number + number // len(CLASS_COLOURS)) % len(MARKERS)]
    return {
        "color": CLASS_COLOURS[number % len(CLASS_COLOURS)],
        "marker": marker,
        "markersize": 2.2,
        "markeredgewidth": 0,
    }


def _data(ranking: Ranking) -> Iterator[tuple[object, ...]]:
    labels = _labels(ranking).tolist()
    for one in ranking.chosen:
        for row, (label, (x, y)) in enumerate(zip(labels, one.arrays["plane"].tolist(), strict=True)):
            yield one.layer.name, row, ranking.classes[label] if ranking.classes else "", x, y
