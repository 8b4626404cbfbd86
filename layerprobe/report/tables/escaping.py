"""Text that Markdown, LaTeX and spreadsheets show as it stands, whatever it is."""

from __future__ import annotations

import re
from contextlib import suppress

from layerprobe.text import printable

_MARKDOWN = re.compile(
    r"[\\`*<|~]"
    r"|&(?=#?\w+;)"  # characters by their names
    r"|(?<![^\W_])_|_(?![^\W_])"  # within a word it is plain
    r"|\](?=[(\[:])"  # links, images and their targets
    r"|(?<=http):|(?<=https):|(?<=ftp):|(?<=www)\.",  # addresses, which become links by themselves
    re.IGNORECASE,
)
_BLOCK = re.compile(r"[#>=]|[+-](?=\s|$)|\d+(?=[.)](?:\s|$))")
"""What begins a heading, a quotation or a list."""


def escape_markdown(text: str) -> str:
    r"""Text of a cell that makes no cell, line, HTML, emphasis, image or link of its own.

    Examples:
        >>> print(escape_markdown("<b>[here](http://x.org) a|b a_b"))
        \<b>[here\](http\://x.org) a\|b a_b
    """
    return _MARKDOWN.sub(lambda found: f"\\{found[0]}", printable(text).strip())


def escape_markdown_paragraph(text: str) -> str:
    r"""The same of a whole paragraph, which is no heading, quotation or list.

    Examples:
        >>> print(escape_markdown_paragraph("1. # a"), escape_markdown_paragraph("# a"))
        1\. # a \# a
    """
    escaped = escape_markdown(text)
    begin = _BLOCK.match(escaped)
    if begin is None:
        return escaped
    place = begin.end() if begin[0].isdecimal() else begin.start()  # a backslash before a digit is one
    return f"{escaped[:place]}\\{escaped[place:]}"


_LATEX = {character: f"\\{character}" for character in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "<": "$<$",
    ">": "$>$",
}


def escape_latex(text: str) -> str:
    r"""Text that LaTeX prints as it stands.

    Examples:
        >>> escape_latex("resnet_56: 50 %")
        'resnet\\_56: 50 \\%'
    """
    escaped = "".join(_LATEX.get(character, character) for character in printable(text))
    # Behind the end of a row these would be its options.
    return f"{{{escaped[0]}}}{escaped[1:]}" if escaped[:1] in ("[", "*") else escaped


def escape_csv(value: object) -> object:
    """A value that no spreadsheet takes for a formula: text that begins like one gets an apostrophe in front.

    Examples:
        >>> escape_csv("=1+1"), escape_csv("-1"), escape_csv(-1), escape_csv("layer1")
        ("'=1+1", '-1', -1, 'layer1')
    """
    if not isinstance(value, str):
        return value
    shown = printable(value)
    return f"'{shown}" if begins_formula(value) else shown


def begins_formula(text: str) -> bool:
    """Whether a spreadsheet would compute a text."""
    if not text.startswith(("=", "+", "-", "@", "\t", "\r")):
        return False
    with suppress(ValueError):
        float(text)
        return False
    return True
