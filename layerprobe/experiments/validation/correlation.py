"""Rank correlations with intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence

from scipy.stats import kendalltau, norm, spearmanr

from layerprobe.types import Interval


def spearman(first: Sequence[float], second: Sequence[float]) -> float:
    """Spearman's rho; NaN with fewer than three pairs, or where one side is constant."""
    return float(spearmanr(first, second).statistic) if _defined(first, second) else math.nan


def kendall(first: Sequence[float], second: Sequence[float]) -> float:
    """Kendall's tau-b; NaN with fewer than three pairs, or where one side is constant."""
    return float(kendalltau(first, second).statistic) if _defined(first, second) else math.nan


def spearman_interval(rho: float, count: int, level: float = 0.95) -> Interval:
    """Interval of Spearman's rho: Fisher's z with standard error sqrt((1 + rho^2 / 2) / (n - 3)).

    Source: Bonett and Wright, Psychometrika 65 (2000), equation 4. It takes the candidates for a sample; that the
    accuracies themselves are means over few seeds is part of the scatter. NaN with fewer than five pairs.
    """
    error = math.sqrt((1 + rho**2 / 2) / (count - 3)) if count >= 5 else math.nan
    return _fisher(rho, error, level)


def kendall_interval(tau: float, count: int, level: float = 0.95) -> Interval:
    """Interval of Kendall's tau: Fisher's z with standard error sqrt(0.437 / (n - 4)).

    Source: Fieller, Hartley and Pearson, Biometrika 44 (1957). NaN with fewer than five pairs.
    """
    error = math.sqrt(0.437 / (count - 4)) if count >= 5 else math.nan
    return _fisher(tau, error, level)


def _fisher(value: float, error: float, level: float) -> Interval:
    if math.isnan(value) or math.isnan(error):
        return Interval(math.nan, math.nan, level)
    if abs(value) >= 1:
        return Interval(value, value, level)
    reach = float(norm.ppf((1 + level) / 2)) * error
    return Interval(math.tanh(math.atanh(value) - reach), math.tanh(math.atanh(value) + reach), level)


def _defined(first: Sequence[float], second: Sequence[float]) -> bool:
    return len(first) >= 3 and len(set(first)) > 1 and len(set(second)) > 1
