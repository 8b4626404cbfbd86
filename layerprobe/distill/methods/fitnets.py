"""FitNets: knowledge distillation plus hints from intermediate layers (Romero et al. 2015, arXiv 1412.6550).

As compared in section 4 of Cooper et al., arXiv 2511.14981: the hints are trained together with the rest, not in a
stage of their own, at several evenly spread layers.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from layerprobe.distill.alignments.projected import FeatureOnly
from layerprobe.distill.methods.kd import WithDistillation
from layerprobe.distill.pairing import Pairing


class FitNets(WithDistillation):
    """Knowledge distillation + projector MSE, mean over the pairs of layers."""

    def __init__(self, pairing: Pairing) -> None:
        super().__init__()
        self.pairing = pairing
        self.hints = FeatureOnly(pairing)

    def feature_terms(self, student: Mapping[str, Tensor], teacher: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The term ``features``."""
        names = self.pairing.names
        terms: dict[str, Tensor] = self.hints([student[one] for one, _ in names], [teacher[one] for _, one in names])
        return terms
