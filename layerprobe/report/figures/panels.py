"""Panels of a figure: as many as there are things to show, in rows that fit the width, with one legend below them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from layerprobe.report.figures.style import as_written, is_narrow, new_figure

_HANDLE, _LETTER, _LINE = 0.5, 0.052, 0.14
"""Inches of a legend: the sample of a line with the space around it, a letter, and a line of text."""


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

    def add_legend(self, entries: Mapping[str, Artist]) -> None:
        """One legend for all panels, below them; the figure grows by its height."""
        width, height = self.figure.get_size_inches()
        columns = _legend_columns(list(entries), width)
        self.figure.set_size_inches(width, height + _LINE * math.ceil(len(entries) / columns) + 0.1)
        self.figure.legend(
            list(entries.values()), list(map(as_written, entries)), loc="outside lower center", ncols=columns,
            handlelength=2.4, columnspacing=1.2,
        )  # fmt: skip


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


def _legend_columns(labels: Sequence[str], width: float) -> int:
    """How many columns of a legend with these labels fit into a width in inches, as even as can be."""
    longest = max(map(len, labels))
    most = max(1, min(len(labels), math.floor(width / (_HANDLE + _LETTER * longest))))
    return math.ceil(len(labels) / math.ceil(len(labels) / most))
