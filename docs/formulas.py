"""A hook of MkDocs that sets formulas as MathML when the site is built.

A page then needs no script and no network to show them. A fence of ``math`` holds a formula of its own line, and
``$...$`` one within a sentence; GitHub shows both, too.
"""

import html
import re
from typing import Any

from latex2mathml.converter import convert

_INLINE = re.compile(r'<span class="arithmatex">\\\((.*?)\\\)</span>', re.DOTALL)
_BAR = re.compile("<mo[^>]*>&#x0007C;</mo>")


def on_config(config: Any) -> Any:
    """Sets fences of ``math`` as formulas."""
    fence = {"name": "math", "class": "formula", "format": _block}
    config["mdx_configs"].setdefault("pymdownx.superfences", {})["custom_fences"] = [fence]
    return config


def on_page_content(content: str, **_: Any) -> str:
    """Sets what ``pymdownx.arithmatex`` found within sentences."""
    return _INLINE.sub(lambda found: _mathml(html.unescape(found[1])), content)


def _block(source: str, language: str, name: str, options: Any, md: Any, **_: Any) -> str:
    return f'<div class="{name}">{_mathml(source, "block")}</div>'


def _mathml(latex: str, display: str = "inline") -> str:
    # The converter knows LaTeX's aligned equations by the name that they have outside of a formula.
    mathml = convert(latex.replace("{aligned}", "{align*}"), display=display)
    # Bars stand for a length here, and would have the space of a relation around them.
    return _BAR.sub('<mo stretchy="false" lspace="0" rspace="0">|</mo>', mathml)
