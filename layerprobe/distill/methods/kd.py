"""Knowledge distillation with softened logits (Hinton, Vinyals and Dean 2015, arXiv 1503.02531)."""

from __future__ import annotations

from abc import abstractmethod

from torch import Tensor
from torch.nn.functional import cross_entropy, kl_div, log_softmax

from layerprobe.distill.batches import FeatureBatch, LogitBatch, features_of_pairs, require_teacher
from layerprobe.distill.objective_context import ObjectiveContext
from layerprobe.distill.objectives import LogitObjective
from layerprobe.distill.pairing import Pairing


def softened_kl(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    """KL(teacher || student) of the softmax at a temperature, mean over the batch, in nats.

    Args:
        student_logits: (batch, classes).
        teacher_logits: (batch, classes).
        temperature: T > 0 that both are divided by. The factor T^2 of the publication is left to the caller.
    """
    student = log_softmax(student_logits / temperature, dim=1)
    teacher = log_softmax(teacher_logits / temperature, dim=1)
    return kl_div(student, teacher, reduction="batchmean", log_target=True)


class KnowledgeDistillation(LogitObjective):
    """Cross entropy + T^2 * KL at temperature T."""

    def __init__(self, temperature: float) -> None:
        super().__init__()
        self.temperature = temperature

    def forward(self, batch: LogitBatch) -> dict[str, Tensor]:
        """The terms ``cross_entropy`` and ``kl``.

        Raises:
            ValueError: without a teacher.
        """
        divergence = softened_kl(batch.student.logits, require_teacher(batch.teacher).logits, self.temperature)
        return {
            "cross_entropy": cross_entropy(batch.student.logits, batch.labels),
            "kl": self.temperature**2 * divergence,
        }


class WithDistillation(LogitObjective):
    """Knowledge distillation and more terms from features, as the baselines are compared in the paper.

    A subclass gives the terms in ``feature_terms``.

    Args:
        pairing: the pairs of layers.
        temperature: of the knowledge distillation.
    """

    def __init__(self, pairing: Pairing, temperature: float) -> None:
        super().__init__()
        self.pairing = pairing
        self.distillation = KnowledgeDistillation(temperature)

    def forward(self, batch: LogitBatch) -> dict[str, Tensor]:
        """The terms ``cross_entropy`` and ``kl``, and those of the features.

        Raises:
            ValueError: without a teacher.
        """
        terms = self.distillation(batch)
        features = features_of_pairs(self.pairing, batch.student, require_teacher(batch.teacher))
        return {**terms, **self.feature_terms(features)}

    @abstractmethod
    def feature_terms(self, batch: FeatureBatch) -> dict[str, Tensor]:
        """Named scalar terms from the features of the paired layers."""


def build(context: ObjectiveContext, *, temperature: float) -> KnowledgeDistillation:
    """The objective of ``kd``."""
    return KnowledgeDistillation(temperature)
