"""The difference between two methods over the seeds, or the pairs, that both have."""

from __future__ import annotations

import math
import statistics
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from layerprobe.records import Interval

Key = TypeVar("Key", bound=Hashable)

LEVEL = 0.95
"""Of the interval."""
_ROUNDING = 1e-12
"""Deviations below this share of the largest value are rounding."""


@dataclass(frozen=True)
class PairedDifference:
    """How far a method is ahead of another one.

    Attributes:
        mean: of the differences; NaN without a pair.
        pairs: how many seeds, or whatever else was paired, both have.
        p_value: of the two-sided paired t-test; NaN with fewer than two pairs, and where all differences are equal: the
            test says nothing then.
        interval: of the mean, by Student's t; NaN likewise.
    """

    mean: float
    pairs: int
    p_value: float
    interval: Interval

    def cells(self, name: str) -> dict[str, float | int]:
        """Its numbers under the keys of a column with ``interval``, with ``NAME_pairs`` and ``NAME_p``."""
        return {
            name: self.mean,
            f"{name}_low": self.interval.low,
            f"{name}_high": self.interval.high,
            f"{name}_pairs": self.pairs,
            f"{name}_p": self.p_value,
        }


def paired_difference(method: Mapping[Key, float], reference: Mapping[Key, float]) -> PairedDifference:
    """A method's values minus a reference's, key by key: seed by seed, or pair by pair.

    With the n differences of the common keys, their mean m and sample standard deviation s, ``t = m / (s / sqrt(n))``
    has Student's distribution with n - 1 degrees of freedom if the differences are normal and their mean is zero.

    Args:
        method: values by key.
        reference: values by key.

    Examples:
        >>> found = paired_difference({0: 81.0, 1: 83.0, 2: 82.0, 3: 90.0}, {0: 80.0, 1: 80.0, 2: 80.0})
        >>> found.mean, found.pairs, round(found.p_value, 4)
        (2.0, 3, 0.0742)
    """
    from scipy import stats

    common = [key for key in method if key in reference]
    differences = [method[key] - reference[key] for key in common]
    count = len(differences)
    mean = statistics.mean(differences) if differences else math.nan
    deviation = statistics.stdev(differences) if count > 1 else math.nan
    if count < 2 or deviation <= _ROUNDING * max(max(abs(method[key]), abs(reference[key])) for key in common):
        return PairedDifference(mean, count, math.nan, Interval(math.nan, math.nan, LEVEL))
    error = deviation / math.sqrt(count)
    half = float(stats.t.ppf((1 + LEVEL) / 2, count - 1)) * error
    p_value = 2 * float(stats.t.sf(abs(mean) / error, count - 1))
    return PairedDifference(mean, count, p_value, Interval(mean - half, mean + half, LEVEL))
