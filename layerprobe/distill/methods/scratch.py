"""Cross entropy alone: no teacher."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import cross_entropy

from layerprobe.distill.batches import LogitBatch
from layerprobe.distill.objective_context import ObjectiveContext
from layerprobe.distill.objectives import LogitObjective


class Scratch(LogitObjective):
    """Cross entropy between the student's logits and the labels."""

    def forward(self, batch: LogitBatch) -> dict[str, Tensor]:
        """The one term ``cross_entropy``."""
        return {"cross_entropy": cross_entropy(batch.student.logits, batch.labels)}


def build(context: ObjectiveContext) -> Scratch:
    """The objective of ``scratch``."""
    return Scratch()
