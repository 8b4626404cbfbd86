"""Similarity-preserving distillation (Tung and Mori, ICCV 2019, arXiv 1907.09682)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

from layerprobe.distill.alignments.relation import squared_differences
from layerprobe.distill.batches import FeatureBatch
from layerprobe.distill.full_precision import in_full_precision
from layerprobe.distill.methods.kd import WithDistillation
from layerprobe.distill.objective_context import ObjectiveContext
from layerprobe.distill.pairing import Pairing


@in_full_precision
def similarity(features: Tensor) -> Tensor:
    """G = Q Q^T with rows of length 1, Q the flattened features: (batch, batch). Equations 1 and 2.

    As Tung and Mori have it: the rows of the Gram matrix are brought to length 1, not the features, so that it is not
    the matrix of cosines (that is compared by ``relation``, and in the paper).

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


def cosine_difference(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean of (cos_teacher - cos_student)^2 over all batch^2 pairs of images, each with itself included.

    Source: section 4 of Cooper et al., arXiv 2511.14981. Their released code compares the first rows alone.

    Args:
        student: (batch, ...) features.
        teacher: (batch, ...) features, of any other shape.
    """
    return squared_differences(student, teacher).mean()


class SimilarityPreserving(WithDistillation):
    """Knowledge distillation and a weight times the sum over pairs of layers, one to one."""

    def __init__(self, pairing: Pairing, temperature: float, weight: float) -> None:
        super().__init__(pairing, temperature)
        self.weight = weight

    def feature_terms(self, batch: FeatureBatch) -> dict[str, Tensor]:
        """The term ``similarity``."""
        losses = [similarity_preserving(*pair) for pair in zip(batch.student, batch.teacher, strict=True)]
        return {"similarity": self.weight * torch.stack(losses).sum()}


class CosineMatching(WithDistillation):
    """Knowledge distillation and a weight times the mean over pairs of layers of ``cosine_difference``, one to one."""

    def __init__(self, pairing: Pairing, temperature: float, weight: float) -> None:
        super().__init__(pairing, temperature)
        self.weight = weight

    def feature_terms(self, batch: FeatureBatch) -> dict[str, Tensor]:
        """The term ``similarity``."""
        losses = [cosine_difference(*pair) for pair in zip(batch.student, batch.teacher, strict=True)]
        return {"similarity": self.weight * torch.stack(losses).mean()}


def build(context: ObjectiveContext, *, temperature: float, weight: float) -> SimilarityPreserving:
    """The objective of ``sp`` as published."""
    return SimilarityPreserving(context.pairing, temperature, weight)


def build_cosines(context: ObjectiveContext, *, temperature: float, weight: float) -> CosineMatching:
    """The objective of ``sp`` as the paper compares it."""
    return CosineMatching(context.pairing, temperature, weight)
