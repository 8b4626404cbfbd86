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
        run: the finished run; None in any other state.
        reason: why it failed, in one line.
    """

    cell: Cell
    state: str
    run: Run | None = None
    reason: str = ""


@dataclass(frozen=True)
class GridResults:
    """A grid at some moment, finished or not.

    Attributes:
        title: what the grid is about.
        reference: label of the method, with its choice where it has several (see ``Cell``), that others are compared
            with; empty: none.
        results: of every cell, in the order of the grid file.
        provenance: versions, the grid file's text and hash, when it was read.
    """

    title: str
    reference: str
    results: tuple[CellResult, ...]
    provenance: Mapping[str, Any] = field(default_factory=dict)
