"""Huber loss between aligned features (Huber, Annals of Mathematical Statistics 35(1), 1964)."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import huber_loss

from layerprobe.distill.losses.shapes import check_same_shape


def huber(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean over all elements of d^2 / 2 where |d| < 1 and |d| - 1/2 elsewhere, d = student - teacher.

    Args:
        student: (batch, channels, ...) projected student features.
        teacher: teacher features of the same shape.

    Returns:
        A scalar, 0 when the two are equal.

    Raises:
        ValueError: if the shapes differ.
    """
    check_same_shape(student, teacher)
    return huber_loss(student, teacher)
