"""Logarithmic axes with numbers as people write them."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axis import Axis
from matplotlib.ticker import LogFormatter, LogFormatterMathtext, LogLocator, MaxNLocator

_DECADE = 10
_LEAST, _MOST = 1e-4, 1e6
"""Numbers between which none needs an exponent."""


def label_plainly(axis: Axis) -> None:
    """Label a logarithmic axis with 0.6 and 20, not with 6e-01 and 2x10^1.

    An axis of less than a decade has round numbers at even distances, as a linear one has; another one its powers of
    ten, and others between them where there is room. Powers of ten beyond 1e-4 or a million are written as such, all
    of an axis alike.
    """
    axis.set_major_locator(_Locator())
    axis.set_major_formatter(_Major())
    axis.set_minor_formatter(_Minor(minor_thresholds=(2, 0.5), labelOnlyBase=False))


class _Locator(LogLocator):
    def tick_values(self, vmin: float, vmax: float) -> Sequence[float]:
        low, high = sorted((vmin, vmax))
        if low <= 0 or high >= _DECADE * low:
            return super().tick_values(vmin, vmax)
        ticks = MaxNLocator(nbins=5, steps=[1, 2, 5, 10]).tick_values(low, high)
        return [tick for tick in ticks if low <= tick <= high]


class _Major(LogFormatterMathtext):
    def format_ticks(self, values: Sequence[float]) -> list[str]:
        if all(_LEAST <= value < _MOST for value in values):
            return [f"{value:g}" for value in values]
        return [str(super(_Major, self).__call__(value)) for value in values]


class _Minor(LogFormatter):
    def __call__(self, x: float, pos: int | None = None) -> str:
        low, high = sorted(self.axis.get_view_interval()) if self.axis else (0, 0)
        plain = high >= _DECADE * low and low >= _LEAST and high < _MOST
        return f"{x:g}" if plain and super().__call__(x, pos) else ""
