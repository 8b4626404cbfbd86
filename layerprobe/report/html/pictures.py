"""Figures drawn for a page: once for a wide screen and once for a narrow one, with the places that belong to rows."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from matplotlib.axes import Axes

from layerprobe.report.figures.style import COLUMN_WIDTH, PAGE_WIDTH, Drawing, paper_style
from layerprobe.report.tables.table import Table

SCREENS = (PAGE_WIDTH, COLUMN_WIDTH)
"""Inches of a figure on a wide screen, and on a narrow one."""
_NEAR = 6.0
"""Points around a point of a figure that belong to it."""
_POINTS = 72
"""Points in an inch."""


@dataclass(frozen=True)
class Place:
    """A part of a figure that shows what a row of a table holds; lengths are shares of the figure's.

    Attributes:
        table: with the row.
        row: its number.
        label: what is there, for people.
        left: from the left.
        top: from the top.
        width: to the right of that.
        height: down from there.
    """

    table: Table
    row: int
    label: str
    left: float
    top: float
    width: float
    height: float


@dataclass(frozen=True)
class Picture:
    """A figure as a page shows it.

    Attributes:
        svg: text of its SVG file.
        places: that belong to rows of the page's tables.
    """

    svg: str
    places: tuple[Place, ...] = ()


FindPlaces: TypeAlias = Callable[[Drawing], Iterator[Place]]
"""Finds the places of a figure that has been drawn."""


def draw_pictures(
    draw: Callable[[float], Drawing],
    find_places: FindPlaces | None = None,
    sheet: Path | None = None,
    widths: Sequence[float] = SCREENS,
) -> tuple[Picture, ...]:
    """A figure for a wide screen, and for a narrow one, or one for both.

    Args:
        draw: makes it, of a width in inches.
        find_places: of it; None: it has none.
        sheet: a matplotlib style sheet that is laid over the house style.
        widths: in inches.
    """
    pictures = []
    for width in widths:
        with paper_style(sheet):
            drawing = draw(width)
            content = io.BytesIO()
            drawing.figure.savefig(content, format="svg", metadata={"Date": None})
            places = tuple(find_places(drawing)) if find_places else ()
        pictures.append(Picture(content.getvalue().decode(), places))
    return tuple(pictures)


def columns_of(table: Table, rows: Mapping[int, int], title: str) -> FindPlaces:
    """The places of figures whose panels share their horizontal axis: a column of every panel for each row.

    Args:
        table: with the rows.
        rows: numbers of rows by what stands on the axis.
        title: name of the column that says what a row is of.
    """

    def find(drawing: Drawing) -> Iterator[Place]:
        for axis in drawing.figure.axes:
            if not axis.get_visible() or axis.get_label() == "<colorbar>":
                continue
            box = axis.get_position()
            for value, row in rows.items():
                (left, _), (right, _) = (_share(axis, value + side, 0) for side in (-0.5, 0.5))
                left, right = max(left, box.x0), min(right, box.x1)
                label = str(table.rows[row][title])
                if left < right:
                    yield Place(table, row, label, left, 1 - box.y1, right - left, box.height)

    return find


def point_of(axis: Axes, x: float, y: float, table: Table, row: int, label: str) -> Place:
    """The place around a point of a panel."""
    (across, up), (width, height) = _share(axis, x, y), axis.figure.get_size_inches() * _POINTS  # type: ignore[union-attr]
    beside, above = _NEAR / width, _NEAR / height
    return Place(table, row, label, across - beside, 1 - up - above, 2 * beside, 2 * above)


def _share(axis: Axes, x: float, y: float) -> tuple[float, float]:
    """Where a point lies, in shares of the figure from its lower left corner."""
    inside = axis.transData + axis.figure.transFigure.inverted()
    across, up = inside.transform((x, y))
    return float(across), float(up)
