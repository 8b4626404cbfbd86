"""Files that are malformed in every way, and the one error that reading them may raise."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from layerprobe.errors import LayerprobeError

Place = tuple[int | str, ...]
WRONG: tuple[Any, ...] = (None, True, "x", "\ud800", -1, 1.5, math.nan, 10**400, [], ["x"], {}, {"x": 1})


def kind_of(value: Any) -> str:
    """Values of the same kind may stand for each other."""
    if isinstance(value, bool) or value is None:
        return str(type(value).__name__)
    return {int: "number", float: "number", str: "text", list: "list", dict: "mapping"}[type(value)]


def is_wrong_for(value: Any, other: Any) -> bool:
    """Whether a value may not stand where another one does; a number may be too large, or not whole."""
    if kind_of(value) != kind_of(other):
        return other is not None or kind_of(value) != "number"  # null stands for a number that isn't defined
    if isinstance(value, str):
        return value == "\ud800"
    if kind_of(value) == "number":
        return value == 10**400 or math.isnan(value) or (isinstance(other, int) and isinstance(value, float))
    return isinstance(value, list) and value == ["x"] and bool(other) and kind_of(other[0]) != "text"


def places(values: Any, place: Place = ()) -> Iterator[Place]:
    yield place
    inside: Any = values.items() if isinstance(values, dict) else enumerate(values) if isinstance(values, list) else ()
    for key, value in inside:
        yield from places(value, (*place, key))


def at(values: Any, place: Place) -> Any:
    for key in place:
        values = values[key]
    return values


def spoiled(values: Any) -> Iterator[tuple[Place, str, Any]]:
    """The values with one key dropped, or one value replaced by one of another kind: where, what, and the result."""
    for place in places(values):
        original = at(values, place)
        if not place:
            yield from ((place, repr(wrong), wrong) for wrong in WRONG if kind_of(wrong) != "mapping")
            continue
        for wrong in WRONG:
            if is_wrong_for(wrong, original):
                changed = copy.deepcopy(values)
                at(changed, place[:-1])[place[-1]] = wrong
                yield place, repr(wrong), changed
        if isinstance(place[-1], str):
            changed = copy.deepcopy(values)
            del at(changed, place[:-1])[place[-1]]
            yield place, "dropped", changed


def refused(read: Callable[[Path], object], folder: Path, file: Path, *words: str) -> str:
    """The message of the one error that reading raises; empty where it raises none."""
    try:
        read(folder)
    except LayerprobeError as error:
        message = str(error)
        assert "\n" not in message and len(message) < 600, message
        assert file.name in message, message
        unwritten = "is not YAML (" in message  # there is no YAML for half a character
        assert unwritten or not words or any(word in message for word in words), f"{words} in {message}"
        return message
    return ""
