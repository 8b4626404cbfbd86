"""How well a layer tells images apart whatever was done to them: LiDAR and InfoNCE, from several views of each."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from layerprobe.geometry.gram import norms, products
from layerprobe.geometry.half_draws import deviations_of_halves, halves_of
from layerprobe.geometry.spectrum import double_centre
from layerprobe.records import Gram

REGULARISER = 1e-4
"""delta, which Thilak et al. add to the variance within images in every direction."""
EPSILON = 1e-7
"""What they add to every share."""
_ROUNDING = 1e-6
"""Of the largest variance within images: directions with less are rounding of float32 products."""
TEMPERATURE = 0.1
"""Of the cosines in InfoNCE, as Skean et al. have it."""


@dataclass(frozen=True, eq=False)
class Discriminant:
    """The directions that tell images apart, each scaled to variance 1 within images.

    Attributes:
        eigenvalues: (K,) float64, of Sigma_w^(-1) Sigma_b, descending: the variance of the images' means.
        means: (n, K) float64, the squared distance of an image's mean from that of all, along each direction.
        within: (n, K) float64, the mean square of its views' distances from its mean.
    """

    eigenvalues: Tensor
    means: Tensor
    within: Tensor


def lidar(gram: Gram | None, views: int = 2) -> float:
    """exp of the entropy of the spectrum of Sigma_w^(-1/2) Sigma_b Sigma_w^(-1/2): the rank of discriminant analysis
    where every image is a class and its views are the members.

    Sigma_b is the covariance of the images' means over their views, Sigma_w the mean covariance of the views of an
    image, plus 1e-4 in every direction; p_k = lambda_k / sum(lambda) + 1e-7 (Thilak et al., ICLR 2024, equations 1 to
    4). The 1e-4 makes it depend on the scale of the features, as published.

    Args:
        gram: of all views of the images: those of the first view in order, then those of the second, and so on; None:
            there is one view alone, and no value.
        views: how many there are, at least two.

    Returns:
        From 1 to min(n - 1, D), n images; NaN where all means are equal.
    """
    return math.nan if gram is None else _rank(discriminant(gram, views).eigenvalues)


def _rank(eigenvalues: Tensor) -> float:
    total = eigenvalues.sum()
    if not float(total) > 0:
        return math.nan
    return math.exp(float(torch.special.entr(eigenvalues / total + EPSILON).sum()))


def discriminant(gram: Gram, views: int = 2) -> Discriminant:
    """The discriminant analysis of ``lidar``, from the Gram matrix alone.

    The differences between views that an orthonormal (V - 1, V) matrix of contrasts takes have the products of the
    residuals. With their principal directions w_k, of variance s_k, and B the (n, D) centred means, the eigenvalues are
    those of the n x n matrix

        (sum_k (B w_k)(B w_k)^T / (s_k + delta) + (B B^T - sum_k (B w_k)(B w_k)^T) / delta) / n.

    Args:
        gram: as ``lidar`` has it.
        views: how many there are.
    """
    n, total = gram.images // views, gram.images
    kernel = double_centre(gram.centred).reshape(views, n, views, n)
    contrasts = _contrasts(views)
    means, across = kernel.mean(dim=(0, 2)), torch.einsum("vnwm,bw->nbm", kernel, contrasts) / views
    between = torch.einsum("av,vnwm,bw->anbm", contrasts, kernel, contrasts).reshape(total - n, total - n)
    values, vectors = torch.linalg.eigh(between)
    rank = min(total - n, gram.dimension)
    values, vectors = values[-rank:].clamp_min(0), vectors[:, -rank:]
    known = values > _ROUNDING * values.max()
    values, vectors = values[known], vectors[:, known]
    along = across.reshape(n, total - n) @ vectors / values.sqrt()
    scaled = along / (values / total + REGULARISER)
    matrix = scaled @ along.T
    if len(values) < gram.dimension:  # else the residuals span all directions, and nothing is left but rounding
        matrix = matrix + (means - along @ along.T) / REGULARISER
    found, axes = torch.linalg.eigh(matrix / n)
    found, axes = (one.flip(-1)[..., : min(n - 1, gram.dimension)] for one in (found.clamp_min(0), axes))
    residuals = (vectors * values.sqrt()) @ (scaled.T @ axes) / (n * found).sqrt()
    within = residuals.square().nan_to_num(0, 0, 0).reshape(views - 1, n, -1).sum(dim=0) / views
    return Discriminant(found, n * found * axes.square(), within)


def _contrasts(views: int) -> Tensor:
    """(V - 1, V) float64 with orthonormal rows that sum to 0."""
    steps = torch.eye(views, dtype=torch.float64)[:, 1:] - torch.eye(views, dtype=torch.float64)[:, :-1]
    rows: Tensor = torch.linalg.qr(steps)[0].T
    return rows


def info_nce(gram: Gram | None) -> float:
    """How surely an image is known among all others by another view of it: 1 - loss / ln n, with the loss InfoNCE.

    The loss is the mean cross entropy of the softmax of cosines / 0.1, from the first view to the second and back (van
    den Oord, Li and Vinyals, 2018); ln n - loss bounds the mutual information of the views from below. Skean et al.
    (ICML 2025) measure the layers of a network by it, from the first view to the second alone.

    Args:
        gram: of both views of the images: those of the first in order, then those of the second; None: there is one
            view alone, and no value.

    Returns:
        At most 1; near 0 by chance, below for confident errors. NaN with a single image, or all-zero features.
    """
    if gram is None:
        return math.nan
    losses, _ = _losses(gram)
    return 1 - float(losses.mean()) / math.log(losses.shape[1]) if losses.shape[1] > 1 else math.nan


def _losses(gram: Gram) -> tuple[Tensor, Tensor]:
    """Of every image its cross entropy, and what it does to that of the others: the sum over these of the probability
    that it is taken for them. (2, n) float64 each, from the first view to the second and back; NaN for features that
    are all zero."""
    n, lengths = gram.images // 2, norms(gram)
    logits = products(gram)[:n, n:] / lengths[:n, None] / lengths[n:] / TEMPERATURE
    if not bool((lengths > 0).all()):
        logits = torch.full_like(logits, torch.nan)
    likely = [one.log_softmax(dim=1) for one in (logits, logits.T)]
    losses = torch.stack([-one.diagonal() for one in likely])
    return losses, torch.stack([one.exp().sum(dim=0) for one in likely]) - (-losses).exp()


def view_deviations(gram: Gram | None, resamples: int, seed: int) -> dict[str, Tensor]:
    """How far ``lidar`` and ``infonce`` lie from what is expected if other images were drawn, (R,) each.

    Both follow from their influence functions, as statistics of a spectrum do (``layerprobe.geometry.part_spectra``).
    With another image both covariances of LiDAR change, and an eigenvalue by (v_k b_i)^2 - lambda_k mean_v (v_k r_iv)^2
    to first order, up to a constant. In InfoNCE an image has a loss, and is a candidate for all others.

    Args:
        gram: of both views; None: there is one view alone.
        resamples: R, a multiple of four.
        seed: of the draws; give every layer of one sample the same.
    """
    if gram is None:
        return dict.fromkeys(("lidar", "infonce"), torch.full((resamples,), torch.nan, dtype=torch.float64))
    n = gram.images // 2
    drawn = halves_of(n, None if gram.labels is None else gram.labels[:n], resamples, seed).double()
    drawn /= drawn.sum(dim=1, keepdim=True)
    losses, taken = _losses(gram)
    influences = {"lidar": _influence(discriminant(gram)), "infonce": -(losses + taken).mean(dim=0) / math.log(n)}
    return {name: deviations_of_halves(drawn @ influence) for name, influence in influences.items()}


def _influence(found: Discriminant) -> Tensor:
    """(n,) float64, what every image does to LiDAR, up to a constant."""
    total = found.eigenvalues.sum()
    shares = found.eigenvalues / total
    logarithms = (shares + EPSILON).log()
    slope = -_rank(found.eigenvalues) * (logarithms - shares @ logarithms) / total
    return (found.means - found.eigenvalues * found.within) @ slope
