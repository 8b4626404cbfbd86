"""Knowledge distillation with softened logits (Hinton, Vinyals and Dean 2015, arXiv 1503.02531)."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import cross_entropy, kl_div, log_softmax

from layerprobe.distill.objectives import LabelledObjective
from layerprobe.models.capture import Captured


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
        if teacher is None:
            raise ValueError("knowledge distillation needs a teacher")
        divergence = softened_kl(student.logits, teacher.logits, self.temperature)
        return {
            "cross_entropy": cross_entropy(student.logits, labels),
            "kl": self.temperature**2 * divergence,
        }
