"""How wide text is in LaTeX: estimated from the widths of Computer Modern, the font of LaTeX's standard classes."""

from __future__ import annotations

TEXT_WIDTH = 397.0
"""Points of 5.5 inches, the width of the text in the style of NeurIPS, in which one column fills the page."""
SCRIPT = 0.8
"""How wide a subscript or superscript is, relative to text of 10 points."""
BOLD = 1.18
"""How wide bold text is, relative to upright text."""

_GROUPS = {
    2.78: "!',.:;il[]`",
    3.34: "- ",
    3.62: "I_",
    3.89: "()frstj",
    4.73: "?cez",
    5.01: '"$*/0123456789\\^{}~agoqvxyk',
    5.56: "JSbdhnpu",
    6.53: "FELZP",
    7.23: "BCTRw",
    7.79: "&+<=>@ADGHKNOQUVXY±",
    9.17: "#%Mm",
    10.28: "W|",
}
_WIDTHS = {character: width for width, characters in _GROUPS.items() for character in characters}
_OTHER = 7.79


def text_width(text: str) -> float:
    """The width of a line of upright text of 10 points, in points: no less than LaTeX sets it, and little more.

    Characters of other alphabets count as a capital letter.

    Examples:
        >>> text_width("0.812")
        22.82
    """
    return round(sum(_WIDTHS.get(character, _OTHER) for character in text), 2)
