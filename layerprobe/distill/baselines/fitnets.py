"""FitNets: knowledge distillation plus hints from intermediate layers (Romero et al. 2015, arXiv 1412.6550).

As compared in section 4 of Cooper et al., arXiv 2511.14981: the hints are trained together with the rest, not in a
stage of their own, at several evenly spread layers.
"""

from __future__ import annotations

from torch import Tensor

from layerprobe.distill.baselines.kd import KnowledgeDistillation
from layerprobe.distill.feature_only import FeatureOnly
from layerprobe.distill.objectives import LabelledObjective
from layerprobe.distill.pairing import Pairing
from layerprobe.models.capture import Captured


class FitNets(LabelledObjective):
    """Knowledge distillation + projector MSE, one teacher layer to one student layer."""

    def __init__(self, pairing: Pairing) -> None:
        super().__init__()
        self.pairing = pairing
        self.hints = FeatureOnly(pairing)
        self.distillation = KnowledgeDistillation()

    def forward(self, student: Captured, teacher: Captured | None, labels: Tensor) -> dict[str, Tensor]:
        """The terms ``cross_entropy``, ``kl`` and ``features``.

        Raises:
            ValueError: without a teacher.
        """
        terms = self.distillation(student, teacher, labels)
        if teacher is None:
            raise ValueError("FitNets needs a teacher")
        hints = self.hints(
            [student.features[layer.name] for layer in self.pairing.student],
            [teacher.features[layer.name] for layer in self.pairing.teacher],
        )
        return {**terms, **hints}
