"""Methods compared: accuracy against epochs, mean and spread over seeds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from matplotlib.ticker import MaxNLocator

from layerprobe.report.style import COLOURS, LINES, MARKERS, Drawing, new_figure
from layerprobe.report.tables import data_table
from layerprobe.types import Run


def comparison_figure(runs: Sequence[Run]) -> Drawing:
    """Mean top-1 over seeds per method, with a band of one sample standard deviation to either side.

    Runs of one method must have the same number of epochs.
    """
    figure = new_figure(4.4, 2.9)
    axis = figure.subplots()
    for number, method in enumerate(dict.fromkeys(run.method for run in runs)):
        seeds = [run for run in runs if run.method == method]
        accuracies = np.array([[metrics.test_accuracy for metrics in run.epochs] for run in seeds])
        epochs = [metrics.epoch for metrics in seeds[0].epochs]
        mean = accuracies.mean(axis=0)
        colour = COLOURS[number % len(COLOURS)]
        if len(seeds) > 1:
            spread = accuracies.std(axis=0, ddof=1)
            axis.fill_between(epochs, mean - spread, mean + spread, color=colour, alpha=0.2, linewidth=0)
        line, marker = LINES[number % len(LINES)], MARKERS[number % len(MARKERS)]
        plural = "seeds" if len(seeds) > 1 else "seed"
        label = f"{method} ({len(seeds)} {plural})"
        axis.plot(epochs, mean, color=colour, linestyle=line, marker=marker, label=label)
    teacher = next((run.teacher_accuracy for run in runs if run.teacher_accuracy is not None), None)
    if teacher is not None:
        axis.axhline(teacher, color="0.35", linestyle=":", label="teacher")
    axis.set_xlabel("epoch")
    axis.set_title("top-1 on the test images (%), mean ± std", loc="left")
    axis.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axis.legend(loc="lower right")
    columns = ("method", "run", "epoch", "accuracy")
    return Drawing(figure, data_table("top-1 on the test images (%)", columns, _data(runs)))


def _data(runs: Sequence[Run]) -> Iterator[tuple[object, ...]]:
    for run in runs:
        for metrics in run.epochs:
            yield run.method, run.folder.name, metrics.epoch, metrics.test_accuracy
