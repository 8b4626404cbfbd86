"""How far statistics of a spectrum would scatter if other images were drawn: by their influence functions.

With an image more, an eigenvalue of the covariance grows by lambda_k (n v_ki^2 - 1) / n to first order, v_k the k-th
eigenvector of the Gram matrix. A function of the spectrum then changes by the mean of what the drawn images do to it,
and hundreds of spectra need not be computed. Where a spectrum is cut off by the number of images this is an
approximation; docs/uncertainty.md says how often the intervals hold what they should.
"""

from __future__ import annotations

import torch
from torch import Tensor

from layerprobe.geometry.decay import FIRST, fitted_shares, slope_weights
from layerprobe.geometry.dimensions import RANKME_EPSILON, effective_rank, participation_ratio, rankme
from layerprobe.geometry.gram import products
from layerprobe.geometry.half_draws import deviations_of_halves, halves
from layerprobe.geometry.spectrum import double_centre
from layerprobe.records import Gram

Influences = dict[str, Tensor]
"""Of statistics by name what every image does to them, (n,) float64, up to a constant."""


def dimension_deviations(gram: Gram, resamples: int, seed: int) -> Influences:
    """How far ``effective-rank``, ``participation-ratio`` and ``alpha-req`` lie from what is expected, (R,) each.

    Args:
        gram: of the layer.
        resamples: R, a multiple of four.
        seed: of the draws; give every layer of one sample the same.
    """
    values, leverage = _decomposed(double_centre(gram.centred), min(gram.images - 1, gram.dimension))
    return _scattered(_dimension_influences(values / values.sum(), leverage), gram, resamples, seed)


def _dimension_influences(shares: Tensor, leverage: Tensor) -> Influences:
    """From the shares of variance p (K,) and n v_ki^2 (n, K)."""
    rank, ratio = effective_rank(shares), participation_ratio(shares)
    entropy = torch.special.entr(shares).sum()
    slope = torch.where(shares > 0, shares * (shares.log() + entropy), 0.0)
    squares = shares.square() - shares * shares.square().sum()
    fitted = len(fitted_shares(shares))
    return {
        "effective-rank": -rank * (leverage @ slope),
        "participation-ratio": -2 * ratio**2 * (leverage @ squares),
        "alpha-req": leverage[:, FIRST - 1 : FIRST - 1 + fitted] @ slope_weights(fitted),
    }


def rankme_deviations(gram: Gram, resamples: int, seed: int) -> Influences:
    """How far ``rankme`` lies from what is expected; see ``dimension_deviations``."""
    values, leverage = _decomposed(products(gram), min(gram.images, gram.dimension))
    shares = values.sqrt() / values.sqrt().sum()
    logarithms = (shares + RANKME_EPSILON).log()
    slope = shares * (logarithms - shares @ logarithms) / 2
    return _scattered({"rankme": -rankme(shares) * (leverage @ slope)}, gram, resamples, seed)


def _decomposed(kernel: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The largest eigenvalues, (K,), and n v_ki^2, (n, K), float64.

    They are computed in float32, which takes half the time: the spread changes by less than half a per cent of it.
    """
    values, vectors = torch.linalg.eigh(kernel.float())
    values, vectors = values.flip(0)[:count], vectors.flip(1)[:, :count]
    return values.double().clamp_min(0), vectors.double().square() * len(vectors)


def _scattered(influences: Influences, gram: Gram, resamples: int, seed: int) -> Influences:
    """The deviations of means of influences over halves of the sample."""
    drawn = halves(gram, resamples, seed).double()
    drawn /= drawn.sum(dim=1, keepdim=True)
    return {name: deviations_of_halves(drawn @ influence) for name, influence in influences.items()}
