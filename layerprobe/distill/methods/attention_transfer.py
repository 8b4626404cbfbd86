"""Attention transfer (Zagoruyko and Komodakis, ICLR 2017, arXiv 1612.03928)."""

from __future__ import annotations

import logging

import torch
from torch import Tensor
from torch.nn.functional import normalize

from layerprobe.distill.batches import FeatureBatch
from layerprobe.distill.full_precision import in_full_precision
from layerprobe.distill.methods.kd import WithDistillation
from layerprobe.distill.objective_context import ObjectiveContext
from layerprobe.distill.pairing import Pairing
from layerprobe.distill.spatial import SpatialAligner

_log = logging.getLogger(__name__)


@in_full_precision
def attention_map(features: Tensor) -> Tensor:
    """Mean over channels of the squared activations, as a vector of length 1 per image: (batch, positions).

    F_sum^2 of section 3.1, up to a factor that the normalization takes away.

    Args:
        features: (batch, channels, ...).
    """
    return normalize(features.square().mean(dim=1).flatten(1), dim=1)


class AttentionTransfer(WithDistillation):
    """Knowledge distillation and a weight times the sum over pairs of the mean squared difference of attention maps.

    Equation 2 with the square that the authors' code has, whose weight is 1,000. Of maps of different size the larger
    one's features are average-pooled to the smaller one's size first; a transformer's patches are a map, too. A pair
    that meets in one position teaches nothing, its two maps being 1: a warning says so.
    """

    def __init__(self, pairing: Pairing, temperature: float, weight: float) -> None:
        super().__init__(pairing, temperature)
        self.weight = weight
        self.aligners = [
            SpatialAligner(ours.shape, theirs.shape)
            for ours, theirs in zip(pairing.student, pairing.teacher, strict=True)
        ]
        for align, ours, theirs in zip(self.aligners, pairing.student, pairing.teacher, strict=True):
            if align.positions == 1:
                _log.warning(
                    "attention-transfer compares positions, and %s and %s meet in one: that pair teaches nothing",
                    ours.name, theirs.name,
                )  # fmt: skip

    def feature_terms(self, batch: FeatureBatch) -> dict[str, Tensor]:
        """The term ``attention``."""
        losses = []
        for align, ours, theirs in zip(self.aligners, batch.student, batch.teacher, strict=True):
            pair = align(ours, theirs)
            losses.append((attention_map(pair.student) - attention_map(pair.teacher)).square().mean())
        return {"attention": self.weight * torch.stack(losses).sum()}


def build(context: ObjectiveContext, *, temperature: float, weight: float) -> AttentionTransfer:
    """The objective of ``attention-transfer``."""
    return AttentionTransfer(context.pairing, temperature, weight)
