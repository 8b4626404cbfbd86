"""What every pointwise feature loss asks of its arguments."""

from __future__ import annotations

from torch import Tensor


def check_same_shape(student: Tensor, teacher: Tensor) -> None:
    """Refuse features that only broadcasting would make alike: it would hide a mistake.

    Raises:
        ValueError: if the shapes differ.
    """
    if student.shape != teacher.shape:
        raise ValueError(f"student features {tuple(student.shape)}, teacher features {tuple(teacher.shape)}")
