"""Semantic calibration for cross-layer distillation (Chen et al., AAAI 2021, arXiv 2012.03236)."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from layerprobe.distill.alignments.attention import AttentionMapping
from layerprobe.distill.methods.kd import WithDistillation
from layerprobe.distill.pairing import Pairing
from layerprobe.distill.projectors import ThreeLayerProjector


class SemanticCalibration(WithDistillation):
    """Knowledge distillation + 400 times the attention-weighted MSE of every student to every teacher layer.

    For each student layer the mean squared errors of its projections to the teacher layers are weighted by the
    attention of each image; the loss is their mean over student layers and the batch. Equation 8 sums over student
    layers; the authors' code, which their weight of 400 was chosen with, divides by their number, and so do we.
    Projectors have three layers.

    Args:
        pairing: every student layer with every teacher layer; how much each counts is the attention's.
        batch_size: images per batch, at most.
        weight: beta of the publication.
    """

    def __init__(self, pairing: Pairing, batch_size: int, weight: float = 400.0) -> None:
        super().__init__()
        self.pairing, self.weight = pairing, weight
        self.hints = AttentionMapping(pairing, batch_size, projector=ThreeLayerProjector)

    def feature_terms(self, student: Mapping[str, Tensor], teacher: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The term ``features``."""
        names = self.pairing.names
        terms = self.hints([student[one] for one, _ in names], [teacher[one] for _, one in names])
        return {"features": self.weight * terms["features"]}
