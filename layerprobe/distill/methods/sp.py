"""Similarity-preserving distillation (Tung and Mori, ICCV 2019, arXiv 1907.09682)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

from layerprobe.distill.batches import FeatureBatch
from layerprobe.distill.full_precision import in_full_precision
from layerprobe.distill.methods.kd import WithDistillation
from layerprobe.distill.objective_context import ObjectiveContext
from layerprobe.distill.pairing import Pairing


@in_full_precision
def similarity(features: Tensor) -> Tensor:
    """G = Q Q^T with rows of length 1, Q the flattened features: (batch, batch). Equations 1 and 2.

    As Tung and Mori have it: the rows of the Gram matrix are brought to length 1, not the features, so that it is not
    the matrix of cosines (that is compared by ``relation``).

    Args:
        features: (batch, ...) of any shape.
    """
    flat = features.flatten(1)
    return normalize(flat @ flat.T, dim=1)


def similarity_preserving(student: Tensor, teacher: Tensor) -> Tensor:
    """|G_teacher - G_student|^2 / batch^2, equation 4 for one pair of layers.

    Args:
        student: (batch, ...) features.
        teacher: (batch, ...) features, of any other shape.

    Returns:
        A scalar, 0 where images are alike to both in the same way.
    """
    return (similarity(teacher) - similarity(student)).square().mean()


class SimilarityPreserving(WithDistillation):
    """Knowledge distillation and a weight times the sum over pairs of layers, one to one."""

    def __init__(self, pairing: Pairing, temperature: float, weight: float) -> None:
        super().__init__(pairing, temperature)
        self.weight = weight

    def feature_terms(self, batch: FeatureBatch) -> dict[str, Tensor]:
        """The term ``similarity``."""
        losses = [similarity_preserving(*pair) for pair in zip(batch.student, batch.teacher, strict=True)]
        return {"similarity": self.weight * torch.stack(losses).sum()}


def build(context: ObjectiveContext, *, temperature: float, weight: float) -> SimilarityPreserving:
    """The objective of ``sp``."""
    return SimilarityPreserving(context.pairing, temperature, weight)
