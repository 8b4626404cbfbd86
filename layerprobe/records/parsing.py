"""Records from the plain values of a file: each field is checked, and what is wrong is one line."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from layerprobe.errors import FileError, must_be, shown

Record = TypeVar("Record")


def parse(kind: type[Record], values: Any, where: Path | str, remedy: str) -> Record:
    """A record from plain values; keys that it doesn't have are passed over.

    Args:
        kind: of the record: a dataclass whose fields have the types of ``layerprobe.records.fields``, or such a type.
        values: of the file.
        where: the file, or the place in it, for messages.
        remedy: what to do where a value is missing or wrong.

    Raises:
        FileError: if a field is missing, or its value isn't what it must be.

    Examples:
        >>> from layerprobe.records import Interval
        >>> parse(Interval, {"low": 0, "high": 1, "level": "x"}, "f.json", "write it anew")
        Traceback (most recent call last):
        layerprobe.errors.FileError: f.json: level must be a number, not 'x'; write it anew
    """
    checked: Any = kind
    try:
        found: Record = _checks(checked).validate_python(values)
    except ValidationError as error:
        raise FileError(f"{where}{_complaint(error)}; {remedy}") from None
    return found


@cache
def _checks(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def _complaint(error: ValidationError) -> str:
    """The first of pydantic's complaints, with the field in front."""
    first = error.errors(include_url=False)[0]
    place, kind, context = first["loc"], first["type"], first.get("ctx", {})
    if kind == "missing":
        return f" has no {spelled(place)}"
    if place and place[-1] == "[key]":
        place, first["input"] = place[:-2], place[-2]
        return f": a key of {spelled(place) or 'it'} must be text, not {shown(first['input'])}"
    what = str(context["error"]) if "error" in context else must_be(kind, context)
    what = what or first["msg"].removeprefix("Input should be ")
    field = f": {spelled(place)}" if place else ""
    return f"{field} must be {what}, not {shown(first['input'])}"


def spelled(place: Sequence[int | str]) -> str:
    """Where a value stands in a file.

    Examples:
        >>> spelled(("layers", 0, "statistics", "sqrt-ie"))
        "layers[0].statistics['sqrt-ie']"
    """
    text = ""
    for part in place:
        if isinstance(part, str) and part.isidentifier():
            text += f".{part}" if text else part
        else:
            text += f"[{part!r}]"
    return text
