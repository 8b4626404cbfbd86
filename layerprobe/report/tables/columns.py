"""A column of a table: which values it holds, and how people read them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

MISSING = "-"
_MINUS = re.compile(r"(?<![\w.])-(?=[\d.])")


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        name: key of its values in the rows, and its name for machines.
        title: its heading for people.
        align: ``left`` or ``right``.
        digits: decimals of a number for people; None: as it is.
        thousands: whether integers get thousands separators for people.
        best: ``max`` or ``min``: the best value is set in bold in a paper; empty: none is.
        interval: whether rows have ``NAME_low`` and ``NAME_high``; a paper shows them as ``value [low, high]``.
        spread: whether rows have ``NAME_std`` and ``NAME_n``; people read ``mean ± std (n)``.
        signed: whether numbers above zero get a plus for people.
        least: numbers from zero up to it are shown as ``< least``; 0: none are.
        paper: whether papers and machines get the column; False: it repeats an interval for the terminal.
        latex: whether it stands in LaTeX unless other columns are asked for.
        key: whether it says what a row is of: it stands beside all columns that are asked for, and in every part of a
            table that is too wide for a page.
        joined: whether it stays beside the column before it where a table is divided.
    """

    name: str
    title: str
    align: Literal["left", "right"] = "right"
    digits: int | None = None
    thousands: bool = False
    best: Literal["", "max", "min"] = ""
    interval: bool = False
    spread: bool = False
    signed: bool = False
    least: float = 0.0
    paper: bool = True
    latex: bool = True
    key: bool = False
    joined: bool = False

    def text(self, value: object) -> str:
        """A value for people."""
        if not is_known(value):
            return MISSING
        if isinstance(value, float) and 0 <= value < self.least:
            return f"< {self.least:g}"
        if isinstance(value, float) and self.digits is not None:
            rounded = round(value, self.digits) + 0.0  # no minus before a zero
            return f"{rounded:+.{self.digits}f}" if self.signed and rounded else f"{rounded:.{self.digits}f}"
        if isinstance(value, int) and self.thousands:
            return f"{value:,}"
        return str(value)

    def row_text(self, row: Mapping[str, Any]) -> str:
        """A row's value for people, with its deviation and count where the column has them."""
        text = self.text(row.get(self.name))
        if not self.spread or text == MISSING:
            return text
        deviation, count = row.get(f"{self.name}_std"), row.get(f"{self.name}_n")
        if is_known(deviation):
            text = f"{text} ± {self.text(deviation)}"
        return f"{text} ({count})" if is_known(count) else text

    def paper_text(self, row: Mapping[str, Any]) -> str:
        """A row's value for a paper, with its interval too."""
        text = self.row_text(row)
        ends = [row.get(f"{self.name}_{end}") for end in ("low", "high")]
        if not self.interval or text == MISSING or not all(map(is_known, ends)):
            return text
        return f"{text} [{self.text(ends[0])}, {self.text(ends[1])}]"

    @property
    def keys(self) -> tuple[str, ...]:
        """Names of its values for machines."""
        parts = [*(["std", "n"] if self.spread else []), *(["low", "high"] if self.interval else [])]
        return (self.name, *(f"{self.name}_{part}" for part in parts))


def set_minus(text: str, sign: str) -> str:
    """A text with another sign for the minus before its numbers; exponents keep theirs.

    Examples:
        >>> set_minus("-1.5 [-2e-07, 1] a-1", "~")
        '~1.5 [~2e-07, 1] a-1'
    """
    return _MINUS.sub(lambda found: sign, text)


def is_known(value: object) -> bool:
    """Whether there is a value: neither None nor NaN."""
    return value is not None and not (isinstance(value, float) and math.isnan(value))
