"""Methods compared: accuracy against epochs, mean and spread over seeds."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from layerprobe.records import GridResults
from layerprobe.report.figures.labels import fitted
from layerprobe.report.figures.looks import Look, method_looks
from layerprobe.report.figures.panels import add_legend, panels
from layerprobe.report.figures.style import PAGE_WIDTH, Drawing, is_narrow
from layerprobe.report.grid.groups import Group, column_groups, group_cells, method_labels
from layerprobe.report.grid.notes import teacher_accuracy
from layerprobe.report.grid.spread import spread
from layerprobe.report.tables.table import data_table

MARKS = 6
"""Markers on a curve, about."""
MANY = 5
"""Curves in a panel above which they are thin, and have bars at their markers: bands would cover each other."""


def learning_curves_figure(results: GridResults, width: float = PAGE_WIDTH) -> Drawing:
    """A panel per pair and data set: mean top-1 over seeds, with a band, or bars, of one sample standard deviation.

    Where seeds have different numbers of epochs, an epoch's mean is that of the runs that came to it.
    """
    columns = {
        column: groups for column, groups in column_groups(results).items() if any(group.runs for group in groups)
    }
    looks = method_looks(method_labels(results))
    page = panels(len(columns), width, 2.1 if is_narrow(width) else 2.5)
    entries: dict[str, Artist] = {}
    for axis, (column, groups) in zip(page.axes, columns.items(), strict=True):
        drawn = [group for group in groups if group.runs]
        for number, group in enumerate(drawn):
            entries.setdefault(group.label, _curve(axis, group, looks[group.label], number, len(drawn) > MANY))
        teacher = teacher_accuracy(groups)
        if teacher is not None:
            entries["teacher"] = axis.axhline(teacher, color="0.35", linestyle=":", label="teacher")
        axis.set_title(fitted(column, page.width, "axes.titlesize"), loc="left")
        axis.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    for axis in page.left:
        axis.set_ylabel("top-1 on the test images (%)")
    for axis in page.lowest:
        axis.set_xlabel("epoch")
    add_legend(page.figure, entries)
    titles = ("pair", "data", "method", "choice", "seed", "epoch", "top1")
    data = data_table("top-1 on the test images (%)", titles, _data(results))
    return Drawing(
        page.figure, data,
        "Top-1 on the test images against epochs: means over seeds, with one sample standard deviation as a band or, "
        "where there are many curves, as bars.",
    )  # fmt: skip


def _curve(axis: Axes, group: Group, shape: Look, number: int, many: bool) -> Artist:
    """A group's mean and deviation; its markers stand off those of the group before."""
    reached: dict[int, list[float]] = {}
    for run in group.runs.values():
        for metrics in run.epochs:
            if metrics.test_accuracy is not None:
                reached.setdefault(metrics.epoch, []).append(metrics.test_accuracy)
    epochs = sorted(reached)
    spreads = [spread(reached[epoch]) for epoch in epochs]
    means, deviations = (np.array([getattr(one, part) for one in spreads]) for part in ("mean", "deviation"))
    step = max(1, round(len(epochs) / MARKS))
    marked = slice(number % step, None, step)
    (line,) = axis.plot(
        epochs, means, color=shape.colour, linestyle=shape.line, marker=shape.marker, markerfacecolor=shape.face,
        markevery=marked, linewidth=0.9 if many else 1.2, label=group.label,
    )  # fmt: skip
    if many and not np.isnan(deviations[marked]).all():
        axis.errorbar(
            epochs[marked], means[marked], deviations[marked], color=shape.colour, linestyle="none", elinewidth=0.7
        )
    elif not np.isnan(deviations).all():
        axis.fill_between(epochs, means - deviations, means + deviations, color=shape.colour, alpha=0.2, linewidth=0)
    return line


def _data(results: GridResults) -> Iterator[tuple[object, ...]]:
    for group in group_cells(results):
        for seed, run in group.runs.items():
            for metrics in run.epochs:
                yield group.pair, group.data, group.method, group.choice, seed, metrics.epoch, metrics.test_accuracy
