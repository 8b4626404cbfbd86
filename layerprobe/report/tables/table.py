"""One table, rendered for people and for machines."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from layerprobe.errors import LayerprobeError
from layerprobe.files import null_for_nan
from layerprobe.report.tables.columns import Column as Column
from layerprobe.report.tables.columns import is_known
from layerprobe.report.tables.escaping import escape_csv, escape_markdown, escape_markdown_paragraph
from layerprobe.report.tables.latex import latex
from layerprobe.text import printable

MARK = "*"


@dataclass(frozen=True)
class Table:
    """Rows of values under columns.

    Attributes:
        title: what it shows.
        columns: in order.
        rows: values by column name.
        marked: numbers of the rows to stand out, with an asterisk.
        notes: lines below it.
        details: facts about the whole, ready for JSON; shown by no other format.
        plain: whether it is data alone, without marks: CSV has no column ``marked`` then.
        apart: numbers of the last rows that stand below a rule, like a teacher's below the students': never the best.
        best_within: names of the columns that divide the rows: the best is the best of each part. Empty: of all rows.
        further: columns that stand there only if they are asked for.
        chosen: whether the columns were asked for by name: they stand in every format, and no others.
    """

    title: str
    columns: tuple[Column, ...]
    rows: tuple[Mapping[str, Any], ...]
    marked: frozenset[int] = frozenset()
    notes: tuple[str, ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict)
    plain: bool = False
    apart: frozenset[int] = frozenset()
    best_within: tuple[str, ...] = ()
    further: tuple[Column, ...] = ()
    chosen: bool = False

    def texts(self, row: Mapping[str, Any]) -> list[str]:
        """A row's values for people."""
        return [column.row_text(row) for column in self.columns]

    @property
    def paper_columns(self) -> tuple[Column, ...]:
        """The columns that a paper and a machine get."""
        return tuple(column for column in self.columns if column.paper)

    @property
    def latex_columns(self) -> tuple[Column, ...]:
        """The columns that LaTeX gets."""
        return tuple(column for column in self.paper_columns if column.latex or self.chosen)

    def best_rows(self, column: Column) -> frozenset[int]:
        """Numbers of the rows that have the column's best value, of every part of the rows."""
        parts: dict[tuple[object, ...], dict[int, float]] = {}
        for number, row in enumerate(self.rows):
            value = row.get(column.name)
            if number not in self.apart and isinstance(value, (int, float)) and is_known(value):
                parts.setdefault(tuple(row.get(name) for name in self.best_within), {})[number] = value
        if not column.best:
            return frozenset()
        best = max if column.best == "max" else min
        return frozenset(
            number for part in parts.values() for number, value in part.items() if value == best(part.values())
        )


def data_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Table:
    """A table of plain values for machines."""
    values = tuple(dict(zip(columns, row, strict=True)) for row in rows)
    return Table(title, tuple(Column(name, name) for name in columns), values, plain=True)


def check_format(format: str) -> None:
    """Refuse a format that there is none of, before any work is done.

    Raises:
        LayerprobeError: if ``format`` is no key of ``TABLE_FORMATS``.
    """
    if format not in TABLE_FORMATS:
        raise LayerprobeError(f"--format is one of {', '.join(TABLE_FORMATS)}, not {format!r}")


def render(table: Table, format: str = "table", colour: bool = False) -> str:
    """A table as text.

    Args:
        table: the table.
        format: a key of ``TABLE_FORMATS``.
        colour: whether ``table`` may use a terminal's colours and weights.

    Raises:
        LayerprobeError: if there is no such format.
    """
    check_format(format)
    return _terminal(table, colour) if format == "table" else TABLE_FORMATS[format](table)


def render_all(tables: Sequence[Table], format: str = "table", colour: bool = False) -> str:
    """Several tables of one kind as one text that the format's readers understand.

    JSON becomes a list; CSV gets one heading and a first column ``table`` with the titles.

    Raises:
        LayerprobeError: if there is no such format.
    """
    if len(tables) == 1:
        return render(tables[0], format, colour)
    check_format(format)
    if format == "json":
        return json.dumps([json.loads(render(table, format)) for table in tables], indent=1)
    if format == "csv":
        return _joined_csv(tables)
    return "\n".join(render(table, format, colour) for table in tables)


def _joined_csv(tables: Sequence[Table]) -> str:
    stream = io.StringIO()
    keys = dict.fromkeys(key for table in tables for column in table.paper_columns for key in column.keys)
    writer = csv.DictWriter(stream, ["table", *keys, "marked"], extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for table in tables:
        for number, row in enumerate(table.rows):
            told = {**row, "table": table.title, "marked": int(number in table.marked)}
            writer.writerow({key: escape_csv(value) for key, value in told.items()})
    return stream.getvalue()


def _terminal(table: Table, colour: bool = False) -> str:
    from rich import box
    from rich.console import Console
    from rich.table import Table as RichTable
    from rich.text import Text

    def shown(text: str, style: str = "") -> Text:
        return Text(printable(text), style=style)

    grid = RichTable(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    if table.marked:
        grid.add_column("")
    for column in table.columns:
        grid.add_column(shown(column.title), justify=column.align, no_wrap=True)
    for number, row in enumerate(table.rows):
        mark = [MARK if number in table.marked else ""] if table.marked else []
        cells = [shown(text) for text in [*mark, *table.texts(row)]]
        ruled = number + 1 not in table.apart or number in table.apart
        grid.add_row(*cells, style="bold" if number in table.marked else None, end_section=not ruled)
    # A table that is piped is as wide as it needs to be: cut columns would be lost data.
    stream = io.StringIO()
    console = Console(file=stream, width=10_000, force_terminal=colour, no_color=not colour, highlight=False)
    console.print(shown(table.title, "bold"))
    console.print(grid)
    for note in table.notes:
        console.print(shown(note), soft_wrap=True)
    return "\n".join(line.rstrip() for line in stream.getvalue().splitlines()) + "\n"


def _json(table: Table) -> str:
    keys = {key for column in table.paper_columns for key in column.keys}
    rows = [
        {key: value for key, value in row.items() if key in keys or not table.chosen}
        | {"marked": number in table.marked}
        for number, row in enumerate(table.rows)
    ]
    content: dict[str, Any] = {"title": table.title, "rows": rows, "notes": list(table.notes)}
    if table.details:
        content["details"] = dict(table.details)
    return json.dumps(null_for_nan(content), indent=1, allow_nan=False)


def _csv(table: Table) -> str:
    stream = io.StringIO()
    keys = [key for column in table.paper_columns for key in column.keys]
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(map(escape_csv, keys if table.plain else [*keys, "marked"]))
    for number, row in enumerate(table.rows):
        values = [escape_csv(row.get(key)) for key in keys]
        writer.writerow(values if table.plain else [*values, int(number in table.marked)])
    return stream.getvalue()


def _markdown(table: Table) -> str:
    marks = [""] if table.marked else []
    rule = ["---:" if column.align == "right" else ":---" for column in table.paper_columns]
    heading = [escape_markdown(column.title) for column in table.paper_columns]
    lines = [[*marks, *heading], [*([":---"] if marks else []), *rule], *_markdown_rows(table)]
    body = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    notes = "".join(f"\n{escape_markdown_paragraph(note)}\n" for note in table.notes)
    return f"**{escape_markdown(table.title)}**\n\n{body}\n{notes}"


def _markdown_rows(table: Table) -> Iterator[list[str]]:
    """The cells of every row: best values in bold, marked rows with an asterisk in front."""
    best = [table.best_rows(column) for column in table.paper_columns]
    for number, row in enumerate(table.rows):
        cells = [escape_markdown(column.paper_text(row)) for column in table.paper_columns]
        cells = [f"**{cell}**" if number in rows else cell for cell, rows in zip(cells, best, strict=True)]
        yield [*(["\\*" if number in table.marked else ""] if table.marked else []), *cells]


TABLE_FORMATS: Mapping[str, Callable[[Table], str]] = {
    "table": _terminal,
    "json": _json,
    "csv": _csv,
    "markdown": _markdown,
    "latex": latex,
}
"""Every format that a table can be rendered in."""
