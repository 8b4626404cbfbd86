"""Ablations of feature-only: cross entropy, or the KL of logits, let into the backbone (section 4 of Cooper et al.)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from torch import Tensor
from torch.nn.functional import cross_entropy

from layerprobe.distill.methods.kd import softened_kl
from layerprobe.distill.objectives import FeatureObjective, LabelledObjective, require_teacher
from layerprobe.distill.pairing import Pairing
from layerprobe.layers.capture import Captured

TEMPERATURE = 4.0


class FeaturesAndLogits(LabelledObjective):
    """A feature objective, and terms of the logits whose gradients reach the whole student.

    Args:
        features: the feature objective.
        pairing: its layers.
        cross_entropy: whether there is cross entropy. Without it the classifier learns from the KL alone.
        kl: whether there is T^2 KL at temperature T = 4, as in ``kd``.
        feature_weight: what the features' terms are multiplied by.
    """

    def __init__(
        self, features: FeatureObjective, pairing: Pairing, cross_entropy: bool, kl: bool, feature_weight: float = 1.0
    ) -> None:
        super().__init__()
        self.features, self.pairing, self.feature_weight = features, pairing, feature_weight
        self.cross_entropy, self.kl = cross_entropy, kl
        self.needs_fit = features.needs_fit

    def fit(self, batches: Iterable[Sequence[Tensor]]) -> None:
        """As the feature objective's."""
        self.features.fit(batches)

    def forward(self, student: Captured, teacher: Captured | None, labels: Tensor) -> dict[str, Tensor]:
        """The weighted terms of the features, and ``cross_entropy`` and ``kl`` where they are asked for.

        Raises:
            ValueError: without a teacher.
        """
        taught = require_teacher(teacher)
        names = self.pairing.names
        alone: dict[str, Tensor] = self.features(
            [student.features[one] for one, _ in names], [taught.features[one] for _, one in names]
        )
        terms = {name: self.feature_weight * term for name, term in alone.items()}
        if self.cross_entropy:
            terms = {**terms, "cross_entropy": cross_entropy(student.logits, labels)}
        if self.kl:
            terms = {**terms, "kl": TEMPERATURE**2 * softened_kl(student.logits, taught.logits, TEMPERATURE)}
        return terms
