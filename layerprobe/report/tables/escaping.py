"""Text that Markdown and LaTeX print as it stands."""

from __future__ import annotations


def escape_markdown(text: str) -> str:
    """Text that neither ends a cell nor begins HTML."""
    return text.replace("|", "\\|").replace("<", "\\<")


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

    Example:
        >>> escape_latex("resnet_56: 50 %")
        'resnet\\_56: 50 \\%'
    """
    return "".join(_LATEX.get(character, character) for character in text)
