"""What tells lines, points and classes apart: colours, and without colours line styles and markers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from layerprobe.distill.methods.catalogue import METHODS
from layerprobe.geometry.catalogue import STATISTICS, shown_in

# After Okabe and Ito, with darker colours for those that are pale on white: each has a contrast of 3.9 or more with
# it. Line styles and markers keep the lines apart without colours.
COLOURS = ("#0072B2", "#D55E00", "#00916A", "#C05C97", "#7A5A00", "#332288", "#000000")
LINES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 1)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
# After Paul Tol's muted palette, with a contrast of 3.7 or more: for classes, of which there are more than lines.
CLASS_COLOURS = (
    "#332288", "#CC6677", "#2A8C7C", "#A67C00", "#882255", "#2E86C1", "#117733", "#AA4499", "#7A7A26", "#000000",
)  # fmt: skip
SELECTED = "#F7DFB0"
"""Behind what was chosen: a tint that leaves lines and numbers legible."""
MAP = "cividis"
"""Colours of heat maps: even steps of lightness, the same to the colour-blind."""


@dataclass(frozen=True)
class Look:
    """What tells a line, or a point, from the others.

    Attributes:
        colour: of the palette.
        line: its style.
        marker: its shape.
        hollow: whether the marker is white inside.
    """

    colour: str
    line: Any
    marker: str
    hollow: bool = False

    @property
    def face(self) -> str:
        """The colour inside the marker."""
        return "white" if self.hollow else self.colour


def look(number: int) -> Look:
    """The look of the n-th of several lines: 49 are apart in colour, and in grey by line and marker; 14 by marker."""
    turn, place = divmod(number, len(COLOURS))
    marker, line = (place + 3 * turn) % len(MARKERS), (place + turn) % len(LINES)
    return Look(COLOURS[place], LINES[line], MARKERS[marker], hollow=turn % 2 == 1)


def statistic_look(name: str) -> Look:
    """The look of a statistic, the same in every figure; of the user's own the last one, black."""
    if name not in STATISTICS or not STATISTICS[name].figures:
        return look(len(COLOURS) - 1)
    together = [one.name for one in shown_in(STATISTICS[name].figures[0])]
    return look(together.index(name))


def method_looks(methods: Mapping[str, str]) -> dict[str, Look]:
    """A look for every label of a grid: that of its method, the same in every grid, for the first label of each.

    The others, such as further choices of layers and the user's own methods, have the first looks that are free.

    Args:
        methods: the method of every label, in the order of the grid.
    """
    own: dict[str, int] = {}
    for label, method in methods.items():
        place = list(METHODS).index(method) if method in METHODS else -1
        if place >= 0 and place not in own.values():
            own[label] = place
    free = (number for number in range(len(METHODS) + len(methods)) if number not in own.values())
    return {label: look(own[label] if label in own else next(free)) for label in methods}
