"""Columns that are asked for: by name or heading, in that order, in every format."""

import csv
import io
import json

import pytest

from layerprobe.errors import LayerprobeError
from layerprobe.report.tables.choice import choose_columns
from layerprobe.report.tables.ranking import ranking_table
from layerprobe.report.tables.table import render
from tests.helpers.records import RANKING

TABLE = ranking_table(RANKING)


def headings(*names: str) -> list[str]:
    return [column.title for column in choose_columns(TABLE, names).columns]


def test_columns_come_in_the_order_of_their_names_behind_the_layer() -> None:
    assert headings("efficiency", "S") == ["layer", "E", "from", "to", "S", "from", "to"]
    assert headings("D", "kind", "name") == ["D", "kind", "layer"]
    assert headings("S", "separation", "S*") == ["layer", "S", "from", "to"]
    assert headings("all") == [column.title for column in TABLE.columns]
    assert headings() == [column.title for column in TABLE.columns]


def test_every_format_has_these_columns_and_no_others() -> None:
    table = choose_columns(TABLE, ("quality", "shape"))
    (row, *_) = csv.DictReader(io.StringIO(render(table, "csv")))
    assert list(row) == ["name", "quality", "quality_low", "quality_high", "shape", "marked"]
    assert list(json.loads(render(table, "json"))["rows"][0]) == [*list(row)[:1], "shape", *list(row)[1:4], "marked"]
    assert render(table, "markdown").splitlines()[2] == "|  | layer | Q | shape |"
    assert " & layer & Q & shape \\\\" in render(table, "latex")
    assert render(table).splitlines()[1].split() == ["layer", "Q", "from", "to", "shape"]


def test_what_is_not_shown_unasked_can_be_asked_for() -> None:
    hidden = TABLE.further[0]
    assert hidden.name not in [column.name for column in TABLE.columns]
    assert hidden.title in headings(hidden.name)


def test_a_name_of_no_column_is_refused() -> None:
    with pytest.raises(LayerprobeError, match="--columns: the table has no column 'qualty'; closest: 'quality'"):
        choose_columns(TABLE, ("S", "qualty"))
