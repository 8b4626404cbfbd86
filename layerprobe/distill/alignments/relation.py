"""Alignment by relations: which images look alike to the teacher shall look alike to the student.

The term of similarity-preserving distillation (Tung and Mori, ICCV 2019) with cosines, alone and without labels.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

from layerprobe.distill.batches import FeatureBatch
from layerprobe.distill.full_precision import in_full_precision
from layerprobe.distill.objective_context import ObjectiveContext
from layerprobe.distill.objectives import FeatureObjective
from layerprobe.distill.pairing import Pairing


@in_full_precision
def squared_differences(student: Tensor, teacher: Tensor) -> Tensor:
    """(cos of the student's features - cos of the teacher's)^2 of every ordered pair of images: (batch, batch).

    Args:
        student: (batch, ...) features.
        teacher: (batch, ...) features, of any other shape.
    """
    ours, theirs = (normalize(features.flatten(1), dim=1) for features in (student, teacher))
    return (ours @ ours.T - theirs @ theirs.T).square()


@in_full_precision
def relation(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean over ordered pairs of different images of (cos of the student's features - cos of the teacher's)^2.

    Args:
        student: (batch, ...) features, at least two images.
        teacher: (batch, ...) features, of any other shape.

    Returns:
        A scalar in [0, 4]; 0 where all cosines are equal.
    """
    squares = squared_differences(student, teacher)
    count = len(squares)
    return (squares.sum() - squares.diagonal().sum()) / (count * (count - 1))


class Relation(FeatureObjective):
    """Mean over pairs of layers of ``relation``. There is no projector: shapes need not agree."""

    def __init__(self, pairing: Pairing) -> None:
        super().__init__()

    def forward(self, batch: FeatureBatch) -> dict[str, Tensor]:
        """The one term ``relation``."""
        losses = [relation(ours, theirs) for ours, theirs in zip(batch.student, batch.teacher, strict=True)]
        return {"relation": torch.stack(losses).mean()}


def relations(context: ObjectiveContext) -> Relation:
    """The alignment ``relation``."""
    return Relation(context.pairing)
