"""Cross entropy alone: no teacher."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import cross_entropy

from layerprobe.distill.objectives import LabelledObjective
from layerprobe.layers.capture import Captured


class Scratch(LabelledObjective):
    """Cross entropy between the student's logits and the labels."""

    def forward(self, student: Captured, teacher: Captured | None, labels: Tensor) -> dict[str, Tensor]:
        """The one term ``cross_entropy``."""
        return {"cross_entropy": cross_entropy(student.logits, labels)}
