"""How far methods are ahead of the reference: within a pair over seeds, and over pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from layerprobe.records import GridResults
from layerprobe.report.grid.groups import Group, column_groups, find_reference, method_labels, reference_labels
from layerprobe.report.grid.notes import OVER_PAIRS, SETTINGS, reference_notes, state_note
from layerprobe.report.grid.paired import PairedDifference, paired_difference
from layerprobe.report.tables.table import Column, Table


def pairs_table(results: GridResults) -> Table | None:
    """How far every method is ahead of the reference over pairs and data sets; None of fewer than two of them.

    What is averaged, and what the test counts, are pairs: seeds of one pair share its networks and images, and are no
    independent evidence for the next pair.
    """
    columns = column_groups(results)
    references = {column: find_reference(groups, results) for column, groups in columns.items()}
    if len(columns) < 2 or not any(references.values()):
        return None
    rows = []
    for label in method_labels(results):
        found = [
            (column, group, references[column])
            for column, groups in columns.items()
            for group in groups
            if group.label == label
        ]
        ahead: dict[str, float] = {}
        for column, group, reference in found:
            if reference is not None and (mean := difference(group, reference)).pairs:
                ahead[column] = mean.mean
        settings = dict.fromkeys(group.setting for _, group, _ in found)
        row: dict[str, Any] = {
            "method": found[0][1].method,
            "setting": ", ".join(filter(None, settings)),
            "choice": found[0][1].choice,
        }
        row |= paired_difference(ahead, dict.fromkeys(ahead, 0.0)).cells("difference")
        rows.append(row | {"ahead": sum(value > 0 for value in ahead.values()) if ahead else None})
    marked = {number for number, label in enumerate(method_labels(results)) if label in reference_labels(results)}
    return Table(
        title=f"{results.title}: over pairs",
        columns=(
            *method_columns(rows),
            *difference_columns("pairs"),
            Column("ahead", "pairs ahead"),
        ),
        rows=tuple(rows),
        marked=frozenset(marked),
        notes=(*reference_notes(results), OVER_PAIRS, *method_notes(rows), state_note(results)),
    )


def method_columns(rows: Sequence[Mapping[str, Any]]) -> tuple[Column, ...]:
    """Which method, in which setting and from which layers: what differs somewhere has a column."""
    return (
        Column("method", "method", "left", key=True),
        *((Column("setting", "setting", "left", key=True),) if any(row["setting"] for row in rows) else ()),
        *((Column("choice", "layers", "left", key=True),) if any(row["choice"] for row in rows) else ()),
    )


def method_notes(rows: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """What the settings mean, where there is a column of them."""
    return (SETTINGS,) if any(row["setting"] for row in rows) else ()


def difference(group: Group | None, reference: Group) -> PairedDifference:
    """How far a group is ahead of the reference, over seeds; of no seed where it is the reference itself."""
    return paired_difference({} if group is None or group is reference else group.reached, reference.reached)


def difference_columns(counted: str) -> tuple[Column, ...]:
    """The columns of a difference: its interval, how many seeds or pairs were paired, and p."""
    return (
        Column("difference", "difference", digits=2, interval=True, signed=True),
        Column("difference_low", "from", digits=2, signed=True, paper=False),
        Column("difference_high", "to", digits=2, signed=True, paper=False),
        Column("difference_pairs", counted, joined=True),
        Column("difference_p", "p", digits=3, least=0.001, joined=True),
    )
