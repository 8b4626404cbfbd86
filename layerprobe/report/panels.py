"""Panels of a figure: as many as there are things to show, in rows that fit the width."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from layerprobe.report.style import is_narrow, new_figure


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


def panels(
    count: int, width: float, height: float, across: int = 2, narrow_across: int = 1, extra: float = 0.0
) -> Panels:
    """An empty figure with so many panels.

    Args:
        count: how many panels.
        width: of the figure in inches.
        height: of every row in inches.
        across: most panels in a row of a page.
        narrow_across: of a column.
        extra: inches for what lies outside the panels, like a legend.
    """
    columns = min(count, narrow_across if is_narrow(width) else across)
    rows = math.ceil(count / columns)
    figure = new_figure(width, rows * height + extra)
    axes = [figure.add_subplot(rows, columns, number + 1) for number in range(count)]
    return Panels(figure, axes, columns)


def legend_columns(labels: Sequence[str], width: float, handle: float = 0.45, letter: float = 0.055) -> int:
    """How many columns of a legend with these labels fit below panels of this width, in inches."""
    longest = max(map(len, labels), default=0)
    return max(1, min(len(labels), math.floor(width / (handle + letter * longest))))
