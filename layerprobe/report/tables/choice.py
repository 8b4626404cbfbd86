"""Which columns of a table are shown, where somebody asks for some."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase

from layerprobe.errors import LayerprobeError, closest
from layerprobe.report.tables.columns import Column
from layerprobe.report.tables.table import Table

ALL = "all"
"""Stands for every column that the table has unasked."""


def choose_columns(table: Table, names: Sequence[str]) -> Table:
    """A table with the columns that are asked for, in that order, behind those that say what a row is of.

    Args:
        table: the table.
        names: names or headings of columns, which may hold ``*`` and ``?``, or ``ALL``; none: the table as it is.

    Raises:
        LayerprobeError: if a name is of no column.
    """
    if not names:
        return table
    found = tuple(dict.fromkeys(column for name in names for column in _matches(table, name)))
    keys = () if any(column.key for column in found) else tuple(column for column in table.columns if column.key)
    return replace(table, columns=(*keys, *found), chosen=True)


def choose_among(tables: Sequence[Table], names: Sequence[str]) -> list[Table]:
    """Tables with the columns that are asked for; one that has none of them is left out.

    Raises:
        LayerprobeError: if a name is of no column of any table.
    """
    if len(tables) < 2 or not names:
        return [choose_columns(table, names) for table in tables]
    check_columns([column for table in tables for column in (*table.columns, *table.further)], names)
    found = []
    for table in tables:
        own = [n for n in names if n == ALL or any(_is_called(c, n) for c in (*table.columns, *table.further))]
        found += [choose_columns(table, own)] if own else []
    return found


def check_columns(columns: Sequence[Column], names: Sequence[str]) -> None:
    """Refuse a name of no column, before any work is done.

    Raises:
        LayerprobeError: if there is one.
    """
    choose_columns(Table("", tuple(columns), ()), names)


def _matches(table: Table, name: str) -> Iterator[Column]:
    """The columns of one name; one with an interval brings the columns of its ends along, which terminals show."""
    columns = (*table.columns, *table.further)
    if name == ALL:
        yield from table.columns
        return
    found = [column for column in columns if _is_called(column, name)]
    if not found:
        raise LayerprobeError(f"--columns: the table has no column {name!r}; {_others(columns, name)}")
    for column in found:
        yield column
        ends = {f"{column.name}_{end}" for end in ("low", "high")}
        yield from (end for end in columns if end.name in ends and not end.paper)


def _is_called(column: Column, name: str) -> bool:
    return any(called == name or fnmatchcase(called, name) for called in (column.name, column.title) if called)


def _others(columns: Sequence[Column], name: str) -> str:
    return closest(name, list(dict.fromkeys(column.name for column in columns if column.paper)), 3)
