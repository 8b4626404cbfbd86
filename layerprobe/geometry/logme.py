"""LogME: how probable a layer's features make the labels."""

from __future__ import annotations

import math

import torch
from scipy.optimize import minimize_scalar
from torch import Tensor

from layerprobe.geometry.gram import products
from layerprobe.records import Gram

_GRID = torch.linspace(-16, 16, 129, dtype=torch.float64) * math.log(10)
"""Logarithms of the ratios alpha / beta that are tried first, in units of the mean eigenvalue."""


def log_maximum_evidence(gram: Gram) -> float:
    """The mean over classes of the logarithm of maximum evidence, per image.

    For each class y is 1 for its images and 0 for others; y = F w + noise with w ~ N(0, 1 / alpha) and noise
    ~ N(0, 1 / beta), and p(y | F, alpha, beta) is maximized over alpha and beta (You, Liu, Wang and Long, ICML 2021,
    equation 2 and algorithm 1). Features are not centred, as published.

    With t = alpha / beta, sigma the eigenvalues of F F^T and z the squared components of y along its eigenvectors, the
    best beta is n / q(t), q(t) = sum_k z_k t / (sigma_k + t), and what is left is one function of t:

        L(t) = (n ln(n / q) - n - n ln 2 pi + sum_k ln(t / (t + sigma_k))) / 2.

    It is maximized over t directly, where the published algorithm iterates to a fixed point, which is slow where the
    best alpha is infinite.

    Returns:
        Larger is better; it can be negative. Only values from the same images can be compared. NaN with one class, or
        all-zero features. Where the labels are exactly linear in fewer features than images there is no maximum; the
        value is then that of the smallest t tried, 1e-16 of the mean eigenvalue.
    """
    classes = torch.unique(gram.known_labels)
    if len(classes) < 2:
        return math.nan
    values, vectors = torch.linalg.eigh(products(gram))
    rank = min(len(values), gram.dimension)
    values, vectors = values[-rank:].clamp_min(0), vectors[:, -rank:]
    if not float(values.sum()) > 0:
        return math.nan
    targets = (gram.known_labels[:, None] == classes).double()
    squares = (vectors.T @ targets).square()
    outside = (targets.square().sum(dim=0) - squares.sum(dim=0)).clamp_min(0)
    evidences = [_best(values, squares[:, c], float(outside[c]), len(targets)) for c in range(len(classes))]
    return sum(evidences) / len(evidences) / len(targets)


def _best(values: Tensor, squares: Tensor, outside: float, n: int) -> float:
    unit = math.log(values.mean())
    best = int(_evidence(_GRID + unit, values, squares, outside, n).argmax())
    near = _GRID[max(best - 1, 0)] + unit, _GRID[min(best + 1, len(_GRID) - 1)] + unit
    found = minimize_scalar(
        lambda logarithm: -float(_evidence(torch.tensor([logarithm]), values, squares, outside, n)[0]),
        bounds=(float(near[0]), float(near[1])),
        method="bounded",
        options={"xatol": 1e-6},
    )
    return -float(found.fun)


def _evidence(logarithms: Tensor, values: Tensor, squares: Tensor, outside: float, n: int) -> Tensor:
    """L for each t = exp(logarithm); (t,)."""
    t = logarithms.double().exp()[:, None]
    kept = t / (values + t)
    q = (kept @ squares[:, None]).flatten() + outside
    return (n * torch.log(n / q) - n - n * math.log(2 * math.pi) + kept.log().sum(dim=1)) / 2
