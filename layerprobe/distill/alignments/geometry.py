"""Alignment by principal axes of channel vectors: the teacher's features are carried into the student's space.

After section 4 of Cooper et al., arXiv 2511.14981, in a cheaper form: the released code takes the axes of whole
flattened features, as ``flattened.py`` does. This one is label-free; ``by_class.py`` has the axes of each class.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from layerprobe.distill.alignments.channel_vectors import channel_vectors
from layerprobe.distill.alignments.covariance import Covariance
from layerprobe.distill.batches import FeatureBatch
from layerprobe.distill.full_precision import in_full_precision
from layerprobe.distill.losses.feature_loss import FeatureLoss
from layerprobe.distill.losses.mse import mse
from layerprobe.distill.objective_context import ObjectiveContext
from layerprobe.distill.objectives import FeatureObjective
from layerprobe.distill.pairing import Pairing
from layerprobe.distill.spatial import SpatialAligner, channels


class PrincipalAxes(FeatureObjective):
    """Mean over pairs of the loss between student features and the teacher's along its leading principal axes.

    The target at a position is V^T (f - m): f the teacher's channels there, m their mean over all images and positions,
    V the leading principal axes of their covariance, as many as the student has channels. Where the student has more,
    the rest of the target is 0. Nothing is learned but the student. Spatial sizes meet as for a projector.

    Args:
        pairing: the paired layers.
        loss: the feature loss; default: mean squared error.
    """

    needs_fit = True

    def __init__(self, pairing: Pairing, loss: FeatureLoss = mse) -> None:
        super().__init__()
        self.pairs = tuple(zip(pairing.student, pairing.teacher, strict=True))
        self.loss = loss
        self.aligners = [SpatialAligner(ours.shape, theirs.shape) for ours, theirs in self.pairs]
        for number, (ours, theirs) in enumerate(self.pairs):
            wide = channels(theirs.shape)
            self.register_buffer(f"mean_{number}", torch.zeros(wide))
            self.register_buffer(f"axes_{number}", torch.zeros(wide, channels(ours.shape)))

    def fit(self, batches: Iterable[FeatureBatch]) -> None:
        """Find means and principal axes of the teacher's layers."""
        seen = [Covariance(channels(theirs.shape)) for _, theirs in self.pairs]
        for batch in batches:
            for one, features, align in zip(seen, batch.teacher, self.aligners, strict=True):
                one.add(channel_vectors(align.teacher(features)))
        for number, (one, (ours, _)) in enumerate(zip(seen, self.pairs, strict=True)):
            self.get_buffer(f"mean_{number}").copy_(one.mean())
            self.get_buffer(f"axes_{number}").copy_(one.axes(channels(ours.shape)))

    def forward(self, batch: FeatureBatch) -> dict[str, Tensor]:
        """The one term ``features``."""
        losses = []
        for number, (align, ours, theirs) in enumerate(zip(self.aligners, batch.student, batch.teacher, strict=True)):
            pair = align(ours, theirs)
            losses.append(self.loss(pair.student, self.target(number, pair.teacher)))
        return {"features": torch.stack(losses).mean()}

    @in_full_precision
    def target(self, number: int, teacher: Tensor) -> Tensor:
        """Aligned teacher features (batch, channels, ...) of one pair, along the axes."""
        mean, axes = self.get_buffer(f"mean_{number}"), self.get_buffer(f"axes_{number}")
        return ((teacher.transpose(1, -1) - mean) @ axes).transpose(1, -1)


def principal_axes(context: ObjectiveContext) -> PrincipalAxes:
    """The alignment ``geometry``."""
    return PrincipalAxes(context.pairing, context.loss)
