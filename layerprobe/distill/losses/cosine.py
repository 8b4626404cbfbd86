"""Cosine distance between aligned features."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import cosine_similarity

from layerprobe.distill.losses.shapes import check_same_shape


def cosine(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean over images and positions of 1 - cos of the two channel vectors there.

    Args:
        student: (batch, channels, ...) projected student features.
        teacher: teacher features of the same shape.

    Returns:
        A scalar in [0, 2]: 0 where every pair of channel vectors has the same direction, 1 where one is zero.

    Raises:
        ValueError: if the shapes differ.
    """
    check_same_shape(student, teacher)
    return (1 - cosine_similarity(student, teacher, dim=1)).mean()
