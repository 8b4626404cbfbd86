"""FitNets: knowledge distillation plus hints from intermediate layers (Romero et al. 2015, arXiv 1412.6550).

As compared in section 4 of Cooper et al., arXiv 2511.14981: the hints are trained together with the rest, not in a
stage of their own, at several evenly spread layers.
"""

from __future__ import annotations

from torch import Tensor

from layerprobe.distill.alignments.projected import FeatureOnly
from layerprobe.distill.batches import FeatureBatch
from layerprobe.distill.methods.kd import WithDistillation
from layerprobe.distill.objective_context import ObjectiveContext
from layerprobe.distill.pairing import Pairing


class FitNets(WithDistillation):
    """Knowledge distillation + projector MSE, mean over the pairs of layers."""

    def __init__(self, pairing: Pairing, temperature: float) -> None:
        super().__init__(pairing, temperature)
        self.hints = FeatureOnly(pairing)

    def feature_terms(self, batch: FeatureBatch) -> dict[str, Tensor]:
        """The term ``features``."""
        terms: dict[str, Tensor] = self.hints(batch)
        return terms


def build(context: ObjectiveContext, *, temperature: float) -> FitNets:
    """The objective of ``fitnets`` and ``fitnets-full``, whose mappings differ."""
    return FitNets(context.pairing, temperature)
