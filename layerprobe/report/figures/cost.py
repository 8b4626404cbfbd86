"""What accuracy costs: top-1, or a score of features, against the seconds of training."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from matplotlib.artist import Artist
from matplotlib.axes import Axes

from layerprobe.records import GridResults
from layerprobe.report.figures.labels import fitted
from layerprobe.report.figures.log_axis import label_plainly
from layerprobe.report.figures.looks import Look, method_looks
from layerprobe.report.figures.panels import add_legend, panels
from layerprobe.report.figures.style import PAGE_WIDTH, Drawing, is_narrow
from layerprobe.report.grid.groups import Group, column_groups, group_cells, method_labels
from layerprobe.report.grid.measure import compared_by
from layerprobe.report.tables.table import data_table

WIDE = 8
"""Largest seconds / smallest ones from which the axis is logarithmic."""


def cost_figure(results: GridResults, width: float = PAGE_WIDTH) -> Drawing:
    """A panel per pair and data set, a point per method: means over seeds, with one sample standard deviation."""
    columns = {
        column: done
        for column, groups in column_groups(results).items()
        if (done := [group for group in groups if group.runs])
    }
    measure = compared_by(results)
    name, looks = measure.name, method_looks(method_labels(results))
    page = panels(len(columns), width, 1.9 if is_narrow(width) else 2.2)
    entries: dict[str, Artist] = {}
    for axis, (column, groups) in zip(page.axes, columns.items(), strict=True):
        for group in groups:
            entries.setdefault(group.label, _point(axis, group, looks[group.label]))
        _scale(axis, groups)
        axis.set_title(fitted(column, page.width, "axes.titlesize"), loc="left")
        axis.grid(axis="x")
    for axis in page.left:
        axis.set_ylabel(f"{measure.label} of the last epoch (%)")
    for axis in page.lowest:
        axis.set_xlabel("seconds of training")
    add_legend(page.figure, entries)
    titles = (
        "pair", "data", "method", "choice", "seconds", "seconds_std", "seconds_n", name, f"{name}_std", f"{name}_n",
    )  # fmt: skip
    data = data_table(f"{measure.label} against seconds", titles, _data(results))
    return Drawing(
        page.figure, data,
        f"{measure.sentence} against the seconds that a run took: means over seeds, bars of one sample standard "
        "deviation.",
    )  # fmt: skip


def _point(axis: Axes, group: Group, shape: Look) -> Artist:
    seconds, reached = group.seconds, group.spread
    across, up = (0.0 if math.isnan(one.deviation) else one.deviation for one in (seconds, reached))
    drawn = axis.errorbar(
        seconds.mean, reached.mean, xerr=across, yerr=up, color=shape.colour, marker=shape.marker, linestyle="none",
        markersize=5, markerfacecolor=shape.face, markeredgewidth=0.8, elinewidth=0.8, label=group.label,
    )  # fmt: skip
    return drawn.lines[0]


def _scale(axis: Axes, groups: Sequence[Group]) -> None:
    means = [group.seconds.mean for group in groups]
    if min(means) > 0 and max(means) > WIDE * min(means):
        axis.set_xscale("log")
        label_plainly(axis.xaxis)
    elif axis.get_xlim()[0] < 0:
        axis.set_xlim(left=0)  # wide bars reach below what time can


def _data(results: GridResults) -> Iterator[tuple[object, ...]]:
    for group in group_cells(results):
        if group.runs:
            labels = (group.pair, group.data, group.method, group.choice)
            yield *labels, *group.seconds.cells("").values(), *group.spread.cells("").values()
