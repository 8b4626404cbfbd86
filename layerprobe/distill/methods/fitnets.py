"""FitNets: knowledge distillation plus hints from intermediate layers (Romero et al. 2015, arXiv 1412.6550).

In both settings as compared in section 4 of Cooper et al., arXiv 2511.14981: hints at several evenly spread layers are
trained together with the rest. In the publication one hint trains the first half of the student in a stage of its own,
before the knowledge distillation; this is not built.
"""

from __future__ import annotations

from torch import Tensor

from layerprobe.distill.alignments.projected import FeatureOnly
from layerprobe.distill.batches import FeatureBatch
from layerprobe.distill.methods.feature_only import FeaturesAndLogits
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


def build_without_logits(context: ObjectiveContext) -> FeaturesAndLogits:
    """The objective of ``fitnets-ce``: cross entropy + projector MSE, mean over the pairs of layers."""
    hints = FeatureOnly(context.pairing)
    return FeaturesAndLogits(hints, context.pairing, cross_entropy=True, kl=False, temperature=1.0)
