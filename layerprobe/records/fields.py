"""The types of values that lie on disk: what a number, a count or a text in a file must be.

Records are plain frozen dataclasses. The types of their fields say what ``layerprobe.records.parsing`` accepts where
such a record is read from a file; a record that is made in Python is not checked.
"""

from __future__ import annotations

import math
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, Strict
from pydantic.types import AllowInfNan

LARGEST = 2**63 - 1
"""The largest whole number that is taken from a file."""


def _writable(text: str) -> str:
    """Text that has half a character can't be printed or written."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise ValueError("text of whole characters") from None
    return text


def _hash(text: str) -> str:
    if len(text) != 64 or set(text) - set("0123456789abcdef"):
        raise ValueError("64 hexadecimal digits")
    return text


def _nan_for_null(value: Any) -> Any:
    """JSON has null where a number isn't defined."""
    return math.nan if value is None else value


def _not_infinite(value: float) -> float:
    if math.isinf(value):
        raise ValueError("a finite number, or null")
    return value


Text = Annotated[str, Strict(), AfterValidator(_writable)]
Name = Annotated[Text, Field(min_length=1)]
"""Text that isn't empty."""
Sha256 = Annotated[Text, AfterValidator(_hash)]
Whole = Annotated[int, Strict(), Field(ge=-LARGEST, le=LARGEST)]
Count = Annotated[int, Strict(), Field(ge=0, le=LARGEST)]
"""A number of things, or a position."""
Positive = Annotated[int, Strict(), Field(ge=1, le=LARGEST)]
"""A number of things, at least one."""
Flag = Annotated[bool, Strict()]
Number = Annotated[float, Strict(), AllowInfNan(False)]
"""A finite number."""
Above0 = Annotated[Number, Field(gt=0)]
From0 = Annotated[Number, Field(ge=0)]
"""A finite number, not below 0."""
Share = Annotated[Number, Field(ge=0, le=1)]
Percent = Annotated[Number, Field(ge=0, le=100)]
Defined = Annotated[float, Strict(), BeforeValidator(_nan_for_null), AfterValidator(_not_infinite)]
"""A finite number, or NaN where it is not defined: null in JSON."""
