"""Knowledge distillation with softened logits (Hinton, Vinyals and Dean 2015, arXiv 1503.02531)."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor
from torch.nn.functional import cross_entropy, kl_div, log_softmax

from layerprobe.distill.objectives import LabelledObjective, require_teacher
from layerprobe.layers.capture import Captured


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


class KnowledgeDistillation(LabelledObjective):
    """Cross entropy + T^2 * KL at temperature T: weight 16 at the default T = 4."""

    def __init__(self, temperature: float = 4.0) -> None:
        super().__init__()
        self.temperature = temperature

    def forward(self, student: Captured, teacher: Captured | None, labels: Tensor) -> dict[str, Tensor]:
        """The terms ``cross_entropy`` and ``kl``.

        Raises:
            ValueError: without a teacher.
        """
        divergence = softened_kl(student.logits, require_teacher(teacher).logits, self.temperature)
        return {
            "cross_entropy": cross_entropy(student.logits, labels),
            "kl": self.temperature**2 * divergence,
        }


class WithDistillation(LabelledObjective):
    """Knowledge distillation and more terms from features, as the baselines are compared in the paper.

    A subclass gives the terms in ``feature_terms``.
    """

    def __init__(self) -> None:
        super().__init__()
        self.distillation = KnowledgeDistillation()

    def forward(self, student: Captured, teacher: Captured | None, labels: Tensor) -> dict[str, Tensor]:
        """The terms ``cross_entropy`` and ``kl``, and those of the features.

        Raises:
            ValueError: without a teacher.
        """
        terms = self.distillation(student, teacher, labels)
        return {**terms, **self.feature_terms(student.features, require_teacher(teacher).features)}

    def feature_terms(self, student: Mapping[str, Tensor], teacher: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Named scalar terms from the features of either network, by layer name."""
        raise NotImplementedError
