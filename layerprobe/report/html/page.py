"""A report as one HTML page that needs nothing but itself."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from layerprobe.report.html.inline_svg import inline_svg
from layerprobe.report.tables.columns import Column, is_known, set_minus
from layerprobe.report.tables.table import MARK, Table
from layerprobe.text import printable_lines

_TEMPLATE = "report.html"
_LONG = 60
"""Letters above which a cell gets more space on a narrow screen."""


@dataclass(frozen=True)
class Figure:
    """A figure of a page.

    Attributes:
        name: of its files.
        caption: what it shows.
        svg: text of its SVG file.
    """

    name: str
    caption: str
    svg: str


@dataclass(frozen=True)
class Section:
    """A part of a page.

    Attributes:
        heading: its heading.
        tables: its tables, below the text.
        figures: its figures, below the tables.
        text: a paragraph; empty: none.
    """

    heading: str
    tables: tuple[Table, ...] = ()
    figures: tuple[Figure, ...] = ()
    text: str = ""


@dataclass(frozen=True)
class Page:
    """A page.

    Attributes:
        title: its title.
        lede: the line below it.
        counts: how many of what there are, for the bar below.
        sections: its parts.
        provenance: what it was made from, at the foot; texts of several lines are folded.
    """

    title: str
    lede: str
    counts: Mapping[str, int]
    sections: tuple[Section, ...]
    provenance: Mapping[str, Any] = field(default_factory=dict)


def html_page(page: Page) -> str:
    """The page as text. Everything in it that came from outside is escaped."""
    numbers = iter(range(1, 1 + sum(len(section.figures) for section in page.sections)))
    environment = Environment(
        loader=FunctionLoader(_template), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True, keep_trailing_newline=True, finalize=_harmless,
    )  # fmt: skip
    return environment.get_template(_TEMPLATE).render(
        page=page,
        sections=[
            {
                "heading": section.heading,
                "text": section.text,
                "tables": [_table(table) for table in section.tables],
                "figures": [_figure(figure, next(numbers)) for figure in section.figures],
            }
            for section in page.sections
        ],
        facts=[(key, _words(value)) for key, value in page.provenance.items()],
    )


def _harmless(value: Any) -> Any:
    """A value of the template; of text, without characters that act."""
    return printable_lines(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _template(name: str) -> str:
    return (files("layerprobe.report.html") / "templates" / name).read_text(encoding="utf-8")


def _figure(figure: Figure, number: int) -> dict[str, Any]:
    svg = Markup(inline_svg(figure.svg, f"f{number}", figure.caption))
    return {"name": figure.name, "caption": figure.caption, "svg": svg}


def _table(table: Table) -> dict[str, Any]:
    """What the template shows of a table: texts for people, and values to sort by."""
    columns = table.paper_columns
    best = [table.best_rows(column) for column in columns]
    rows: list[dict[str, Any]] = []
    for number, row in enumerate(table.rows):
        cells = [_cell(column, row, number in among) for column, among in zip(columns, best, strict=True)]
        rows.append({"cells": cells, "marked": number in table.marked})
    first_apart = min(table.apart, default=len(rows))
    return {
        "title": table.title,
        "headings": [
            {"title": column.title, "align": column.align, "kind": _kind(column, table.rows)} for column in columns
        ],
        "mark": MARK if table.marked else "",
        "rows": rows[:first_apart],
        "apart": rows[first_apart:],
        "notes": table.notes,
    }


def _cell(column: Column, row: Mapping[str, Any], best: bool) -> dict[str, Any]:
    value = row.get(column.name)
    text = column.paper_text(row)
    if isinstance(value, (int, float)):
        text = set_minus(text, "\N{MINUS SIGN}")
    return {
        "text": text,
        "value": value if is_known(value) else "",  # a float's text is all of it
        "look": f"{column.align} long" if len(text) > _LONG else column.align,
        "best": best,
    }


def _kind(column: Column, rows: Sequence[Mapping[str, Any]]) -> str:
    """Whether a column is sorted by numbers or by letters."""
    values = [row.get(column.name) for row in rows if is_known(row.get(column.name))]
    return "number" if values and all(isinstance(value, (int, float)) for value in values) else "text"


def _words(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)
