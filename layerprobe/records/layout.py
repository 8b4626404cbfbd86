"""Where the features of a layer lie in space, as far as the network says so."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

VECTOR, SEQUENCE, GRID, MAP = "vector", "sequence", "grid", "map"
"""Kinds of layouts: a vector has no place; a sequence is of tokens whose places are not known; a grid is of tokens row
by row, behind the extra tokens; a map has height and width as axes of its own."""

PATCHES, CLASS_TOKEN, ALL_TOKENS = "patches", "cls", "all"
"""Which tokens of a layer are compared with another layer's."""


@dataclass(frozen=True)
class Layout:
    """How one image's features of a layer are laid out.

    Attributes:
        kind: ``VECTOR``, ``SEQUENCE``, ``GRID`` or ``MAP``.
        height: rows of positions; 1 of a vector and of a sequence.
        width: positions in a row; of a sequence all positions.
        prefix: extra tokens before those of the patches: the class token, which comes first, and registers.
        class_token: whether the first of them is the class token.
        channels_last: whether the channels are the last axis, as of tokens and of Swin's maps; else they are the first.
    """

    kind: str
    height: int = 1
    width: int = 1
    prefix: int = 0
    class_token: bool = False
    channels_last: bool = False

    @property
    def is_map_like(self) -> bool:
        """Whether rows and columns are known."""
        return self.kind in (GRID, MAP)

    @property
    def is_tokens(self) -> bool:
        """Whether positions are tokens, in a row."""
        return self.kind in (GRID, SEQUENCE)

    @property
    def positions(self) -> int:
        """How many positions there are, extra tokens not counted."""
        return self.height * self.width


class Shape(tuple[int, ...]):
    """The shape of one image's features that also knows how they are laid out.

    It is equal to the plain tuple. Whatever is made from the shapes of a pair of layers, such as a projector of a
    user's own, so gets their layouts, too.

    Attributes:
        layout: of the features.
        tokens: which of them are compared with another layer's: ``PATCHES``, ``CLASS_TOKEN``, ``ALL_TOKENS``; empty:
            the default.
    """

    layout: Layout
    tokens: str

    def __new__(cls, sizes: Iterable[int], layout: Layout, tokens: str = "") -> Shape:
        """The shape with these sizes."""
        shape = super().__new__(cls, sizes)
        shape.layout, shape.tokens = layout, tokens
        return shape

    def __getnewargs__(self) -> tuple[tuple[int, ...], Layout, str]:
        """What a copy is made from."""
        return tuple(self), self.layout, self.tokens


def layout_of(shape: tuple[int, ...]) -> Layout:
    """The layout that a shape knows, or, of a plain tuple, that which its numbers suggest.

    Those are read as the features of a square image without extra tokens: two axes are tokens, in a grid if it is
    square; three are a map, whose channels come last where the first two axes are equal and the last two are not.

    Args:
        shape: of one image's features.

    Raises:
        ValueError: if a plain tuple has more than three axes.

    Examples:
        >>> layout_of((7, 7, 768)).channels_last, layout_of((768, 7, 7)).channels_last
        (True, False)
        >>> layout_of((49, 768))
        Layout(kind='grid', height=7, width=7, prefix=0, class_token=False, channels_last=True)
    """
    if isinstance(shape, Shape):
        return shape.layout
    if not 1 <= len(shape) <= 3:
        raise ValueError(f"features of shape {shape} are neither a vector, tokens nor a map")
    if len(shape) == 1:
        return Layout(VECTOR)
    if len(shape) == 2:
        side = math.isqrt(shape[0])
        sides = (GRID, side, side) if side * side == shape[0] else (SEQUENCE, 1, shape[0])
        return Layout(*sides, channels_last=True)
    last = shape[0] == shape[1] != shape[2]
    height, width = shape[:2] if last else shape[1:]
    return Layout(MAP, height, width, channels_last=last)


def channels(shape: tuple[int, ...]) -> int:
    """Channels of a map, hidden size of tokens, length of a vector."""
    return shape[-1] if layout_of(shape).channels_last else shape[0]
