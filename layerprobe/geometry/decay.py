"""How fast the spectrum of a layer's features decays: alpha-ReQ."""

from __future__ import annotations

import math

import torch
from torch import Tensor

FIRST, LAST = 11, 100
"""The eigenvalues that the fit looks at, counted from 1, as in the authors' code."""
FEWEST = 10
"""Eigenvalues that a fit needs."""
_ROUNDING = 1e-7
"""Of the largest share: eigenvalues below it are rounding of float32 products."""


def fitted_shares(shares: Tensor) -> Tensor:
    """The eigenvalues from the eleventh to the hundredth, without those at the end that are rounding.

    Args:
        shares: descending, from ``layerprobe.geometry.dimensions.variance_spectrum``.
    """
    known = shares[:LAST]
    return known[FIRST - 1 : int((known > _ROUNDING * known[:1]).sum())]


def slope_weights(count: int) -> Tensor:
    """What the fit multiplies the logarithms of the eigenvalues by: their sum with these weights is the exponent.

    Weighted least squares of ln lambda_k on (-ln k, 1) with the weights 1 / k.

    Returns:
        (count,) float64, for the eigenvalues from the eleventh on.
    """
    k = torch.arange(FIRST, FIRST + count, dtype=torch.float64)
    x, weights = -k.log(), 1 / k
    centred = x - (weights @ x) / weights.sum()
    return weights * centred / (weights * centred.square()).sum()


def decay_exponent(shares: Tensor) -> float:
    """alpha of lambda_k ~ k^(-alpha), fitted to the eleventh to the hundredth eigenvalue of the covariance.

    Agrawal, Mondal, Ghosh and Richards (NeurIPS 2022) find the best features where alpha is near 1; larger alpha: fewer
    directions matter. The paper gives no range for the fit; range and weights are those of the authors' code
    (github.com/BARL-SSL/reptrix), which needs a hundred eigenvalues, where this takes those that there are.

    Args:
        shares: descending, from ``layerprobe.geometry.dimensions.variance_spectrum``.

    Returns:
        NaN without variance, or with fewer than twenty eigenvalues.

    Examples:
        >>> round(decay_exponent(torch.arange(1, 200, dtype=torch.float64) ** -1.5), 6)
        1.5
    """
    fitted = fitted_shares(shares)
    if len(fitted) < FEWEST or bool(fitted.isnan().any()):
        return math.nan
    return float(slope_weights(len(fitted)) @ fitted.log())
