"""Linear CKA of two layers from their features, without an n x n matrix, and what each image adds to it."""

from __future__ import annotations

import torch
from torch import Tensor

_ROWS = 8192
"""Images that are multiplied at a time."""


def cka_of_images(first: Tensor, second: Tensor) -> Tensor:
    """Linear CKA, as one value of each image whose mean it is.

    CKA = |S_xy|^2 / (|S_xx| |S_yy|), with Frobenius norms of the covariances S of centred features (Kornblith, Norouzi,
    Lee and Hinton, ICML 2019). To first order in the weights of the images it is the mean of

        CKA (1 + 2 x' S_xy y / |S_xy|^2 - x' S_xx x / |S_xx|^2 - y' S_yy y / |S_yy|^2)

    over images with the centred features x and y. The mean over all images is CKA itself, and the bootstrap of these
    values is that of CKA but for terms of the order of 1 / n.

    Args:
        first: (n, D) features.
        second: (n, E) of the same images.

    Returns:
        (n,) float64; NaN where the features of one layer have no variance.
    """
    sides = [(side, side.double().mean(dim=0)) for side in (first, second)]
    if any(bool((side == side[:1]).all()) for side, _ in sides):  # rounding would be taken for variance
        return torch.full((len(first),), torch.nan, dtype=torch.float64)
    x, y = sides
    cross, own, other = _quadratic(x, y), _quadratic(x, x), _quadratic(y, y)
    norms = [values.mean() for values in (cross, own, other)]
    cka = norms[0] / (norms[1] * norms[2]).sqrt()
    if not float(norms[0]) > 0:
        return torch.full_like(cross, 0.0 if float(norms[1] * norms[2]) > 0 else torch.nan)
    return cka * (1 + 2 * cross / norms[0] - own / norms[1] - other / norms[2])


def _quadratic(first: tuple[Tensor, Tensor], second: tuple[Tensor, Tensor]) -> Tensor:
    """(n,) x' S y of every image, whose mean is the squared norm of the covariance S."""
    (x, x_mean), (y, y_mean) = first, second

    def blocks() -> list[slice]:
        return [slice(start, start + _ROWS) for start in range(0, len(x), _ROWS)]

    covariance = torch.zeros(x.shape[1], y.shape[1], dtype=torch.float64)
    for rows in blocks():
        covariance += (x[rows].double() - x_mean).T @ (y[rows].double() - y_mean)
    covariance /= len(x)
    return torch.cat(
        [(((x[rows].double() - x_mean) @ covariance) * (y[rows].double() - y_mean)).sum(dim=1) for rows in blocks()]
    )
