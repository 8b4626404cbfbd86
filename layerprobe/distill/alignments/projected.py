"""The paper's method: the backbone learns features alone (section 4 of Cooper et al., arXiv 2511.14981)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from layerprobe.distill.batches import FeatureBatch
from layerprobe.distill.losses.feature_loss import FeatureLoss
from layerprobe.distill.losses.mse import mse
from layerprobe.distill.objective_context import ObjectiveContext
from layerprobe.distill.objectives import FeatureObjective
from layerprobe.distill.pairing import Pairing
from layerprobe.distill.projectors import MakeProjector, Projector


class FeatureOnly(FeatureObjective):
    """Mean over pairs of the feature loss between projected student features and the teacher's.

    Args:
        pairing: the paired layers.
        loss: the feature loss; default: mean squared error.
        projector: ``Projector``, one convolution, or ``ThreeLayerProjector``.
    """

    def __init__(
        self,
        pairing: Pairing,
        loss: FeatureLoss = mse,
        projector: MakeProjector = Projector,
    ) -> None:
        super().__init__()
        self.projectors = nn.ModuleList(
            projector(student.shape, teacher.shape)
            for student, teacher in zip(pairing.student, pairing.teacher, strict=True)
        )
        self.loss = loss

    def forward(self, batch: FeatureBatch) -> dict[str, Tensor]:
        """The one term ``features``."""
        losses = []
        for projector, ours, theirs in zip(self.projectors, batch.student, batch.teacher, strict=True):
            pair = projector(ours, theirs)
            losses.append(self.loss(pair.student, pair.teacher))
        return {"features": torch.stack(losses).mean()}


def projected(context: ObjectiveContext) -> FeatureOnly:
    """The alignment ``projector``."""
    return FeatureOnly(context.pairing, context.loss, context.projector)
