"""How long the cells of a grid will take."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch

from layerprobe.data.datasets import open_split
from layerprobe.data.image_dataset import ImageDataset
from layerprobe.distill.engine.loop import TRAINING_STEPS
from layerprobe.distill.run import distill_student
from layerprobe.experiments.grid.grid_file import Grid, PlannedCell
from layerprobe.experiments.grid.launchers import share_of_cores
from layerprobe.records import CellResult, GridResults, Progress, silent
from layerprobe.settings.layer_choice import EVEN, LayerChoice, RuleChoice

BATCHES = 6
"""Training batches that are timed, after one that warms up."""

FORWARD = 1 / 3
"""A forward pass takes about a third of a training step of the same images."""


def estimate_seconds(
    grid: Grid, results: GridResults, progress: Progress = silent, jobs: int = 1
) -> Mapping[str, float]:
    """Seconds that each unfinished cell will take on this machine, by the path of its run.

    What finished runs of the same pair, data, method and choice took, the median of them; where there is none, some
    steps are trained and timed, with the share of the cores that each of several workers has. Ranking a teacher's
    layers comes on top, once for each teacher.

    Args:
        grid: the cells.
        results: their state.
        progress: told before every group of cells that is timed.
        jobs: workers that divide the cores of this machine.

    Raises:
        LayerprobeError: if a cell can't run.
    """
    groups: dict[tuple[str, ...], list[tuple[PlannedCell, CellResult]]] = {}
    for planned, result in zip(grid.cells, results.results, strict=True):
        cell = planned.cell
        groups.setdefault((cell.pair, cell.data, cell.method, cell.choice), []).append((planned, result))
    seconds: dict[str, float] = {}
    for number, members in enumerate(groups.values()):
        progress("methods timed", number, len(groups))
        waiting = [planned for planned, result in members if result.run is None]
        if waiting:
            took = [result.run.total_seconds for _, result in members if result.run]
            with _sharing_cores(jobs):
                each = statistics.median(took) if took else _timed(waiting[0])
            seconds |= {planned.cell.path: each for planned in waiting}
    progress("methods timed", len(groups), len(groups))
    return seconds


@contextmanager
def _sharing_cores(jobs: int) -> Iterator[None]:
    """Compute with as many threads as one of several workers has."""
    threads = torch.get_num_threads()
    if jobs > 1:
        torch.set_num_threads(min(threads, share_of_cores(jobs)))
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _timed(planned: PlannedCell) -> float:
    """Train some steps, and scale up what they took."""
    with tempfile.TemporaryDirectory() as folder:
        whole = planned.config(Path(folder))
        training = whole.training
        step = training.batch_size * training.accumulate
        images = (BATCHES + 1) * step
        train = open_split(whole.data, "train")
        test = open_split(whole.data, "test", beside=train) if train.labels is not None else None
        some = training.replaced(
            epochs=1,
            milestones=None,
            train_samples=_some(train, images),
            test_samples=_some(test, step) if test else None,
            holdout=0.0,
            tensorboard=False,
        )
        moments = [time.perf_counter()]
        distill_student(
            whole.replaced(layers=_without_ranking(whole.layers), training=some, resume=False),
            progress=lambda what, done, total: moments.append(time.perf_counter()) if what == TRAINING_STEPS else None,
        )
        steps = moments[1:] if moments[2:] else moments  # a first step warms up, where there is another
        each = (steps[-1] - steps[0]) / (len(steps) - 1) / step
        seen = training.train_samples or len(train)
        tested = (training.test_samples or len(test) if test else 0) + training.holdout * seen
        return training.epochs * each * (seen * (1 - training.holdout) + FORWARD * tested)


def _some(dataset: ImageDataset, wanted: int) -> int:
    """So many images, or one of every class, or as many as the largest class-balanced sample has."""
    if dataset.labels is None:
        return min(wanted, len(dataset))
    counts = np.bincount(dataset.labels, minlength=len(dataset.classes))
    return min(max(wanted, len(dataset.classes)), int(counts.min()) * len(dataset.classes))


def _without_ranking(choice: LayerChoice | None) -> LayerChoice | None:
    """Layers to time with: as many as a rule would choose."""
    return LayerChoice(rule=RuleChoice(EVEN, choice.rule.count)) if choice and choice.rule else choice
