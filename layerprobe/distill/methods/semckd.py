"""Semantic calibration for cross-layer distillation (Chen et al., AAAI 2021, arXiv 2012.03236)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from layerprobe.distill.alignments.attention import AttentionMapping
from layerprobe.distill.batches import FeatureBatch
from layerprobe.distill.methods.kd import WithDistillation
from layerprobe.distill.objective_context import ObjectiveContext
from layerprobe.distill.pairing import Pairing
from layerprobe.distill.projectors import ThreeLayerProjector


class SemanticCalibration(WithDistillation):
    """Knowledge distillation and a weight times the attention-weighted MSE of every student to every teacher layer.

    For each student layer the mean squared errors of its projections to the teacher layers are weighted by the
    attention of each image; the loss is their mean over student layers and the batch. Equation 8 sums over student
    layers; the authors' code, which their weight of 400 was chosen with, divides by their number, and so do we.
    Projectors have three layers.

    Args:
        pairing: every student layer with every teacher layer; how much each counts is the attention's.
        batch_size: images per batch, at most.
        temperature: of the knowledge distillation.
        weight: beta of the publication.
    """

    def __init__(self, pairing: Pairing, batch_size: int, temperature: float, weight: float) -> None:
        super().__init__(pairing, temperature)
        self.weight = weight
        self.hints = AttentionMapping(pairing, batch_size, projector=ThreeLayerProjector)

    def pair_projectors(self) -> Sequence[nn.Module]:
        """Those of the hints."""
        return self.hints.pair_projectors()

    def feature_terms(self, batch: FeatureBatch) -> dict[str, Tensor]:
        """The term ``features``."""
        return {"features": self.weight * self.hints(batch)["features"]}


def build(context: ObjectiveContext, *, temperature: float, weight: float) -> SemanticCalibration:
    """The objective of ``semckd``."""
    return SemanticCalibration(context.pairing, context.batch_size, temperature, weight)
