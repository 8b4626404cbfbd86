"""Decoupled knowledge distillation (Zhao, Cui, Song, Qiu and Liang, CVPR 2022, arXiv 2203.08679)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, kl_div, log_softmax

from layerprobe.distill.batches import LogitBatch, require_teacher
from layerprobe.distill.objective_context import ObjectiveContext
from layerprobe.distill.objectives import LogitObjective


def target_class_kl(student_logits: Tensor, teacher_logits: Tensor, labels: Tensor, temperature: float) -> Tensor:
    """TCKD: KL between (p_t, 1 - p_t) of teacher and student, p_t the softened probability of the true class.

    Equation 5 of the publication; mean over the batch, in nats.

    Args:
        student_logits: (batch, classes).
        teacher_logits: (batch, classes).
        labels: (batch,) class labels.
        temperature: T > 0 that logits are divided by.
    """
    return _kl(*(_target_or_not(logits / temperature, labels) for logits in (student_logits, teacher_logits)))


def other_classes_kl(student_logits: Tensor, teacher_logits: Tensor, labels: Tensor, temperature: float) -> Tensor:
    """NCKD: KL of the softmax over all classes but the true one, of teacher and student; as ``target_class_kl``."""
    return _kl(
        *(log_softmax(_others(logits, labels) / temperature, dim=1) for logits in (student_logits, teacher_logits))
    )


def _target_or_not(logits: Tensor, labels: Tensor) -> Tensor:
    """(batch, 2) logarithms of p_t and 1 - p_t."""
    target = logits.gather(1, labels[:, None])
    rest = _others(logits, labels).logsumexp(dim=1, keepdim=True)
    return log_softmax(torch.cat([target, rest], dim=1), dim=1)


def _others(logits: Tensor, labels: Tensor) -> Tensor:
    """(batch, classes - 1): without the true class."""
    # Their places are known beforehand: what a mask keeps would have to be counted, and a GPU waited for.
    places = torch.arange(logits.shape[1] - 1, device=logits.device)
    return logits.gather(1, places + (places >= labels[:, None]))


def _kl(student: Tensor, teacher: Tensor) -> Tensor:
    return kl_div(student, teacher, reduction="batchmean", log_target=True)


class DecoupledDistillation(LogitObjective):
    """Cross entropy + T^2 (alpha TCKD + beta NCKD): equation 7, with one beta for every pair.

    The authors tune beta for each pair of networks: 8 for ResNet-32x4 to ResNet-8x4, 2 for ResNet-56 to 20.
    Of the publication's training the warm-up of these terms over 20 epochs is left out: every method here has the same
    schedule.
    """

    def __init__(self, temperature: float, alpha: float, beta: float) -> None:
        super().__init__()
        self.temperature, self.alpha, self.beta = temperature, alpha, beta

    def forward(self, batch: LogitBatch) -> dict[str, Tensor]:
        """The terms ``cross_entropy``, ``target_kl`` and ``others_kl``.

        Raises:
            ValueError: without a teacher.
        """
        pair = batch.student.logits, require_teacher(batch.teacher).logits
        square = self.temperature**2
        return {
            "cross_entropy": cross_entropy(batch.student.logits, batch.labels),
            "target_kl": self.alpha * square * target_class_kl(*pair, batch.labels, self.temperature),
            "others_kl": self.beta * square * other_classes_kl(*pair, batch.labels, self.temperature),
        }


def build(context: ObjectiveContext, *, temperature: float, alpha: float, beta: float) -> DecoupledDistillation:
    """The objective of ``dkd``."""
    return DecoupledDistillation(temperature, alpha, beta)
