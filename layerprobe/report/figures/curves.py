"""Loss terms and accuracy of one run against epochs."""

from __future__ import annotations

import math

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from layerprobe.records import Run
from layerprobe.report.figures.log_axis import label_plainly
from layerprobe.report.figures.style import (
    COLOURS,
    LINES,
    MARKERS,
    PAGE_WIDTH,
    Drawing,
    as_written,
    is_narrow,
    new_figure,
)
from layerprobe.report.tables.table import data_table


def curves_figure(run: Run, width: float = PAGE_WIDTH) -> Drawing:
    """Loss terms on the left, or above, and top-1 beside or below, with the teacher's as a line across."""
    narrow = is_narrow(width)
    figure = new_figure(width, 4.2 if narrow else 2.5)
    losses, accuracies = figure.subplots(2, 1) if narrow else figure.subplots(1, 2)
    _losses(losses, run)
    _accuracies(accuracies, run)
    for axis in (losses, accuracies):
        axis.set_xlabel("epoch")
        axis.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    names = _terms(run)
    rows = (
        (one.epoch, *(one.losses.get(name) for name in names), one.test_accuracy, one.holdout_accuracy)
        for one in run.epochs
    )
    columns = ("epoch", *names, "test_accuracy", "holdout_accuracy")
    return Drawing(figure, data_table(f"{run.label}: losses and accuracies", columns, rows))


def _terms(run: Run) -> tuple[str, ...]:
    """Every loss term of a run; an epoch need not have them all."""
    return tuple(dict.fromkeys(name for metrics in run.epochs for name in metrics.losses))


def _losses(axis: Axes, run: Run) -> None:
    epochs = [metrics.epoch for metrics in run.epochs]
    for number, name in enumerate(_terms(run)):
        values = [metrics.losses.get(name, math.nan) for metrics in run.epochs]
        axis.plot(
            epochs, values, color=COLOURS[number], linestyle=LINES[number], marker=MARKERS[number], label=_words(name)
        )
    if all(value > 0 for metrics in run.epochs for value in metrics.losses.values()):
        axis.set_yscale("log")
        label_plainly(axis.yaxis)
    axis.set_title(as_written(f"{run.label}: training loss"), loc="left")
    axis.legend()


def _accuracies(axis: Axes, run: Run) -> None:
    epochs = [metrics.epoch for metrics in run.epochs]
    axis.plot(epochs, [metrics.test_accuracy for metrics in run.epochs], color=COLOURS[0], marker="o", label="test")
    held_out = [metrics.holdout_accuracy for metrics in run.epochs if metrics.holdout_accuracy is not None]
    if len(held_out) == len(epochs):
        axis.plot(epochs, held_out, color=COLOURS[1], marker="s", linestyle="--", label="held-out training images")
    if run.teacher_accuracy is not None:
        axis.axhline(run.teacher_accuracy, color="0.35", linestyle=":", label="teacher, test")
    axis.set_title("top-1 (%)", loc="left")
    axis.legend()


def _words(name: str) -> str:
    return as_written(name.replace("_", " "))
