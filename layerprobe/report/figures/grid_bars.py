"""Methods compared: top-1 of the last epoch, or a score of features, as bars, every seed as a dot."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Polygon
from matplotlib.ticker import MaxNLocator

from layerprobe.records import GridResults
from layerprobe.report.figures.labels import fitted
from layerprobe.report.figures.panels import add_legend, panels
from layerprobe.report.figures.style import PAGE_WIDTH, Drawing, is_narrow
from layerprobe.report.grid.groups import Group, column_groups, group_cells, method_labels, reference_labels
from layerprobe.report.grid.measure import compared_by
from layerprobe.report.grid.notes import teacher_accuracy
from layerprobe.report.tables.table import data_table

_FREE: dict[str, Any] = {"facecolor": "#3B8FC4", "edgecolor": "#1D5F8A", "linewidth": 0.6}
_LABELLED: dict[str, Any] = {"facecolor": "#F7DFB0", "hatch": "//////", "edgecolor": "#8A5A00", "linewidth": 0.6}
_SEED: dict[str, Any] = {
    "color": "white", "marker": "o", "markersize": 2.6, "markeredgecolor": "black", "markeredgewidth": 0.6,
    "linestyle": "none",
}  # fmt: skip
_TALL, _GAP, _LINE = 0.13, 0.06, 0.115
"""Inches: height of a bar, space to the next one, a line of a label."""


def grid_bars_figure(results: GridResults, width: float = PAGE_WIDTH) -> Drawing:
    """A panel per pair and data set, a bar per method: the mean over seeds, with one sample standard deviation.

    Where all values are alike the axis doesn't begin at zero; it says so, and its bars are torn.
    """
    columns, measure = column_groups(results), compared_by(results)
    labels = method_labels(results)
    marked = reference_labels(results)
    room = 1.2 if is_narrow(width) else 1.6
    wrapped = [
        fitted(f"{'* ' if label in marked else ''}{label}", room, "ytick.labelsize", lines=4) for label in labels
    ]
    places = _places(wrapped)
    page = panels(len(columns), width, places.height + 0.6)
    for axis, groups in zip(page.axes, columns.values(), strict=True):
        drawn = {group.label: group for group in groups}
        _panel(axis, drawn, dict(zip(labels, places.middles, strict=True)), measure.label)
        _finish(axis, places)
        axis.set_title(fitted(groups[0].column, page.width - room / page.across, "axes.titlesize"), loc="left")
    for axis in page.axes:
        axis.set_yticks(places.middles, wrapped if axis in page.left else [""] * len(wrapped))
    add_legend(page.figure, _entries(results))
    name, label = measure.name, measure.label
    titles = (
        "pair", "data", "method", "choice", name, f"{name}_std", f"{name}_n", "seed", f"{name}_of_seed", "labels",
    )  # fmt: skip
    data = data_table(f"{label} of the last epoch (%)", titles, _data(results))
    return Drawing(
        page.figure, data,
        f"{measure.sentence}: means and sample standard deviations over seeds, every seed as a dot. Hatched bars: "
        "methods by which labels reach the student's backbone.",
    )  # fmt: skip


@dataclass(frozen=True)
class _Places:
    """Where the bars lie, in inches from the top: a label of more lines has more space.

    Attributes:
        middles: of the bars.
        height: of all.
    """

    middles: tuple[float, ...]
    height: float


def _places(wrapped: Sequence[str]) -> _Places:
    heights = [max(_TALL, _LINE * (text.count("\n") + 1)) + _GAP for text in wrapped]
    ends = list(accumulate(heights))
    return _Places(tuple(end - height / 2 for end, height in zip(ends, heights, strict=True)), ends[-1])


def _panel(axis: Axes, groups: Mapping[str, Group], places: Mapping[str, float], measured: str) -> None:
    teacher = teacher_accuracy(list(groups.values()))
    begin = _begin(list(groups.values()), teacher)
    for label, place in places.items():
        group = groups.get(label)
        if group is None or not group.runs:
            axis.text(
                0.02, place, "no run", transform=axis.get_yaxis_transform(), va="center", color="0.45", fontsize=6
            )
        else:
            _bar(axis, group, place, begin)
    if teacher is not None:
        axis.axvline(teacher, color="0.35", linestyle="--", linewidth=0.9, label="teacher")
    axis.set_xlim(left=begin)
    if begin > 0:
        _tear(axis, max(places.values()))
    axis.set_xlabel(f"{measured} (%)" if begin == 0 else f"{measured} (%); the axis begins at {begin:g}")


def _finish(axis: Axes, places: _Places) -> None:
    axis.set_ylim(places.height, 0)
    axis.xaxis.set_major_locator(MaxNLocator(nbins=5, steps=[1, 2, 5, 10]))
    axis.grid(axis="x")
    axis.grid(visible=False, axis="y")
    axis.tick_params(axis="y", length=0)


def _bar(axis: Axes, group: Group, place: float, begin: float) -> None:
    spread = group.spread
    look = _LABELLED if group.labels_reach_backbone else _FREE
    axis.barh(place, spread.mean - begin, _TALL, left=begin, label=group.label, **look)
    seeds = sorted(group.reached)
    offsets = [_TALL * ((number + 1) / (len(seeds) + 1) - 0.5) for number in range(len(seeds))]
    axis.plot([group.reached[seed] for seed in seeds], [place + offset for offset in offsets], zorder=4, **_SEED)
    if not math.isnan(spread.deviation):
        axis.errorbar(spread.mean, place, xerr=spread.deviation, color="black", elinewidth=0.8, capsize=1.8, zorder=3)
    axis.text(
        1.01, place, f"{spread.mean:.2f}", transform=axis.get_yaxis_transform(), va="center", fontsize=6,
    )  # fmt: skip


def _tear(axis: Axes, height: float) -> None:
    """A torn strip down the feet of all bars and through the axis: bars don't begin where the axis does."""
    teeth = max(2, round(height / 0.06))
    up = np.linspace(-0.02, 1, teeth + 1)
    edge = 0.02 + 0.006 * (np.arange(teeth + 1) % 2)
    style: dict[str, Any] = {"transform": axis.transAxes, "clip_on": False, "zorder": 3.5}
    axis.add_patch(
        Polygon(np.r_[np.c_[edge, up], np.c_[edge + 0.014, up][::-1]], facecolor="white", linewidth=0, **style)
    )
    for offset in (0, 0.014):
        axis.plot(edge + offset, up, color="0.25", linewidth=0.6, label="_tear", **style)


def _begin(groups: Sequence[Group], teacher: float | None) -> float:
    """Where the axis begins: at zero, or at a round number below values that are all alike."""
    values = [value for group in groups for value in group.reached.values()]
    values += [group.spread.mean - group.spread.deviation for group in groups if group.spread.count > 1]
    if not values:
        return 0.0
    low, span = min(values), max(values) - min(values)
    if teacher is not None:
        low = min(low, teacher)
    if low < max(values) / 2:
        return 0.0
    step = 5 if span > 4 else 1
    return max(0.0, step * math.floor((low - max(span / 2, step)) / step))


def _entries(results: GridResults) -> dict[str, Artist]:
    reached = {group.labels_reach_backbone for group in group_cells(results) if group.runs}
    entries: dict[str, Artist] = {}
    if False in reached:
        entries["no labels in the backbone"] = Patch(**_FREE)
    if True in reached:
        entries["labels reach the backbone"] = Patch(**_LABELLED)
    entries["one seed"] = Line2D([], [], **_SEED)
    entries["mean ± standard deviation"] = Line2D([], [], color="black", linewidth=0.8, marker="|", markersize=4)
    if any(teacher_accuracy(groups) is not None for groups in column_groups(results).values()):
        entries["teacher"] = Line2D([], [], color="0.35", linestyle="--", linewidth=0.9)
    if reference_labels(results):
        entries["* reference"] = Line2D([], [], linestyle="none")
    return entries


def _data(results: GridResults) -> Iterator[tuple[object, ...]]:
    for group in group_cells(results):
        labels = (group.pair, group.data, group.method, group.choice)
        numbers = group.spread.cells("").values()
        for seed, value in group.reached.items() or [(None, None)]:
            yield *labels, *numbers, seed, value, group.labels_reach_backbone
