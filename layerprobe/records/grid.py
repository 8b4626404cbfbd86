"""The runs of a grid."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from layerprobe.records.runs import Run


@dataclass(frozen=True)
class Cell:
    """One run of a grid: a point in pairs x data sets x methods x layer choices x seeds.

    Attributes:
        pair: label of teacher and student, e.g. ``ResNet-56 to ResNet-20``.
        data: label of the data set.
        method: label of the method, with the form that sets it apart, e.g. ``feature-only, huber``.
        choice: how the teacher's layers were chosen, e.g. ``quality:4``; empty: the method's own way.
        seed: of the run.
        path: the run folder, relative to the grid's, with forward slashes.
        labels_reach_backbone: whether labels have any influence on the student's backbone; None: the grid doesn't say.
        setting: in which the method is used, e.g. ``paper``; empty: it is the same in all, or the grid doesn't say.
    """

    pair: str
    data: str
    method: str
    choice: str
    seed: int
    path: str
    labels_reach_backbone: bool | None = None
    setting: str = ""

    @property
    def label(self) -> str:
        """The method with its choice of layers, e.g. ``feature-only (quality:4)``."""
        return f"{self.method} ({self.choice})" if self.choice else self.method


@dataclass(frozen=True)
class CellResult:
    """What became of a cell.

    Attributes:
        cell: which.
        state: ``done``, ``running``, ``failed`` or ``waiting``.
        run: its run, where that is finished; the features of its student may still be to be evaluated.
        reason: why it failed, in one line.
        scores: of the ways of evaluation that the grid asks for, in percent, by the way's name.
    """

    cell: Cell
    state: str
    run: Run | None = None
    reason: str = ""
    scores: Mapping[str, float] = field(default_factory=dict)

    def value(self, way: str) -> float | None:
        """What the cell is compared by, in percent; None where there is no such number.

        Args:
            way: of evaluation; empty: the student's classifier, after the last epoch.
        """
        return self.scores.get(way) if way else self.run.last_accuracy if self.run else None


@dataclass(frozen=True)
class GridResults:
    """A grid at some moment, finished or not.

    Attributes:
        title: what the grid is about.
        reference: label of the method, with its choice where it has several (see ``Cell``), that others are compared
            with; empty: none.
        results: of every cell, in the order of the grid file.
        ways: of evaluation that the grid asks for; cells are compared by the first, and without any by the students'
            classifiers.
        provenance: versions, the grid file's text and hash, when it was read.
    """

    title: str
    reference: str
    results: tuple[CellResult, ...]
    provenance: Mapping[str, Any] = field(default_factory=dict)
    ways: tuple[str, ...] = ()

    @property
    def way(self) -> str:
        """The way of evaluation that cells are compared by; empty: the students' classifiers."""
        return self.ways[0] if self.ways else ""
