"""A grid of runs as tables: the headline, every number of every group, and the state of its cells."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from layerprobe.records import GridResults
from layerprobe.report.grid.groups import (
    Group,
    are_untested,
    column_groups,
    find_reference,
    method_labels,
    reference_labels,
)
from layerprobe.report.grid.measure import Measure, compared_by, measure_of
from layerprobe.report.grid.notes import (
    BEST_EPOCH,
    DIFFERENCES,
    HEADLINE,
    HOLDOUT,
    LABELS,
    cost_notes,
    count_states,
    reference_notes,
    setting_notes,
    state_note,
    teacher_accuracy,
    weights_notes,
)
from layerprobe.report.grid.pairs import difference, difference_columns, method_columns, method_notes
from layerprobe.report.grid.spread import spread
from layerprobe.report.tables.runs import LOSSES, UNTESTED
from layerprobe.report.tables.table import Column, Table

TEACHER = "teacher"


def grid_table(results: GridResults) -> Table:
    """The outcome of every method: top-1, or a score of features; of students that have neither the loss."""
    return _losses_table(results) if are_untested(results) else _values_table(results)


def _losses_table(results: GridResults) -> Table:
    """The loss of the last epoch: a row per method and choice of layers, a column per pair and data set."""
    columns = column_groups(results)
    rows = []
    for label in method_labels(results):
        own = {column: next((one for one in groups if one.label == label), None) for column, groups in columns.items()}
        row = _method_cells(own)
        for column, group in own.items():
            row |= (group.loss if group else spread(())).cells(f"loss {column}")
        rows.append(row)
    return Table(
        title=f"{results.title}: loss of the last epoch on the training images",
        columns=(
            *method_columns(rows),
            *(Column(f"loss {column}", column, digits=4, spread=True) for column in columns),
        ),
        rows=tuple(rows),
        notes=(UNTESTED, LOSSES, *method_notes(rows), *setting_notes(results), state_note(results)),
        details={"reference": results.reference, "states": count_states(results)},
    )


def _method_cells(own: Mapping[str, Group | None]) -> dict[str, Any]:
    """What a row says of its method.

    Args:
        own: of every column the group of the row, of which one at least is there.
    """
    first = next(group for group in own.values() if group)
    settings = dict.fromkeys(group.setting for group in own.values() if group)
    return {"method": first.method, "setting": ", ".join(filter(None, settings)), "choice": first.choice}


def _values_table(results: GridResults) -> Table:
    """What methods are compared by, of the last epoch: a row per method and choice of layers, two columns per pair.

    For machines a pair's numbers are ``top1 COLUMN``, ``top1 COLUMN_std`` and ``top1 COLUMN_n`` (of a score of features
    its name, such as ``probe COLUMN``), and of the difference to the reference, where there is one, ``difference
    COLUMN``, ``_low`` and ``_high``. The last row is the teachers' top-1, where it is known.
    """
    measure = compared_by(results)
    columns = column_groups(results)
    rows = [_method_row(label, columns, results) for label in method_labels(results)]
    teachers = {column: teacher_accuracy(groups) for column, groups in columns.items()}
    marked = {number for number, label in enumerate(method_labels(results)) if label in reference_labels(results)}
    if any(value is not None for value in teachers.values()):
        reached = {f"{measure.name} {column}": top1 for column, top1 in teachers.items()}
        rows.append({"method": TEACHER, "setting": "", "choice": "", **reached})
    return Table(
        title=f"{results.title}: {measure.title}",
        columns=(
            *method_columns(rows),
            *(one for column in columns for one in _headline_columns(column, rows, measure, alone=len(columns) == 1)),
        ),
        rows=tuple(rows),
        marked=frozenset(marked),
        notes=(
            *reference_notes(results),
            HEADLINE,
            *((DIFFERENCES,) if any(_has_reference(column, rows) for column in columns) else ()),
            *method_notes(rows),
            *setting_notes(results),
            *weights_notes(results),
            state_note(results),
        ),
        details={"reference": results.reference, "states": count_states(results), "teachers": teachers},
        apart=frozenset(range(len(method_labels(results)), len(rows))),
    )


def _method_row(label: str, columns: Mapping[str, tuple[Group, ...]], results: GridResults) -> dict[str, Any]:
    """Of every column the group with this label; a method that a column lacks has no seed there."""
    own = {column: next((one for one in groups if one.label == label), None) for column, groups in columns.items()}
    row = _method_cells(own)
    for column, group in own.items():
        row |= (group.spread if group else spread(())).cells(f"{compared_by(results).name} {column}")
        reference = find_reference(columns[column], results)
        if reference is not None:
            row |= difference(group, reference).cells(f"difference {column}")
    return row


def _has_reference(column: str, rows: Sequence[Mapping[str, Any]]) -> bool:
    return any(f"difference {column}" in row for row in rows)


def _headline_columns(
    column: str, rows: Sequence[Mapping[str, Any]], measure: Measure, alone: bool
) -> Iterator[Column]:
    """What methods are compared by in a pair, and the difference to its reference; beside one pair there is room for p.

    In LaTeX differences stand beside one pair only: over several pairs, and of each, other tables have them.
    """
    yield Column(f"{measure.name} {column}", column, digits=2, best="max", spread=True)
    name = f"difference {column}"
    if not _has_reference(column, rows):
        return
    yield Column(name, "difference", digits=2, interval=True, signed=True, joined=True, latex=alone)
    if alone:
        yield Column(f"{name}_low", "from", digits=2, signed=True, paper=False)
        yield Column(f"{name}_high", "to", digits=2, signed=True, paper=False)
        yield Column(f"{name}_p", "p", digits=3, least=0.001, joined=True)


def details_table(results: GridResults) -> Table:
    """One row per pair, data set, method and choice of layers, with every number that is known of it."""
    rows: list[dict[str, Any]] = []
    marked: set[int] = set()
    for groups in column_groups(results).values():
        reference = find_reference(groups, results)
        for group in groups:
            if group is reference:
                marked.add(len(rows))
            rows.append(_details_row(group, reference, results.ways))
    return Table(
        title=f"{results.title}: every pair and method",
        columns=_details_columns(rows, results.ways),
        rows=tuple(rows),
        marked=frozenset(marked),
        notes=_details_notes(results, rows),
        details={"reference": results.reference, "states": count_states(results)},
        best_within=("pair", "data"),
    )


def _details_row(group: Group, reference: Group | None, ways: Sequence[str]) -> dict[str, Any]:
    runs = group.runs.values()
    memory = [run.peak_memory for run in runs if run.peak_memory is not None]
    labels = group.labels_reach_backbone
    row: dict[str, Any] = {
        "pair": group.pair, "data": group.data, "method": group.method, "setting": group.setting,
        "choice": group.choice,
    }  # fmt: skip
    row |= {"labels": None if labels is None else "yes" if labels else "no", "cells": len(group.results)}
    for way in (*ways, ""):
        row |= spread(group.reached_by(way).values()).cells(measure_of(way).name)
    if reference is not None:
        row |= difference(group, reference).cells("difference")
    row |= spread(run.chosen_accuracy for run in runs).cells("chosen_on_holdout")
    row |= spread(run.best_on_test_accuracy for run in runs).cells("best_on_test")
    row |= group.loss.cells("loss") | group.holdout_loss.cells("holdout_loss")
    row |= group.seconds.cells("seconds")
    return {**row, "peak_megabytes": max(memory) / 1e6 if memory else None}


def _details_columns(rows: Sequence[dict[str, Any]], ways: Sequence[str]) -> tuple[Column, ...]:
    def anywhere(name: str) -> bool:
        return any(row.get(name) for row in rows)

    held_out = Column("chosen_on_holdout", "epoch chosen on held-out", digits=2, spread=True, latex=False)
    best = Column("best_on_test", "best epoch on test", digits=2, spread=True, latex=False)
    scores = [measure_of(way) for way in ways]
    labelled = anywhere("top1_n") or not (scores or anywhere("loss_n"))
    return (
        Column("pair", "pair", "left", key=True),
        *((Column("data", "data", "left", key=True),) if anywhere("data") else ()),
        *method_columns(rows),
        Column("labels", "labels", "left"),
        Column("cells", "cells", latex=False),
        *(Column(score.name, score.label, digits=2, best="max", spread=True) for score in scores),
        *((Column("top1", "top-1, last epoch", digits=2, best="max", spread=True),) if labelled else ()),
        *((Column("loss", "loss, last epoch", digits=4, spread=True),) if anywhere("loss_n") else ()),
        *((Column("holdout_loss", "loss, held-out", digits=4, spread=True),) if anywhere("holdout_loss_n") else ()),
        *(difference_columns("seeds of both") if any("difference" in row for row in rows) else ()),
        *((held_out,) if anywhere("chosen_on_holdout_n") else ()),
        *((best,) if labelled else ()),
        Column("seconds", "seconds", digits=0, spread=True, latex=False),
        *((Column("peak_megabytes", "peak MB", digits=0, latex=False),) if anywhere("peak_megabytes") else ()),
    )


def _details_notes(results: GridResults, rows: Sequence[dict[str, Any]]) -> tuple[str, ...]:
    return (
        *reference_notes(results),
        HEADLINE,
        *((DIFFERENCES,) if any("difference" in row for row in rows) else ()),
        *((HOLDOUT,) if any(row["chosen_on_holdout_n"] for row in rows) else ()),
        *((UNTESTED, LOSSES) if any(row["loss_n"] for row in rows) else ()),
        BEST_EPOCH,
        LABELS,
        *method_notes(rows),
        *setting_notes(results),
        *weights_notes(results),
        *cost_notes(results),
        state_note(results),
    )


def states_table(results: GridResults) -> Table:
    """The cells that failed, one row each with its reason; how many are done, running, failed and waiting below."""
    failed = [result for result in results.results if result.state == "failed"]
    rows = tuple(
        {
            "pair": result.cell.pair,
            "data": result.cell.data,
            "method": result.cell.method,
            "choice": result.cell.choice,
            "seed": result.cell.seed,
            "path": result.cell.path,
            "reason": result.reason,
        }
        for result in failed
    )
    return Table(
        title=f"{results.title}: cells that failed",
        columns=(
            Column("pair", "pair", "left", key=True),
            *((Column("data", "data", "left", key=True),) if any(row["data"] for row in rows) else ()),
            Column("method", "method", "left", key=True),
            *((Column("choice", "layers", "left", key=True),) if any(row["choice"] for row in rows) else ()),
            Column("seed", "seed", key=True),
            Column("path", "run", "left"),
            Column("reason", "reason", "left"),
        ),
        rows=rows,
        notes=(state_note(results),),
        details={"cells": len(results.results), **count_states(results)},
    )
