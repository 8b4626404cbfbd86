"""Text in a figure: shown as it is written, and fitted to its place, measured in the font that it is set in."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator
from typing import Literal, TypeAlias

import matplotlib
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path

from layerprobe.report.tables.escaping import escape_latex
from layerprobe.text import printable

FontSize: TypeAlias = (
    float | Literal["axes.titlesize", "axes.labelsize", "ytick.labelsize", "legend.fontsize", "figure.titlesize"]
)
"""Points, or the name of matplotlib's parameter that says how many."""
ELLIPSIS = "\N{HORIZONTAL ELLIPSIS}"
"""Stands for the middle of a text that is too long for its place."""
_HINTED = 1.04
"""Letters on a grid of pixels, as in PNG files, are wider by up to so much than those of a PDF file."""
_WORDS, _SIGNS = re.compile(r"(?<=\s)"), re.compile(r"(?<=[./:_-])")
"""Where a line may end: behind a space; in a long word behind a sign that joins the parts of a name."""


def as_written(text: str) -> str:
    r"""Text that came from outside as a figure's label: no formula, no LaTeX, and a line in front hides nothing.

    Examples:
        >>> as_written("_5$")
        ' _5\\$'
    """
    shown = printable(text)
    if matplotlib.rcParams["text.usetex"]:  # a style sheet may ask for it
        return escape_latex(shown)
    return f"{' ' if shown.startswith('_') else ''}{shown}".replace("$", r"\$")


def begin_sentence(text: str) -> str:
    """A text with a capital letter at its beginning; the others stay."""
    return text[:1].upper() + text[1:]


def text_width(text: str, size: FontSize, bold: bool = False) -> float:
    """The width of a line of text in inches.

    Args:
        text: the line.
        size: of the font.
        bold: whether it is set in bold.
    """
    points = matplotlib.rcParams[size] if isinstance(size, str) else size
    font = FontProperties(size=points, weight="bold" if bold else "normal")
    width, _, _ = text_to_path.get_text_width_height_descent(printable(text), font, ismath=False)
    return _HINTED * float(width) / 72


def fitted(text: str, width: float, size: FontSize, lines: int = 3) -> str:
    """A label in lines that fit a width, as ``as_written`` shows it.

    Text that needs more lines than there may be loses its middle, and an ellipsis says so.

    Args:
        text: of the label.
        width: in inches.
        size: of the font.
        lines: how many there may be.
    """
    shown = printable(text)
    wrapped = _wrap(shown, width, size)
    if len(wrapped) > lines:
        kept = bisect_left(
            range(len(shown)), True, key=lambda kept: len(_wrap(_elide(shown, kept), width, size)) > lines
        )
        wrapped = _wrap(_elide(shown, max(0, kept - 1)), width, size)
    return "\n".join(map(as_written, wrapped))


def _elide(text: str, kept: int) -> str:
    end = kept // 2
    return f"{text[: kept - end]}{ELLIPSIS}{text[len(text) - end :]}"


def _wrap(text: str, width: float, size: FontSize) -> list[str]:
    """Lines of a text that are no wider."""
    lines = [""]
    for part in _parts(text, width, size):
        if lines[-1] and text_width((lines[-1] + part).rstrip(), size) > width:
            lines.append("")
        lines[-1] += part
    return [line.rstrip() for line in lines]


def _parts(text: str, width: float, size: FontSize) -> Iterator[str]:
    """What stays together in a line: words, or parts of those that are wider than a line."""
    for word in _WORDS.split(text):
        fits = text_width(word.rstrip(), size) <= width
        for part in [word] if fits else _SIGNS.split(word):
            yield from [part] if fits or text_width(part.rstrip(), size) <= width else part
