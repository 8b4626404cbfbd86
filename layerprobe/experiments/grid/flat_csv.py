"""Nested plain values as a CSV file: a row per record, a column per dotted key, and back without a loss.

A cell holds a value as JSON, and text that can't be taken for JSON as it is. An empty cell is a key that the record
does not have; ``null`` is a value. NaN and infinities are written as Python's ``json`` writes them.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

from layerprobe.errors import LayerprobeError

_LONGEST_CELL = 2**30


def format_rows(records: Sequence[Mapping[str, Any]]) -> str:
    """The text of a CSV file that holds nested plain values.

    Columns stand in the order in which the records first name them, with those of one mapping side by side. A mapping
    that is empty, or has a key with a dot in it, is one cell.

    Example:
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


def parse_rows(text: str, name: str) -> list[dict[str, Any]]:
    """The records of a CSV file that ``format_rows`` wrote.

    Args:
        text: of the file.
        name: of the file, for messages.

    Raises:
        LayerprobeError: if a row has more or fewer cells than the heading, or two keys contradict each other.

    Example:
        >>> parse_rows('seed,config.lr,config.name\\n0,0.1,no\\n1,null,\\n', "runs.csv")
        [{'seed': 0, 'config': {'lr': 0.1, 'name': 'no'}}, {'seed': 1, 'config': {'lr': None}}]
    """
    csv.field_size_limit(_LONGEST_CELL)
    lines = list(csv.reader(io.StringIO(text)))
    if not lines:
        raise LayerprobeError(f"{name} is empty; a table has a line of headings at least")
    columns, *rows = lines
    found = []
    for number, row in enumerate(rows, 2):
        if len(row) != len(columns):
            raise LayerprobeError(
                f"{name}, row {number}: {len(row)} cells below {len(columns)} headings; restore the file"
            )
        found.append(_nest(dict(zip(columns, row, strict=True)), f"{name}, row {number}"))
    return found


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
    if isinstance(value, str) and not _is_json(value) and value:
        return value
    return json.dumps(value, ensure_ascii=False)


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
                raise LayerprobeError(f"{where}: both {parent} and {column} are given; restore the file")
        place[last] = _value(cell)
    return nested
