"""One table, rendered for people and for machines."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Mapping
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
    """

    name: str
    title: str
    align: Literal["left", "right"] = "right"
    digits: int | None = None
    thousands: bool = False

    def text(self, value: object) -> str:
        """A value for people."""
        if value is None or (isinstance(value, float) and math.isnan(value)):
            return MISSING
        if isinstance(value, float) and self.digits is not None:
            return f"{value:.{self.digits}f}"
        if isinstance(value, int) and self.thousands:
            return f"{value:,}"
        return str(value)


@dataclass(frozen=True)
class Table:
    """Rows of values under columns.

    Attributes:
        title: what it shows.
        columns: in order.
        rows: values by column name.
        marked: numbers of the rows to stand out.
        notes: lines below it.
        details: facts about the whole, ready for JSON; shown by no other format.
    """

    title: str
    columns: tuple[Column, ...]
    rows: tuple[Mapping[str, Any], ...]
    marked: frozenset[int] = frozenset()
    notes: tuple[str, ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict)

    def texts(self, row: Mapping[str, Any]) -> list[str]:
        """A row's values for people."""
        return [column.text(row.get(column.name)) for column in self.columns]


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
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow([*(column.name for column in table.columns), "marked"])
    for number, row in enumerate(table.rows):
        writer.writerow([*(row.get(column.name) for column in table.columns), int(number in table.marked)])
    return stream.getvalue()


def _markdown(table: Table) -> str:
    rule = [("---:" if column.align == "right" else ":---") for column in table.columns]
    lines = [[column.title for column in table.columns], rule]
    for number, row in enumerate(table.rows):
        texts = [text.replace("|", "\\|") for text in table.texts(row)]
        lines.append([f"**{text}**" for text in texts] if number in table.marked else texts)
    body = "\n".join(f"| {' | '.join(line)} |" for line in lines)
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
    lines.append(f"\\begin{{tabular}}{{{''.join(column.align[0] for column in table.columns)}}}")
    lines.append("\\toprule")
    lines.append(" & ".join(escape_latex(column.title) for column in table.columns) + r" \\")
    lines.append("\\midrule")
    for number, row in enumerate(table.rows):
        texts = [escape_latex(text) for text in table.texts(row)]
        lines.append(" & ".join(f"\\textbf{{{t}}}" if number in table.marked else t for t in texts) + r" \\")
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
