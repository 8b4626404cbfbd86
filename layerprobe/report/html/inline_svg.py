"""A figure's SVG file as part of an HTML page."""

from __future__ import annotations

import re
from xml.etree import ElementTree

_SVG, _XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
_REFERENCE = re.compile(r"url\(#([^)]+)\)")
_POINT = 96 / 72
"""CSS pixels in a point."""


def inline_svg(text: str, prefix: str, label: str) -> str:
    """The ``svg`` element of a file, fit to stand beside others in one page.

    Its ids get a prefix, since a page has one space of names for all of them. The style sheet and the metadata are left
    out: the one would reach the whole page, the other links elsewhere. Its natural width in pixels is the style
    property ``--width``.

    Args:
        text: of the file.
        prefix: of its ids, of letters and digits.
        label: what it shows, for those who can't see it.
    """
    root = ElementTree.fromstring(text)
    for parent in list(root.iter()):
        for child in [one for one in parent if one.tag.rpartition("}")[2] in ("metadata", "style")]:
            parent.remove(child)
    for element in root.iter():
        element.tag = element.tag.removeprefix(f"{{{_SVG}}}")
        element.attrib = {
            name.removeprefix(f"{{{_XLINK}}}"): _renamed(name, value, prefix) for name, value in element.attrib.items()
        }
    width = float(root.attrib["viewBox"].split()[2]) * _POINT
    for name in ("width", "height", "version"):
        root.attrib.pop(name, None)
    root.attrib |= {"role": "img", "aria-label": label, "style": f"--width: {width:.0f}px"}
    return ElementTree.tostring(root, encoding="unicode")


def _renamed(name: str, value: str, prefix: str) -> str:
    """An attribute's value, with the ids in it."""
    if name == "id":
        return f"{prefix}-{value}"
    if name.endswith("href") and value.startswith("#"):
        return f"#{prefix}-{value[1:]}"
    return _REFERENCE.sub(rf"url(#{prefix}-\1)", value)
