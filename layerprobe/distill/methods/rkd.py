"""Relational knowledge distillation (Park, Kim, Lu and Cho, CVPR 2019, arXiv 1904.05068)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import huber_loss, normalize

from layerprobe.distill.batches import FeatureBatch
from layerprobe.distill.full_precision import in_full_precision
from layerprobe.distill.methods.kd import WithDistillation
from layerprobe.distill.objective_context import ObjectiveContext
from layerprobe.distill.pairing import Pairing


@in_full_precision
def distance_potentials(features: Tensor) -> Tensor:
    """|f_i - f_j| / (mean of it over pairs), of all ordered pairs i != j: (batch (batch - 1),). Equations 4 and 5.

    Args:
        features: (batch, D), at least two images.
    """
    # Of squared lengths and inner products nothing would be left where all features have a large common offset.
    distances = torch.cdist(features, features, compute_mode="donot_use_mm_for_euclid_dist")
    # In rows of one more, what lies off the diagonal comes first: a mask would have to wait for a GPU to count it.
    count = len(features)
    distances = distances.flatten()[:-1].view(count - 1, count + 1)[:, 1:].flatten()
    return distances / distances.mean().clamp_min(1e-12)


@in_full_precision
def angle_potentials(features: Tensor) -> Tensor:
    """cos of the angle at f_j between f_i and f_k, for all ordered triplets: (batch, batch, batch). Equation 7.

    Where two of the three are the same image the cosine is 0 or 1, alike for every network.

    Args:
        features: (batch, D).
    """
    directions = normalize(features[:, None] - features, dim=2)  # [j, i]: from f_i to f_j
    return directions @ directions.transpose(1, 2)


class RelationalDistillation(WithDistillation):
    """Knowledge distillation, and the weighted distance-wise and angle-wise losses of the penultimate features.

    Both are Huber losses (equation 6), means over pairs and triplets; the features are the vectors that enter the
    classifiers, and the publication's classification experiments weigh the losses by 25 and 50.
    """

    def __init__(self, pairing: Pairing, temperature: float, distance: float, angle: float) -> None:
        super().__init__(pairing, temperature)
        self.distance, self.angle = distance, angle

    def feature_terms(self, batch: FeatureBatch) -> dict[str, Tensor]:
        """The terms ``distances`` and ``angles``."""
        ours, theirs = batch.student[-1].flatten(1), batch.teacher[-1].flatten(1)
        return {
            "distances": self.distance * huber_loss(distance_potentials(ours), distance_potentials(theirs)),
            "angles": self.angle * huber_loss(angle_potentials(ours), angle_potentials(theirs)),
        }


def build(context: ObjectiveContext, *, temperature: float, distance: float, angle: float) -> RelationalDistillation:
    """The objective of ``rkd``."""
    return RelationalDistillation(context.pairing, temperature, distance, angle)
