"""How alike two layers see the same images: linear centred kernel alignment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from layerprobe.geometry.spectrum import double_centre
from layerprobe.records import Gram

_CHUNK = 1 << 20
"""Entries that are multiplied at a time: sums of float32 products stay short."""


@dataclass(frozen=True, eq=False)
class CentredKernel:
    """A layer's doubly centred Gram matrix, scaled to Frobenius norm 1, in half of the memory.

    Attributes:
        below: (n (n - 1) / 2,) float32, the triangle below the diagonal, row after row.
        diagonal: (n,) float64.
    """

    below: Tensor
    diagonal: Tensor


def centred_kernel(gram: Gram) -> CentredKernel:
    """What linear CKA needs of a layer: 4 n^2 / 2 bytes. NaN where the features have no variance."""
    kernel = double_centre(gram.centred)
    kernel = kernel / kernel.norm()
    below = torch.cat([row[:number].float() for number, row in enumerate(kernel)])
    return CentredKernel(below, kernel.diagonal().clone())


def undefined_kernel(images: int) -> CentredKernel:
    """Of a layer whose features are not finite: its CKA with any layer is NaN."""
    return CentredKernel(
        torch.full((images * (images - 1) // 2,), torch.nan), torch.full((images,), torch.nan, dtype=torch.float64)
    )


def cka_matrix(first: Sequence[CentredKernel], second: Sequence[CentredKernel], debiased: bool = False) -> Tensor:
    """Linear CKA between every layer of one sequence and every layer of another.

    CKA = HSIC(K, L) / sqrt(HSIC(K, K) HSIC(L, L)) with HSIC(K, L) = tr(K H L H) (Kornblith, Norouzi, Lee and Hinton,
    ICML 2019). It is biased upwards where features have many dimensions for the number of images. ``debiased`` takes
    the unbiased HSIC_1 of Song et al. (JMLR 13, 2012), as Nguyen, Raghu and Kornblith (ICLR 2021, equation 3):

        HSIC_1 = (tr(K L) + 1^T K 1 1^T L 1 / ((n - 1)(n - 2)) - 2 / (n - 2) 1^T K L 1) / (n (n - 3)),

    with the diagonals of K and L set to zero.

    Args:
        first: layers, measured on n images.
        second: layers, measured on the same images in the same order.
        debiased: whether to remove the bias.

    Returns:
        (first, second) float64, from 0 to 1; debiased values scatter around 0 for unrelated layers and can be negative.
        NaN for a layer without variance, and debiased for fewer than four images.
    """
    if debiased and len(first[0].diagonal) < 4:
        return torch.full((len(first), len(second)), torch.nan, dtype=torch.float64)
    hsic = _debiased if debiased else _biased
    scale = (
        torch.stack([hsic([one], [one])[0, 0] for one in first]),
        torch.stack([hsic([one], [one])[0, 0] for one in second]),
    )
    norm = (scale[0][:, None] * scale[1]).clamp_min(0).sqrt()
    return torch.where(norm > 0, hsic(first, second) / norm, torch.nan)


def _biased(first: Sequence[CentredKernel], second: Sequence[CentredKernel]) -> Tensor:
    return 2 * _products(first, second) + _diagonals(first) @ _diagonals(second).T


def _debiased(first: Sequence[CentredKernel], second: Sequence[CentredKernel]) -> Tensor:
    """HSIC_1, up to a factor that CKA doesn't see.

    The rows of a centred kernel sum to zero; without their diagonal d they sum to -d. So 1^T K 1 = -sum(d) and
    1^T K L 1 = d . e.
    """
    d, e = _diagonals(first), _diagonals(second)
    n = d.shape[1]
    sums = d.sum(dim=1)[:, None] * e.sum(dim=1)
    return 2 * _products(first, second) + sums / ((n - 1) * (n - 2)) - 2 / (n - 2) * (d @ e.T)


def _products(first: Sequence[CentredKernel], second: Sequence[CentredKernel]) -> Tensor:
    """(first, second) inner products of the triangles."""
    total = torch.zeros(len(first), len(second), dtype=torch.float64)
    for start in range(0, len(first[0].below), _CHUNK):
        parts = (torch.stack([one.below[start : start + _CHUNK] for one in side]) for side in (first, second))
        total += (next(parts) @ next(parts).T).double()
    return total


def _diagonals(kernels: Sequence[CentredKernel]) -> Tensor:
    return torch.stack([kernel.diagonal for kernel in kernels])
