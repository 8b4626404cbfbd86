"""Panels of a figure: as many as there are things to show, in rows that fit the width, with one legend below them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from layerprobe.report.figures.labels import FontSize, fitted, text_width
from layerprobe.report.figures.style import is_narrow, new_figure

_HANDLE, _LINE, _EDGE = 0.42, 0.15, 0.1
"""Inches of a legend: the sample of a line with the space around it, a line of text, and the space around all."""
_LOWER = 0.7
"""How much lower a legend must become for its labels to be broken."""


@dataclass(frozen=True, eq=False)
class Panels:
    """A figure and the panels in it.

    Attributes:
        figure: the figure.
        axes: one per thing to show, row by row.
        across: panels in a full row.
    """

    figure: Figure
    axes: Sequence[Axes]
    across: int

    @property
    def left(self) -> Sequence[Axes]:
        """The first panel of every row."""
        return self.axes[:: self.across]

    @property
    def lowest(self) -> Sequence[Axes]:
        """The panels with none below them."""
        return self.axes[-self.across :]

    @property
    def width(self) -> float:
        """Inches for the text of a panel, about."""
        return float(self.figure.get_size_inches()[0]) / self.across - 0.45


def panels(count: int, width: float, height: float, across: int = 2, narrow_across: int = 1) -> Panels:
    """An empty figure with so many panels.

    Args:
        count: how many panels.
        width: of the figure in inches.
        height: of every row in inches.
        across: most panels in a row of a page.
        narrow_across: of a column.
    """
    columns = min(count, narrow_across if is_narrow(width) else across)
    rows = math.ceil(count / columns)
    figure = new_figure(width, rows * height)
    axes = [figure.add_subplot(rows, columns, number + 1) for number in range(count)]
    return Panels(figure, axes, columns)


def add_legend(figure: Figure, entries: Mapping[str, Any]) -> None:
    """One legend for all panels, below them and over no data; the figure grows by its height.

    Args:
        figure: the figure.
        entries: what stands for each label: an artist, or a container of some.
    """
    width, height = figure.get_size_inches()
    size: FontSize = "legend.fontsize"
    layouts = []
    for share in (1, 2):  # labels as wide as the figure, or in two columns where that is much lower
        texts = [fitted(text, (width - 2 * _EDGE) / share - _HANDLE, size) for text in entries]
        columns = _legend_columns([max(text_width(line, size) for line in text.split("\n")) for text in texts], width)
        lines = max(sum(text.count("\n") + 1 for text in column) for column in _columns(texts, columns))
        layouts.append((lines, columns, texts))
    lines, columns, texts = layouts[layouts[1][0] <= _LOWER * layouts[0][0]]
    figure.set_size_inches(width, height + _LINE * lines + _EDGE)
    figure.legend(
        list(entries.values()), texts, loc="outside lower center", ncols=columns, handlelength=2.4, columnspacing=1.2,
        borderpad=0.2,
    )  # fmt: skip


def _legend_columns(widths: Sequence[float], width: float) -> int:
    """How many columns of a legend with labels of these widths fit into a width, all in inches, as even as can be."""
    for columns in range(len(widths), 1, -1):
        if sum(_HANDLE + max(column) for column in _columns(widths, columns)) <= width - 2 * _EDGE:
            return math.ceil(len(widths) / math.ceil(len(widths) / columns))
    return 1


def _columns(entries: Sequence[Any], count: int) -> list[list[Any]]:
    """The entries of every column, as matplotlib divides them."""
    return [[entries[place] for place in part] for part in np.array_split(np.arange(len(entries)), count)]
