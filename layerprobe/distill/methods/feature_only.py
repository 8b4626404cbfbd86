"""The paper's method: the backbone learns from features alone (section 4 of Cooper et al., arXiv 2511.14981).

How features are brought together is the alignment's business. The ablations let cross entropy, or the KL divergence of
logits, into the backbone too.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from layerprobe.distill.alignments.build import build_alignment
from layerprobe.distill.batches import FeatureBatch, LogitBatch, features_of_pairs, require_teacher
from layerprobe.distill.methods.kd import softened_kl
from layerprobe.distill.objective_context import ObjectiveContext
from layerprobe.distill.objectives import LogitObjective, Objective
from layerprobe.distill.pairing import Pairing


class FeaturesAndLogits(LogitObjective):
    """A feature objective, and terms of the logits whose gradients reach the whole student.

    Args:
        features: the feature objective.
        pairing: its layers.
        cross_entropy: whether there is cross entropy. Without it the classifier learns from the KL alone.
        kl: whether there is T^2 KL at temperature T, as in ``kd``.
        feature_weight: what the features' terms are multiplied by.
        temperature: T.
    """

    def __init__(
        self,
        features: Objective[FeatureBatch],
        pairing: Pairing,
        cross_entropy: bool,
        kl: bool,
        feature_weight: float = 1.0,
        *,
        temperature: float,
    ) -> None:
        super().__init__()
        self.features, self.pairing, self.feature_weight = features, pairing, feature_weight
        self.cross_entropy, self.kl, self.temperature = cross_entropy, kl, temperature
        self.needs_fit = features.needs_fit

    def fit(self, batches: Iterable[FeatureBatch]) -> None:
        """As the feature objective's."""
        self.features.fit(batches)

    def pair_projectors(self) -> Sequence[nn.Module]:
        """Those of the feature objective."""
        return self.features.pair_projectors()

    def start_epoch(self, epoch: int, epochs: int) -> None:
        """As the feature objective's."""
        self.features.start_epoch(epoch, epochs)

    def forward(self, batch: LogitBatch) -> dict[str, Tensor]:
        """The weighted terms of the features, and ``cross_entropy`` and ``kl`` where the form has them.

        Raises:
            ValueError: without a teacher.
        """
        teacher = require_teacher(batch.teacher)
        alone: dict[str, Tensor] = self.features(features_of_pairs(self.pairing, batch.student, teacher))
        terms = {name: self.feature_weight * term for name, term in alone.items()}
        if self.cross_entropy:
            terms = {**terms, "cross_entropy": cross_entropy(batch.student.logits, batch.labels)}
        if self.kl:
            divergence = softened_kl(batch.student.logits, teacher.logits, self.temperature)
            terms = {**terms, "kl": self.temperature**2 * divergence}
        return terms


def build(context: ObjectiveContext, *, temperature: float) -> Objective[Any]:
    """The objective of ``feature-only`` in the form that the context asks for."""
    form, features = context.alignment, build_alignment(context)
    if not form.with_logits:
        return features
    return FeaturesAndLogits(
        features, context.pairing, form.cross_entropy, form.kl, form.feature_weight, temperature=temperature
    )
