"""One table, rendered for people and for machines."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from layerprobe.errors import LayerprobeError

MARK = "*"
MISSING = "-"


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        name: key of its values in the rows, and its name for machines.
        title: its heading for people.
        align: ``left`` or ``right``.
        digits: decimals of a number for people; None: as it is.
        thousands: whether integers get thousands separators for people.
        best: ``max`` or ``min``: the best value is set in bold in a paper; empty: none is.
        interval: whether rows have ``NAME_low`` and ``NAME_high``; a paper shows them as ``value [low, high]``.
        paper: whether papers and machines get the column; False: it repeats an interval for the terminal.
    """

    name: str
    title: str
    align: Literal["left", "right"] = "right"
    digits: int | None = None
    thousands: bool = False
    best: Literal["", "max", "min"] = ""
    interval: bool = False
    paper: bool = True

    def text(self, value: object) -> str:
        """A value for people."""
        if value is None or (isinstance(value, float) and math.isnan(value)):
            return MISSING
        if isinstance(value, float) and self.digits is not None:
            return f"{value:.{self.digits}f}"
        if isinstance(value, int) and self.thousands:
            return f"{value:,}"
        return str(value)

    def paper_text(self, row: Mapping[str, Any]) -> str:
        """A row's value for a paper, with its interval."""
        text = self.text(row.get(self.name))
        ends = [row.get(f"{self.name}_{end}") for end in ("low", "high")]
        if not self.interval or any(end is None or math.isnan(end) for end in ends):
            return text
        return f"{text} [{self.text(ends[0])}, {self.text(ends[1])}]"

    @property
    def keys(self) -> tuple[str, ...]:
        """Names of its values for machines."""
        return (self.name, f"{self.name}_low", f"{self.name}_high") if self.interval else (self.name,)


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
    """

    title: str
    columns: tuple[Column, ...]
    rows: tuple[Mapping[str, Any], ...]
    marked: frozenset[int] = frozenset()
    notes: tuple[str, ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict)
    plain: bool = False

    def texts(self, row: Mapping[str, Any]) -> list[str]:
        """A row's values for people."""
        return [column.text(row.get(column.name)) for column in self.columns]

    @property
    def paper_columns(self) -> tuple[Column, ...]:
        """The columns that a paper and a machine get."""
        return tuple(column for column in self.columns if column.paper)

    def best_rows(self, column: Column) -> frozenset[int]:
        """Numbers of the rows that have the column's best value."""
        values = [row.get(column.name) for row in self.rows]
        known = [value for value in values if isinstance(value, (int, float)) and not math.isnan(value)]
        if not column.best or not known:
            return frozenset()
        best = max(known) if column.best == "max" else min(known)
        return frozenset(number for number, value in enumerate(values) if value == best)


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
            writer.writerow({**row, "table": table.title, "marked": int(number in table.marked)})
    return stream.getvalue()


def _terminal(table: Table, colour: bool = False) -> str:
    from rich import box
    from rich.console import Console
    from rich.table import Table as RichTable
    from rich.text import Text

    grid = RichTable(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    if table.marked:
        grid.add_column("")
    for column in table.columns:
        grid.add_column(Text(column.title), justify=column.align, no_wrap=True)
    for number, row in enumerate(table.rows):
        mark = [MARK if number in table.marked else ""] if table.marked else []
        cells = [Text(text) for text in [*mark, *table.texts(row)]]
        grid.add_row(*cells, style="bold" if number in table.marked else None)
    # A table that is piped is as wide as it needs to be: cut columns would be lost data.
    stream = io.StringIO()
    console = Console(file=stream, width=10_000, force_terminal=colour, no_color=not colour, highlight=False)
    console.print(Text(table.title, style="bold"))
    console.print(grid)
    for note in table.notes:
        console.print(Text(note), soft_wrap=True)
    return "\n".join(line.rstrip() for line in stream.getvalue().splitlines()) + "\n"


def _json(table: Table) -> str:
    rows = [
        {**{key: _plain(value) for key, value in row.items()}, "marked": number in table.marked}
        for number, row in enumerate(table.rows)
    ]
    content: dict[str, Any] = {"title": table.title, "rows": rows, "notes": list(table.notes)}
    if table.details:
        content["details"] = dict(table.details)
    return json.dumps(content, indent=1, allow_nan=False)


def _plain(value: Any) -> Any:
    """NaN and infinities have no JSON: null."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _csv(table: Table) -> str:
    stream = io.StringIO()
    keys = [key for column in table.paper_columns for key in column.keys]
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(keys if table.plain else [*keys, "marked"])
    for number, row in enumerate(table.rows):
        values = [row.get(key) for key in keys]
        writer.writerow(values if table.plain else [*values, int(number in table.marked)])
    return stream.getvalue()


def _paper_lines(
    table: Table, bold: Callable[[str], str], escape: Callable[[str], str], star: str
) -> tuple[list[str], ...]:
    """Headings, then a line per row, cell by cell: best values in bold, marked rows with an asterisk in front."""
    columns = table.paper_columns
    best = [table.best_rows(column) for column in columns]
    lines = [[*([""] if table.marked else []), *(escape(column.title) for column in columns)]]
    for number, row in enumerate(table.rows):
        cells = [escape(column.paper_text(row)) for column in columns]
        cells = [bold(cell) if number in rows else cell for cell, rows in zip(cells, best, strict=True)]
        lines.append([*([star if number in table.marked else ""] if table.marked else []), *cells])
    return tuple(lines)


def _aligned(table: Table) -> list[str]:
    """``left`` or ``right`` of every column of a paper's table."""
    return [*(["left"] if table.marked else []), *(column.align for column in table.paper_columns)]


def _markdown(table: Table) -> str:
    rule = [("---:" if align == "right" else ":---") for align in _aligned(table)]
    heading, *lines = _paper_lines(table, "**{}**".format, lambda text: text.replace("|", "\\|"), "\\*")
    body = "\n".join(f"| {' | '.join(line)} |" for line in (heading, rule, *lines))
    return f"**{table.title}**\n\n{body}\n" + "".join(f"\n{note}\n" for note in table.notes)


_LATEX = {character: f"\\{character}" for character in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "<": "$<$",
    ">": "$>$",
}


def escape_latex(text: str) -> str:
    r"""Text that LaTeX prints as it stands.

    Example:
        >>> escape_latex("resnet_56: 50 %")
        'resnet\\_56: 50 \\%'
    """
    return "".join(_LATEX.get(character, character) for character in text)


def _latex(table: Table) -> str:
    """A booktabs ``tabular``; title and notes are comments."""
    lines = [f"% {table.title}", "% needs \\usepackage{booktabs}"]
    lines.append(f"\\begin{{tabular}}{{{''.join(align[0] for align in _aligned(table))}}}")
    lines.append("\\toprule")
    heading, *rows = _paper_lines(table, "\\textbf{{{}}}".format, escape_latex, "$\\ast$")
    lines += [" & ".join(heading) + r" \\", "\\midrule"]
    lines += [" & ".join(row) + r" \\" for row in rows]
    lines += ["\\bottomrule", "\\end{tabular}", *(f"% {note}" for note in table.notes)]
    return "\n".join(lines) + "\n"


TABLE_FORMATS: Mapping[str, Callable[[Table], str]] = {
    "table": _terminal,
    "json": _json,
    "csv": _csv,
    "markdown": _markdown,
    "latex": _latex,
}
"""Every format that a table can be rendered in."""
