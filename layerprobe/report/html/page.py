"""A report as one HTML page that needs nothing but itself."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from layerprobe.report.html.inline_svg import Link, inline_svg
from layerprobe.report.html.pictures import Picture
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
        caption: what it shows.
        pictures: of it: for wide and for narrow screens, or one for all.
        files: where it and its numbers lie, in words; empty: on the page alone.
    """

    caption: str
    pictures: tuple[Picture, ...]
    files: str = ""


@dataclass(frozen=True)
class Section:
    """A part of a page. What it has stands in the order of the attributes, and what is empty is left out.

    Attributes:
        heading: its heading.
        tables: its tables, below the text.
        figures: its figures, below the tables.
        text: a paragraph, above all else; what stands between backquotes is set as code.
        facts: texts by what they are of, below that.
        notes: lines of a list, below these.
        code: to be copied, below that.
        folded: whether the reader unfolds it.
    """

    heading: str
    tables: tuple[Table, ...] = ()
    figures: tuple[Figure, ...] = ()
    text: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    code: str = ""
    folded: bool = False


@dataclass(frozen=True)
class Page:
    """A page.

    Attributes:
        title: its title.
        lede: the line below it.
        counts: how many of what there are, for the bar below; empty: there is none.
        sections: its parts.
        provenance: what it was made from, at the foot; texts of several lines are folded.
        mark: what tells it from a page of something else; empty: nobody asks.
    """

    title: str
    lede: str
    counts: Mapping[str, int]
    sections: tuple[Section, ...]
    provenance: Mapping[str, Any] = field(default_factory=dict)
    mark: str = ""


GENERATOR = '<meta name="generator" content="layerprobe report">'
"""What every page has near its beginning, and a page of somebody else doesn't."""


def html_page(page: Page) -> str:
    """The page as text. Everything in it that came from outside is escaped."""
    environment = Environment(
        loader=FunctionLoader(_template), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True, keep_trailing_newline=True, finalize=_harmless,
    )  # fmt: skip
    ids = _Ids(page)
    return environment.get_template(_TEMPLATE).render(
        page=page,
        generator=Markup(GENERATOR),
        sections=[
            {
                "part": section,
                "text": _with_code(section.text),
                "tables": [_table(table, ids.of_rows(table)) for table in section.tables],
                "figures": [_figure(figure, ids) for figure in section.figures],
            }
            for section in page.sections
        ],
        facts=[(key, _words(value)) for key, value in page.provenance.items()],
    )


class _Ids:
    """The names by which parts of a page are told apart: no two are alike.

    Args:
        page: the page.
    """

    def __init__(self, page: Page) -> None:
        self._tables = [table for section in page.sections for table in section.tables]
        pictures = (one for section in page.sections for figure in section.figures for one in figure.pictures)
        self._linked = [place.table for picture in pictures for place in picture.places]
        self._pictures = 0

    def next_picture(self) -> str:
        """What the ids in the next picture begin with."""
        self._pictures += 1
        return f"f{self._pictures}"

    def of_rows(self, table: Table) -> str:
        """What the ids of a table's rows begin with; empty: no figure leads to them."""
        place = next((number for number, one in enumerate(self._tables, 1) if one is table), 0)
        return f"t{place}-" if place and any(one is table for one in self._linked) else ""

    def links(self, picture: Picture) -> list[Link]:
        """The places of a picture whose tables are on the page."""
        found = ((place, self.of_rows(place.table)) for place in picture.places)
        return [Link(place, f"{rows}{place.row}") for place, rows in found if rows]


def _harmless(value: Any) -> Any:
    """A value of the template; of text, without characters that act."""
    return printable_lines(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _with_code(text: str) -> Markup:
    """A paragraph with what stands between backquotes set as code."""
    element = Markup("<code>{}</code>").format
    return Markup("").join(
        element(part) if number % 2 else part for number, part in enumerate(printable_lines(text).split("`"))
    )


def _template(name: str) -> str:
    return (files("layerprobe.report.html") / "templates" / name).read_text(encoding="utf-8")


def _figure(figure: Figure, ids: _Ids) -> dict[str, Any]:
    """What the template shows of a figure: a picture of two for each kind of screen."""
    screens = ("wide", "narrow") if len(figure.pictures) > 1 else ("",)
    return {
        "caption": figure.caption,
        "files": figure.files,
        "pictures": [
            (
                screen,
                Markup(inline_svg(picture.svg, ids.next_picture(), figure.caption, ids.links(picture))),
            )
            for screen, picture in zip(screens, figure.pictures, strict=True)
        ],
    }


def _table(table: Table, ids: str) -> dict[str, Any]:
    """What the template shows of a table: texts for people, and values to sort by; rows have ids that begin so."""
    columns = table.paper_columns
    best = [table.best_rows(column) for column in columns]
    key = next((column for column in columns if column.align == "left"), None)
    rows: list[dict[str, Any]] = []
    for number, row in enumerate(table.rows):
        cells = [
            _cell(column, row, number in among, column is key) for column, among in zip(columns, best, strict=True)
        ]
        rows.append({"cells": cells, "marked": number in table.marked, "id": f"{ids}{number}" if ids else ""})
    first_apart = min(table.apart, default=len(rows))
    return {
        "title": table.title,
        "headings": [
            {"title": column.title, "look": _look(column, column is key), "kind": _kind(column, table.rows)}
            for column in columns
        ],
        "mark": MARK if table.marked else "",
        "rows": rows[:first_apart],
        "apart": rows[first_apart:],
        "notes": table.notes,
    }


def _look(column: Column, key: bool) -> str:
    return f"{column.align} key" if key else column.align


def _cell(column: Column, row: Mapping[str, Any], best: bool, key: bool) -> dict[str, Any]:
    value = row.get(column.name)
    text = column.paper_text(row)
    if isinstance(value, (int, float)):
        text = set_minus(text, "\N{MINUS SIGN}")
    return {
        "text": text,
        "value": value if is_known(value) else "",  # a float's text is all of it
        "look": f"{_look(column, key)} long" if len(text) > _LONG else _look(column, key),
        "best": best,
    }


def _kind(column: Column, rows: Sequence[Mapping[str, Any]]) -> str:
    """Whether a column is sorted by numbers or by letters."""
    values = [row.get(column.name) for row in rows if is_known(row.get(column.name))]
    return "number" if values and all(isinstance(value, (int, float)) for value in values) else "text"


def _words(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)
