"""Logarithmic axes with numbers as people write them."""

from __future__ import annotations

from matplotlib.axis import Axis
from matplotlib.ticker import LogFormatter


def label_plainly(axis: Axis) -> None:
    """Label a logarithmic axis with 0.6 and 20, not with 6e-01 and 2x10^1; between powers where there is room.

    Below 1e-4, and from a million on, numbers have an exponent, as ``%g`` gives it.
    """
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter(_Plain(minor_thresholds=(2, 0.5), labelOnlyBase=False))


class _Plain(LogFormatter):
    def __call__(self, x: float, pos: int | None = None) -> str:
        return f"{x:g}" if super().__call__(x, pos) else ""
