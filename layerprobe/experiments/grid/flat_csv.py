"""Nested plain values as a CSV file: a row per record, a column per dotted key, and back without a loss.

A cell holds a value as JSON, and text that can't be taken for JSON, or for a formula by a spreadsheet, as it is. An
empty cell is a key that the record does not have; ``null`` is a value. NaN and infinities are written as Python's
``json`` writes them.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from layerprobe.errors import FileError
from layerprobe.files import read_csv
from layerprobe.report.tables.escaping import begins_formula
from layerprobe.text import printable

_LONGEST_CELL = 2**30
_REMEDY = "restore the file"


def format_rows(records: Sequence[Mapping[str, Any]]) -> str:
    """The text of a CSV file that holds nested plain values.

    Columns stand in the order in which the records first name them, with those of one mapping side by side. A mapping
    that is empty, or has a key with a dot in it, is one cell.

    Examples:
        >>> print(format_rows([{"seed": 0, "config": {"lr": 0.1, "layers": ["a", "b"]}}, {"seed": 1}]), end="")
        seed,config.lr,config.layers
        0,0.1,"[""a"", ""b""]"
        1,,
    """
    rows = [_flatten(record) for record in records]
    columns = sorted({column: None for row in rows for column in row}, key=_by_first_appearance(rows))
    stream = io.StringIO()
    writer = csv.DictWriter(stream, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows({column: _cell(value) for column, value in row.items()} for row in rows)
    return stream.getvalue()


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The records of a CSV file with the text of ``format_rows``.

    Raises:
        LayerprobeError: if there is no such file, it isn't CSV or has no rows, a row has more or fewer cells than the
            heading, or two keys of a row contradict each other.
    """
    csv.field_size_limit(_LONGEST_CELL)
    rows = read_csv(path, "table", _REMEDY)
    if not rows:
        raise FileError(f"{path} holds no rows; {_REMEDY}")
    return [_nest(row, f"{path}: row {number}") for number, row in enumerate(rows, 1)]


def _flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping) and value and all(isinstance(name, str) and "." not in name for name in value):
            flat |= _flatten(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat


def _by_first_appearance(rows: Sequence[Mapping[str, Any]]) -> Any:
    """A sorting key for columns: every prefix, and then every column, by where it first stands."""
    places: dict[str, int] = {}
    for row in rows:
        for column in row:
            parts = column.split(".")
            for end in range(1, len(parts) + 1):
                places.setdefault(".".join(parts[:end]), len(places))

    def key(column: str) -> list[int]:
        parts = column.split(".")
        return [places[".".join(parts[:end])] for end in range(1, len(parts) + 1)]

    return key


def _cell(value: Any) -> str:
    if isinstance(value, str) and value and not (_is_json(value) or begins_formula(value)) and _is_seen(value):
        return value
    text = json.dumps(value, ensure_ascii=False)
    return text if _is_seen(text) else json.dumps(value)


def _is_seen(text: str) -> bool:
    """Whether every character shows, and none acts."""
    return printable(text) == text


def _value(cell: str) -> Any:
    try:
        return json.loads(cell)
    except ValueError:
        return cell


def _is_json(text: str) -> bool:
    return _value(text) is not text


def _nest(row: Mapping[str, str], where: str) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for column, cell in row.items():
        if not cell:
            continue
        *parents, last = column.split(".")
        place = nested
        for parent in parents:
            place = place.setdefault(parent, {})
            if not isinstance(place, dict):
                raise FileError(f"{where} has both {parent} and {column}; {_REMEDY}")
        place[last] = _value(cell)
    return nested
