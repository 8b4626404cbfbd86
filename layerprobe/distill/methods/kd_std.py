"""Knowledge distillation of standardized logits (Sun, Ren, Li, Wang and Cao, CVPR 2024, arXiv 2403.01427)."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import cross_entropy

from layerprobe.distill.batches import LogitBatch, require_teacher
from layerprobe.distill.methods.kd import softened_kl
from layerprobe.distill.objective_context import ObjectiveContext
from layerprobe.distill.objectives import LogitObjective


def standardized(logits: Tensor) -> Tensor:
    """Every image's logits with mean 0 and (population) standard deviation 1; (batch, classes) both.

    Equation 12 of the publication, whose code adds 1e-7 to the deviation, as here, but divides its squares by n - 1
    where the population's deviation has n, the number of classes: z-scores here are larger by sqrt(n / (n - 1)), 5.4 %
    with ten classes. One class gives zeros.
    """
    deviation = logits.std(dim=1, keepdim=True, correction=0)
    return (logits - logits.mean(dim=1, keepdim=True)) / (deviation + 1e-7)


class StandardizedDistillation(LogitObjective):
    """A weighted cross entropy + a weight times T^2 KL of z-scored logits at temperature T.

    The authors' code multiplies by T^2 too, and has T 2, weight 9 and cross entropy at 0.1 in most of its CIFAR-100
    runs; some pairs of networks have others. In the paper's comparison temperature and weights are those of ``kd``.
    """

    def __init__(self, temperature: float, cross_entropy: float, weight: float) -> None:
        super().__init__()
        self.temperature, self.cross_entropy, self.weight = temperature, cross_entropy, weight

    def forward(self, batch: LogitBatch) -> dict[str, Tensor]:
        """The terms ``cross_entropy`` and ``kl``.

        Raises:
            ValueError: without a teacher.
        """
        ours, theirs = standardized(batch.student.logits), standardized(require_teacher(batch.teacher).logits)
        divergence = self.temperature**2 * softened_kl(ours, theirs, self.temperature)
        return {
            "cross_entropy": self.cross_entropy * cross_entropy(batch.student.logits, batch.labels),
            "kl": self.weight * divergence,
        }


def build(
    context: ObjectiveContext, *, temperature: float, cross_entropy: float, weight: float
) -> StandardizedDistillation:
    """The objective of ``kd-std``."""
    return StandardizedDistillation(temperature, cross_entropy, weight)
