"""FitNets: hints from intermediate layers (Romero et al., ICLR 2015, arXiv 1412.6550).

As published: a stage with one hint, and then knowledge distillation. As compared in section 4 of Cooper et al., arXiv
2511.14981: hints at several evenly spread layers, trained together with knowledge distillation, or with cross entropy.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn.functional import cross_entropy, softmax

from layerprobe.distill.alignments.projected import FeatureOnly
from layerprobe.distill.batches import FeatureBatch, LogitBatch, features_of_pairs, require_teacher
from layerprobe.distill.losses.mse import mse
from layerprobe.distill.methods.feature_only import FeaturesAndLogits
from layerprobe.distill.methods.kd import WithDistillation
from layerprobe.distill.objective_context import ObjectiveContext
from layerprobe.distill.objectives import LogitObjective
from layerprobe.distill.pairing import Pairing
from layerprobe.distill.projectors import Projector
from layerprobe.distill.spatial import AlignedPair, SpatialAligner, channels

_log = logging.getLogger(__name__)


def softened_cross_entropy(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    """H(teacher, student) of the softmax at a temperature, mean over the batch, in nats.

    The second term of equation 2. Its gradient is that of the KL divergence. Neither the equation nor the authors' code
    multiplies by the square of the temperature.

    Args:
        student_logits: (batch, classes).
        teacher_logits: (batch, classes).
        temperature: tau > 0 that both are divided by.
    """
    return cross_entropy(student_logits / temperature, softmax(teacher_logits / temperature, dim=1))


class Regressor(nn.Module):
    """From the guided layer to the hint: a projector, or nothing where the two have one shape already.

    The publication's regressor has the teacher's non-linearity, and comes to the teacher's size by a kernel as large as
    the difference; here it is the 1x1 convolution without one of every method, behind pooling.

    Args:
        student_shape: shape of the guided layer's features for one image.
        teacher_shape: shape of the hint.
    """

    def __init__(self, student_shape: tuple[int, ...], teacher_shape: tuple[int, ...]) -> None:
        super().__init__()
        align = SpatialAligner(student_shape, teacher_shape)
        alike = channels(student_shape) == channels(teacher_shape) and align.student.size == align.teacher.size
        self.bring_together = align if alike else Projector(student_shape, teacher_shape)

    def forward(self, student: Tensor, teacher: Tensor) -> AlignedPair:
        """Bring a batch of both layers' features into one shape, (batch, channels, ...)."""
        pair: AlignedPair = self.bring_together(student, teacher)
        return pair


class StagedFitNets(LogitObjective):
    """Two stages, as published (sections 2.1 to 2.3).

    In the first one the student up to its guided layer learns the hint alone: half the squared distance of the vectors
    of channels, mean over positions and images. (Equation 3 sums over positions too. The authors' code sums over one
    axis and takes the mean over the others.) In the second one the whole student learns from cross entropy and from the
    teacher's softened logits, whose weight falls linearly from epoch to epoch and reaches its last value in the last
    one.

    Before the first ``start_epoch`` it is in its first stage.

    Args:
        pairing: one pair: the guided layer, and the layer that gives the hint.
        temperature: tau of the second stage.
        first_weight: lambda in the first epoch of the second stage.
        last_weight: lambda in the last one.
        hint_share: the first stage's share of the epochs, above 0 and below 1. The publication ends that stage by early
            stopping, which a fixed number of epochs has no place for.
    """

    def __init__(
        self, pairing: Pairing, temperature: float, first_weight: float, last_weight: float, hint_share: float
    ) -> None:
        super().__init__()
        self.pairing, self.temperature = pairing, temperature
        self.first_weight, self.last_weight, self.hint_share = first_weight, last_weight, hint_share
        (ours,), (theirs,) = pairing.student, pairing.teacher
        self.regressor = Regressor(ours.shape, theirs.shape)
        self.weight: float | None = None
        """Lambda; None in the first stage, which has none."""

    def hint_epochs(self, epochs: int) -> int:
        """How many of the epochs are the first stage's: its share, rounded, with one at least left for either stage.

        A single epoch is the second stage's.
        """
        return min(max(round(self.hint_share * epochs), 1), epochs - 1)

    def pair_projectors(self) -> Sequence[nn.Module]:
        """The regressor."""
        return (self.regressor,)

    def start_epoch(self, epoch: int, epochs: int) -> None:
        """Enter the stage of an epoch, and set the weight of the teacher's logits."""
        hints = self.hint_epochs(epochs)
        if epoch <= hints:
            self.weight = None
        else:
            done = (epoch - hints - 1) / max(epochs - hints - 1, 1)
            self.weight = self.first_weight + done * (self.last_weight - self.first_weight)
        if epochs == 1:
            _log.warning("fitnets: a single epoch leaves none for the hint; it trains with the logits alone")
        elif epoch in (1, hints + 1):
            stage = "the hint alone" if epoch == 1 else "labels and the teacher's logits"
            _log.info("fitnets: epochs %d to %d learn from %s", epoch, hints if epoch == 1 else epochs, stage)

    def forward(self, batch: LogitBatch) -> dict[str, Tensor]:
        """The term ``hint``, or in the second stage ``cross_entropy`` and ``soft_cross_entropy``.

        Raises:
            ValueError: without a teacher.
        """
        teacher = require_teacher(batch.teacher)
        if self.weight is None:
            features = features_of_pairs(self.pairing, batch.student, teacher)
            pair = self.regressor(features.student[0], features.teacher[0])
            return {"hint": pair.student.shape[1] / 2 * mse(pair.student, pair.teacher)}
        softened = softened_cross_entropy(batch.student.logits, teacher.logits, self.temperature)
        return {
            "cross_entropy": cross_entropy(batch.student.logits, batch.labels),
            "soft_cross_entropy": self.weight * softened,
        }


class FitNets(WithDistillation):
    """Knowledge distillation + projector MSE, mean over the pairs of layers: as the paper compares it."""

    def __init__(self, pairing: Pairing, temperature: float) -> None:
        super().__init__(pairing, temperature)
        self.hints = FeatureOnly(pairing)

    def pair_projectors(self) -> Sequence[nn.Module]:
        """Those of the hints."""
        return self.hints.pair_projectors()

    def feature_terms(self, batch: FeatureBatch) -> dict[str, Tensor]:
        """The term ``features``."""
        terms: dict[str, Tensor] = self.hints(batch)
        return terms


def build_stages(
    context: ObjectiveContext, *, temperature: float, first_weight: float, last_weight: float, hint_share: float
) -> StagedFitNets:
    """The objective of ``fitnets`` as published."""
    return StagedFitNets(context.pairing, temperature, first_weight, last_weight, hint_share)


def build(context: ObjectiveContext, *, temperature: float) -> FitNets:
    """The objective of ``fitnets`` and ``fitnets-full`` as the paper compares them; their mappings differ."""
    return FitNets(context.pairing, temperature)


def build_without_logits(context: ObjectiveContext) -> FeaturesAndLogits:
    """The objective of ``fitnets-ce``: cross entropy + projector MSE, mean over the pairs of layers."""
    hints = FeatureOnly(context.pairing)
    return FeaturesAndLogits(hints, context.pairing, cross_entropy=True, kl=False, temperature=1.0)
