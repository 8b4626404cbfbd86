"""Which classes a network takes for which others, as a matrix."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from layerprobe.records import Evaluation
from layerprobe.report.figures.style import COLUMN_WIDTH, MAP, Drawing, as_written, new_figure
from layerprobe.report.tables.table import data_table

_NAMED = 30
"""Up to so many classes are named, and up to half as many have their numbers in the cells."""


def confusion_figure(evaluation: Evaluation, width: float = COLUMN_WIDTH) -> Drawing:
    """Share of a class's images (row) that are taken for a class (column), in percent; each row sums to 100."""
    counts = evaluation.confusion.numpy()
    totals = counts.sum(axis=1, keepdims=True)
    shares = 100 * counts / np.maximum(totals, 1)
    figure = new_figure(width, 0.86 * width)
    axis = figure.subplots()
    image = axis.imshow(shares, vmin=0, vmax=100, cmap=MAP)
    _name_classes(axis, evaluation.classes)
    if len(counts) <= _NAMED // 2:
        _write_shares(axis, shares)
    axis.grid(visible=False)
    axis.set_xlabel("taken for")
    axis.set_ylabel("class")
    axis.set_title(f"top-1 {evaluation.top1:.2f} %, {evaluation.images:,} images", loc="left")
    figure.colorbar(image, ax=axis, label="share of the class (%)", pad=0.02)
    rows = (
        (name, other, int(counts[i, j]), float(shares[i, j]))
        for i, name in enumerate(evaluation.classes)
        for j, other in enumerate(evaluation.classes)
    )
    return Drawing(figure, data_table("confusion", ("class", "taken_for", "images", "percent"), rows))


def _name_classes(axis: Axes, classes: tuple[str, ...]) -> None:
    if len(classes) > _NAMED:
        return
    places, names = range(len(classes)), [as_written(name) for name in classes]
    axis.set_xticks(places, names, rotation=90)
    axis.set_yticks(places, names)


def _write_shares(axis: Axes, shares: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> None:
    for (row, column), share in np.ndenumerate(shares):
        if round(share) > 0:
            colour = "black" if share > 60 else "white"
            axis.text(column, row, f"{share:.0f}", ha="center", va="center", color=colour, fontsize=5)
