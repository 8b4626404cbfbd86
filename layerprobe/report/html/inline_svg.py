"""A figure's SVG file as part of an HTML page."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree import ElementTree

from layerprobe.report.html.pictures import Place
from layerprobe.text import printable

_SVG, _XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
_REFERENCE = re.compile(r"url\(#([^)]+)\)")
_POINT = 96 / 72
"""CSS pixels in a point."""


@dataclass(frozen=True)
class Link:
    """A place of a figure that leads to a row of the page.

    Attributes:
        place: where it is.
        target: id of the row.
    """

    place: Place
    target: str


def inline_svg(text: str, prefix: str, label: str, links: Sequence[Link] = ()) -> str:
    """The ``svg`` element of a file, fit to stand beside others in one page.

    Its ids get a prefix, since a page has one space of names for all of them. The style sheet and the metadata are left
    out: the one would reach the whole page, the other links elsewhere. Its natural width in pixels is the style
    property ``--width``.

    Args:
        text: of the file.
        prefix: of its ids, of letters and digits.
        label: what it shows, for those who can't see it.
        links: from its parts to rows of the page.
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
    _, _, across, down = map(float, root.attrib["viewBox"].split())
    root.extend(_linked(link, across, down) for link in links)
    for name in ("width", "height", "version"):
        root.attrib.pop(name, None)
    role = "group" if links else "img"  # what is inside an img is not read out
    root.attrib |= {"role": role, "aria-label": label, "style": f"--width: {across * _POINT:.0f}px"}
    return ElementTree.tostring(root, encoding="unicode")


def _linked(link: Link, across: float, down: float) -> ElementTree.Element:
    """A transparent rectangle that is a link, in a figure of this size."""
    place = link.place
    anchor = ElementTree.Element(
        "a", {"class": "place", "href": f"#{link.target}", "aria-label": printable(place.label)}
    )
    sides = {"x": place.left * across, "y": place.top * down, "width": place.width * across}
    sides["height"] = place.height * down
    ElementTree.SubElement(anchor, "rect", {name: f"{value:.2f}" for name, value in sides.items()})
    return anchor


def _renamed(name: str, value: str, prefix: str) -> str:
    """An attribute's value, with the ids in it."""
    if name == "id":
        return f"{prefix}-{value}"
    if name.endswith("href") and value.startswith("#"):
        return f"#{prefix}-{value[1:]}"
    return _REFERENCE.sub(rf"url(#{prefix}-\1)", value)
