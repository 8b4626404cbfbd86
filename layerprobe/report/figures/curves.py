"""Loss terms and accuracy of one run against epochs."""

from __future__ import annotations

import math
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from layerprobe.records import Run
from layerprobe.report.figures.log_axis import label_plainly
from layerprobe.report.figures.looks import look
from layerprobe.report.figures.panels import add_legend, panels
from layerprobe.report.figures.style import PAGE_WIDTH, Drawing
from layerprobe.report.tables.table import data_table


def curves_figure(run: Run, width: float = PAGE_WIDTH) -> Drawing:
    """Loss terms in one panel, top-1 in the other, with the teacher's as a line across.

    Of a student without a classifier the other panel has the loss terms of held-out images, if there are some.
    """
    tested = run.last_accuracy is not None
    held_out = any(one.holdout_losses for one in run.epochs)
    page = panels(1 + (tested or held_out), width, 1.9)
    entries = _losses(page.axes[0], run, "losses", "training loss")
    if tested:
        entries |= _accuracies(page.axes[1], run)
    elif held_out:
        entries |= _losses(page.axes[1], run, "holdout_losses", "loss of held-out images")
    for axis in page.axes:
        axis.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    for axis in page.lowest:
        axis.set_xlabel("epoch")
    add_legend(page.figure, entries)
    names = _terms(run)
    rows = (
        (
            one.epoch,
            *(one.losses.get(name) for name in names),
            one.test_accuracy,
            one.holdout_accuracy,
            *((one.holdout_losses.get(name) for name in names) if held_out else ()),
        )
        for one in run.epochs
    )
    columns = (
        "epoch",
        *names,
        "test_accuracy",
        "holdout_accuracy",
        *(f"holdout_{name}" for name in (names if held_out else ())),
    )
    data = data_table(f"{run.label}: losses and accuracies", columns, rows)
    what = "Training losses and top-1" if tested else "Losses" if held_out else "Training losses"
    return Drawing(page.figure, data, f"{what} of {run.label} against epochs.")


def _terms(run: Run) -> tuple[str, ...]:
    """Every loss term of a run; an epoch need not have them all."""
    return tuple(dict.fromkeys(name for metrics in run.epochs for name in metrics.losses))


def _losses(axis: Axes, run: Run, of: str, title: str) -> dict[str, Any]:
    """The terms in one field of the epochs' metrics."""
    epochs = [metrics.epoch for metrics in run.epochs]
    entries: dict[str, Any] = {}
    for number, name in enumerate(_terms(run)):
        values = [getattr(metrics, of).get(name, math.nan) for metrics in run.epochs]
        shape = look(number)
        (entries[f"loss: {name.replace('_', ' ')}"],) = axis.plot(
            epochs, values, color=shape.colour, linestyle=shape.line, marker=shape.marker, markerfacecolor=shape.face
        )
    if all(value > 0 for metrics in run.epochs for value in getattr(metrics, of).values()):
        axis.set_yscale("log")
        label_plainly(axis.yaxis)
    axis.set_ylabel(title)
    return entries


def _accuracies(axis: Axes, run: Run) -> dict[str, Any]:
    epochs = [metrics.epoch for metrics in run.epochs]
    held_out = [metrics.holdout_accuracy for metrics in run.epochs if metrics.holdout_accuracy is not None]
    curves = {"test images": [metrics.test_accuracy for metrics in run.epochs if metrics.test_accuracy is not None]}
    if len(held_out) == len(epochs):
        curves["held-out training images"] = held_out
    entries: dict[str, Any] = {}
    for number, (name, values) in enumerate(curves.items()):
        shape = look(6 - number)
        (entries[f"top-1: {name}"],) = axis.plot(
            epochs,
            values,
            color=shape.colour,
            linestyle="--" if number else "-",
            marker=shape.marker,
            markerfacecolor=shape.face,
        )
    if run.teacher_accuracy is not None:
        entries["top-1: teacher"] = axis.axhline(run.teacher_accuracy, color="0.35", linestyle=":")
    axis.set_ylabel("top-1 (%)")
    return entries
