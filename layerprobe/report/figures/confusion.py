"""Which classes a network takes for which others, as a matrix."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from layerprobe.records import Evaluation
from layerprobe.report.figures.labels import fitted, text_width
from layerprobe.report.figures.looks import MAP
from layerprobe.report.figures.style import COLUMN_WIDTH, Drawing, new_figure
from layerprobe.report.tables.table import data_table

_SMALL = 6.0
"""Points: the names of classes, and the numbers in the cells."""
_NARROWEST, _LOWEST = 0.19, 0.09
"""Inches of a cell that has room for its number, and of a row that has room for its name."""


def confusion_figure(evaluation: Evaluation, width: float = COLUMN_WIDTH) -> Drawing:
    """Share of a class's images (row) that are taken for a class (column), in percent; each row sums to 100."""
    counts = evaluation.confusion.numpy()
    totals = counts.sum(axis=1, keepdims=True)
    shares = 100 * counts / np.maximum(totals, 1)
    names = [fitted(name, 0.25 * width, _SMALL, lines=1) for name in evaluation.classes]
    figure = new_figure(width, 0.86 * width)
    axis = figure.subplots()
    image = axis.imshow(shares, vmin=0, vmax=100, cmap=MAP)
    side = 0.78 * width - max(text_width(name, _SMALL) for name in names)
    if side / len(counts) >= _LOWEST:
        axis.set_xticks(range(len(names)), names, rotation=90, fontsize=_SMALL)
        axis.set_yticks(range(len(names)), names, fontsize=_SMALL)
    if side / len(counts) >= _NARROWEST:
        _write_shares(axis, shares)
    axis.grid(visible=False)
    axis.set_xlabel("class that it is taken for")
    axis.set_ylabel("class of an image")
    figure.colorbar(image, ax=axis, label="share of the class (%)", pad=0.02)
    rows = (
        (name, other, int(counts[i, j]), float(shares[i, j]))
        for i, name in enumerate(evaluation.classes)
        for j, other in enumerate(evaluation.classes)
    )
    caption = (
        f"How often images of a class (row) are taken for each class (column): top-1 {evaluation.top1:.2f} %, "
        f"{evaluation.images:,} images."
    )
    return Drawing(figure, data_table("confusion", ("class", "taken_for", "images", "percent"), rows), caption)


def _write_shares(axis: Axes, shares: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> None:
    for (row, column), share in np.ndenumerate(shares):
        if round(share) > 0:
            colour = "black" if share > 60 else "white"
            axis.text(column, row, f"{share:.0f}", ha="center", va="center", color=colour, fontsize=_SMALL)
