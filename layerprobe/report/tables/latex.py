"""Tables for LaTeX, in which every column that is shown unasked fits the text of a paper."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from layerprobe.report.tables.columns import MISSING, Column, is_known, set_minus
from layerprobe.report.tables.escaping import escape_latex
from layerprobe.report.tables.latex_width import BOLD, SCRIPT, TEXT_WIDTH, text_width
from layerprobe.text import printable

if TYPE_CHECKING:
    from layerprobe.report.tables.table import Table

_GAP = 12.0
"""Points between two columns: twice LaTeX's ``tabcolsep``."""
_NARROWEST = 52.0
"""Points below which no text is set in lines."""
_LEAST_HEADING = 30.0
"""Points below which no heading is set in lines."""
_OTHER = re.compile("[^\0-\u017f\u2013-\u2026]")
"""Characters that pdflatex does not set unasked; it does Latin letters with their accents, and quotation marks."""
_PIECE = re.compile(r"[^./,_:=-]{1,6}[./,_:=-]?|[./,_:=-]")
"""What is kept together of a word that is longer than its line."""


@dataclass(frozen=True)
class _Cell:
    """What stands in a cell, and how many points wide it is in one line."""

    text: str
    width: float
    plain: str = ""


@dataclass(frozen=True)
class _Set:
    """A column as it is set.

    Attributes:
        heading: its lines.
        cells: one per row.
        align: ``l`` or ``r``.
        key: whether every part of the table has it.
        joined: whether it stands beside the column before it.
        paragraph: points of the lines that its cells are broken into; 0: each is one line.
    """

    heading: tuple[str, ...]
    cells: tuple[_Cell, ...]
    align: str
    key: bool
    joined: bool
    paragraph: float = 0.0

    @property
    def width(self) -> float:
        heading = max(map(text_width, self.heading))
        return max([heading, *([self.paragraph] if self.paragraph else [cell.width for cell in self.cells])])

    def with_broken_heading(self) -> _Set:
        """The same with a heading of several lines, where that makes it narrower."""
        words = [word for line in self.heading for word in line.split()]
        room = max([_LEAST_HEADING, *(cell.width for cell in self.cells), *map(text_width, words)])
        return replace(self, heading=tuple(_lines(words, room)) or ("",))

    def within(self, points: float) -> _Set:
        """The same with its text in lines of so many points, where it is wider."""
        if self.align != "l" or self.width <= points:
            return self
        words = [word for line in self.heading for word in line.split()]
        return replace(self, heading=tuple(_lines(words, points)) or ("",), paragraph=points)


@dataclass(frozen=True)
class Layout:
    """How a table is divided.

    Attributes:
        parts: the columns of each ``tabular``.
        whole: points that one ``tabular`` of all columns would be wide.
        widest: points of the widest ``tabular``.
    """

    parts: tuple[tuple[_Set, ...], ...]
    whole: float
    widest: float

    @property
    def remark(self) -> str:
        """What to say where the table is not one ``tabular`` that fits; else empty."""
        if self.widest > TEXT_WIDTH:
            return f"the LaTeX table is about {self.widest:.0f} pt wide, and the text of a NeurIPS paper is 397 pt wide"
        if len(self.parts) > 1:
            return (
                f"the LaTeX table has {len(self.parts)} parts, each within the 397 pt of a NeurIPS paper; in one it "
                f"would be about {self.whole:.0f} pt wide"
            )
        return ""


def lay_out(table: Table) -> Layout:
    """Divide a table into parts that fit, which repeat the columns that say what a row is of.

    Headings and text are broken into lines before that. Columns that were asked for by name stay in one part.
    """
    columns = tuple(_set_columns(table))
    whole = _width(columns)
    if whole <= TEXT_WIDTH:
        return Layout((columns,), whole, whole)
    columns = tuple(column.with_broken_heading() for column in columns)
    one = _narrowed(columns, TEXT_WIDTH, _NARROWEST if table.chosen else 2 * _NARROWEST)
    if table.chosen or _width(one) <= TEXT_WIDTH:
        return Layout((one,), whole, _width(one))
    parts = tuple(_divided(columns))
    return Layout(parts, whole, max(map(_width, parts)))


def _width(columns: Sequence[_Set]) -> float:
    return sum(column.width for column in columns) + _GAP * (len(columns) - 1)


def _narrowed(columns: tuple[_Set, ...], room: float, least: float = _NARROWEST) -> tuple[_Set, ...]:
    """Columns that fit a room, their text in lines as long as they can be; where none do, in the shortest lines."""
    points = max(room, least)
    while points > least and _width([one.within(points) for one in columns]) > room:
        points -= 2
    return tuple(one.within(points) for one in columns)


def _divided(columns: tuple[_Set, ...]) -> Iterator[tuple[_Set, ...]]:
    """Parts with all keys, in at most half of the width if their text allows it, and as many other columns as fit."""
    units = tuple(_units(columns))
    widest = max((_width(_narrowed(unit, 0)) for unit in units), default=0.0)
    room = min(TEXT_WIDTH / 2, TEXT_WIDTH - widest - _GAP)
    keys = _narrowed(tuple(one for one in columns if one.key), room)
    part = keys
    for unit in (_narrowed(unit, TEXT_WIDTH - _width(keys) - _GAP) for unit in units):
        if part != keys and _width([*part, *unit]) > TEXT_WIDTH:
            yield part
            part = keys
        part = (*part, *unit)
    yield part


def _units(columns: Sequence[_Set]) -> Iterator[tuple[_Set, ...]]:
    """The columns that are no keys, those together that belong together."""
    unit: tuple[_Set, ...] = ()
    for column in (one for one in columns if not one.key):
        if unit and not column.joined:
            yield unit
            unit = ()
        unit = (*unit, column)
    if unit:
        yield unit


def _set_columns(table: Table) -> Iterator[_Set]:
    if table.marked:
        marks = (("$\\ast$", 5.0) if number in table.marked else ("", 0.0) for number in range(len(table.rows)))
        yield _Set(("",), tuple(_Cell(*mark) for mark in marks), "l", key=True, joined=False)
    for column in table.latex_columns:
        best = table.best_rows(column)
        cells = (_cell(column, row, number in best) for number, row in enumerate(table.rows))
        yield _Set((printable(column.title),), tuple(cells), column.align[0], column.key, column.joined)


def _cell(column: Column, row: Mapping[str, Any], best: bool) -> _Cell:
    plain = printable(column.row_text(row))
    text, width = escape_latex(plain), text_width(plain)
    if isinstance(row.get(column.name), (int, float)):
        text, width = set_minus(text, "$-$"), text_width(set_minus(plain, "+"))
    if best:
        text, width = f"\\textbf{{{text}}}", BOLD * width
    ends = [row.get(f"{column.name}_{end}") for end in ("low", "high")]
    if not column.interval or plain == MISSING or not all(map(is_known, ends)):
        return _Cell(text, width, plain)
    low, high = (column.text(end) for end in ends)
    scripts = max(text_width(set_minus(end, "+")) for end in (low, high))
    return _Cell(f"{text}$_{{{low}}}^{{{high}}}$", width + SCRIPT * scripts + 0.6, plain)


def _lines(words: Sequence[str], points: float) -> Iterator[str]:
    """Words in lines of so many points; a longer word is a line of its own."""
    line = ""
    for word in words:
        longer = f"{line} {word}".strip()
        if line and text_width(longer) > points:
            yield line
            longer = word
        line = longer
    if line:
        yield line


def latex(table: Table) -> str:
    """Booktabs ``tabular`` environments, one or, where one would be too wide, several; title and notes are comments."""
    layout = lay_out(table)
    body: list[str] = []
    for number, part in enumerate(layout.parts):
        body += ["", "\\bigskip", ""] if number else []
        body += _with_room(_tabular(table, part)) if _has_intervals(table) else _tabular(table, part)
    before = [printable(table.title), _needs("".join(body)), *filter(None, [layout.remark])]
    lines = [*(f"% {one}" for one in before), *body, *(f"% {printable(note)}" for note in table.notes)]
    return "\n".join(lines) + "\n"


def _needs(text: str) -> str:
    """What a document needs to set a table."""
    others = "".join(dict.fromkeys(_OTHER.findall(text)))
    fonts = f", and XeLaTeX or LuaLaTeX with a font that has {others[:12]}" if others else ""
    return f"needs \\usepackage{{booktabs}}{fonts}"


def _has_intervals(table: Table) -> bool:
    return any(
        is_known(row.get(f"{one.name}_low")) for one in table.latex_columns if one.interval for row in table.rows
    )


def _with_room(tabular: Iterable[str]) -> Iterator[str]:
    """A ``tabular`` with rows so far apart that the ends of intervals don't touch."""
    yield "\\begingroup"
    yield "\\renewcommand{\\arraystretch}{1.25} % subscripts and superscripts are the ends of intervals"
    yield from tabular
    yield "\\endgroup"


def _tabular(table: Table, columns: Sequence[_Set]) -> Iterator[str]:
    kinds = "".join(f"p{{{one.paragraph:.0f}pt}}" if one.paragraph else one.align for one in columns)
    end = r"\tabularnewline" if any(one.paragraph for one in columns) else r"\\"
    yield f"\\begin{{tabular}}{{@{{}}{kinds}@{{}}}}"
    yield "\\toprule"
    yield f"{' & '.join(map(_heading, columns))} {end}"
    yield "\\midrule"
    for number in range(len(table.rows)):
        if number in table.apart and number - 1 not in table.apart:
            yield "\\midrule"
        yield f"{' & '.join(_content(one, one.cells[number]) for one in columns)} {end}"
    yield "\\bottomrule"
    yield "\\end{tabular}"


def _heading(column: _Set) -> str:
    lines = [escape_latex(line) for line in column.heading]
    stacked = "\\\\".join(lines)
    return stacked if len(lines) == 1 else f"\\shortstack[{column.align}]{{{stacked}}}"


def _content(column: _Set, cell: _Cell) -> str:
    """A cell; where it is set in lines, with the places at which a word that is longer than these may be broken."""
    if not column.paragraph or cell.width <= column.paragraph:
        return cell.text
    words = ([word] if text_width(word) <= column.paragraph else _PIECE.findall(word) for word in cell.plain.split())
    text = " ".join("\\allowbreak{}".join(map(escape_latex, pieces)) for pieces in words)
    return f"\\raggedright {text}"
