"""The cells of a grid that differ in nothing but the seed, and the columns that they stand in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from layerprobe.records import CellResult, GridResults, Run
from layerprobe.report.grid.spread import Spread, spread


@dataclass(frozen=True)
class Group:
    """Cells that differ in their seed alone.

    Attributes:
        pair: label of teacher and student.
        data: label of the data set.
        method: label of the method.
        choice: of the teacher's layers; empty: the method's own way.
        results: one per seed, finished or not.
        way: of evaluation that runs are compared by; empty: the students' classifiers.
    """

    pair: str
    data: str
    method: str
    choice: str
    results: tuple[CellResult, ...]
    way: str = ""

    @property
    def label(self) -> str:
        """The method with its choice of layers."""
        return self.results[0].cell.label

    @property
    def column(self) -> str:
        """The pair with its data set."""
        return ", ".join(filter(None, (self.pair, self.data)))

    @cached_property
    def runs(self) -> Mapping[int, Run]:
        """The finished runs, by seed."""
        return {result.cell.seed: result.run for result in self.results if result.run is not None}

    @cached_property
    def reached(self) -> Mapping[int, float]:
        """What runs are compared by, in percent, by seed: top-1 of the last epoch, or the score of the features."""
        return self.reached_by(self.way)

    def reached_by(self, way: str) -> Mapping[int, float]:
        """The same of any way of evaluation, by seed; without the runs that have none."""
        found = ((result.cell.seed, result.value(way)) for result in self.results)
        return {seed: value for seed, value in found if value is not None}

    @property
    def spread(self) -> Spread:
        """Of what runs are compared by, over seeds."""
        return spread(self.reached.values())

    @property
    def loss(self) -> Spread:
        """Of the last epoch on the training images, over seeds of students without a classifier."""
        return spread(run.epochs[-1].loss for run in self.runs.values() if run.last_accuracy is None)

    @property
    def holdout_loss(self) -> Spread:
        """The same on the held-out images."""
        losses = [run.epochs[-1].holdout_loss for run in self.runs.values()]
        return spread(loss for loss in losses if loss is not None)

    @property
    def seconds(self) -> Spread:
        """Of the runs' training, over seeds."""
        return spread(run.total_seconds for run in self.runs.values())

    @property
    def labels_reach_backbone(self) -> bool | None:
        """Whether labels reach the student's backbone; None where neither a run nor the grid says it."""
        said = [run.labels_reach_backbone for run in self.runs.values()]
        said += [reached for one in self.results if (reached := one.cell.labels_reach_backbone) is not None]
        return any(said) if said else None

    @property
    def setting(self) -> str:
        """In which setting the method was used, or is to be where no run is finished; empty: it is the same in all."""
        used = dict.fromkeys(run.setting for run in self.runs.values())
        return ", ".join(filter(None, used or dict.fromkeys(one.cell.setting for one in self.results)))


def group_cells(results: GridResults) -> tuple[Group, ...]:
    """Every group of a grid, in the order of the grid file."""
    found: dict[tuple[str, str, str, str], list[CellResult]] = {}
    for result in results.results:
        cell = result.cell
        found.setdefault((cell.pair, cell.data, cell.method, cell.choice), []).append(result)
    return tuple(Group(*key, tuple(members), results.way) for key, members in found.items())


def are_untested(results: GridResults) -> bool:
    """Whether runs are finished, and none has a number that methods are compared by."""
    finished = [result for result in results.results if result.run]
    return bool(finished) and all(result.value(results.way) is None for result in finished)


def have_accuracies(results: GridResults) -> bool:
    """Whether the student of a finished run has a classifier."""
    return any(result.value("") is not None for result in results.results)


def column_groups(results: GridResults) -> Mapping[str, tuple[Group, ...]]:
    """The groups of every pair and data set, by the column's name: what can be compared with each other."""
    found: dict[str, list[Group]] = {}
    for group in group_cells(results):
        found.setdefault(group.column, []).append(group)
    return {column: tuple(groups) for column, groups in found.items()}


def method_labels(results: GridResults) -> Mapping[str, str]:
    """Every method with its choice of layers, in the order of the grid file, and the method's own name."""
    return {result.cell.label: result.cell.method for result in results.results}


def is_reference(group: Group, results: GridResults) -> bool:
    """Whether others are compared with this group.

    A reference that names a method with several choices of layers, and none of them, means no group.
    """
    if not results.reference:
        return False
    if group.label == results.reference:
        return True
    choices = {one.cell.choice for one in results.results if one.cell.method == group.method}
    return group.method == results.reference and len(choices) == 1


def reference_labels(results: GridResults) -> frozenset[str]:
    """Labels of the groups that others are compared with."""
    return frozenset(group.label for group in group_cells(results) if is_reference(group, results))


def find_reference(groups: tuple[Group, ...], results: GridResults) -> Group | None:
    """The group among those of a column that others are compared with; None: none."""
    return next((group for group in groups if is_reference(group, results)), None)
