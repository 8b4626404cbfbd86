"""Text that came from outside, made harmless where it is shown: names in files, of layers, classes and folders."""

from __future__ import annotations

import re

_ACTS = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Characters that act instead of being seen: controls and escape sequences, ends of lines, directions of writing, and
halves of a character, which no encoding has."""


def printable(text: str) -> str:
    r"""Text of one line that does nothing to a terminal: what would act stands there as Python writes it.

    Examples:
        >>> print(printable("red \x1b[31m, back \u202e"))
        red \x1b[31m, back \u202e
    """
    return _ACTS.sub(lambda found: repr(found[0])[1:-1], text)


def printable_lines(text: str) -> str:
    """The same of a text that may have several lines."""
    return "\n".join(map(printable, text.split("\n")))
