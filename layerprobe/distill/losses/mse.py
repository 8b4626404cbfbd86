"""Mean squared error between aligned features (section 4 of Cooper et al., arXiv 2511.14981)."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import mse_loss

from layerprobe.distill.losses.shapes import check_same_shape


def mse(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean over all elements of (student - teacher)^2.

    Args:
        student: (batch, channels, ...) projected student features.
        teacher: teacher features of the same shape.

    Returns:
        A scalar, 0 when the two are equal.

    Raises:
        ValueError: if the shapes differ.
    """
    check_same_shape(student, teacher)
    return mse_loss(student, teacher)
