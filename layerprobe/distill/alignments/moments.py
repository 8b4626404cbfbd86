"""Alignment by moments: beside every feature, the means and covariances of groups of images are matched.

Section 4 of Cooper et al., arXiv 2511.14981, in a label-free form: groups are clusters of the teacher's own features in
place of classes. ``by_class.py`` has the form with classes.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor, nn

from layerprobe.distill.batches import FeatureBatch
from layerprobe.distill.full_precision import in_full_precision
from layerprobe.distill.losses.feature_loss import FeatureLoss
from layerprobe.distill.losses.mse import mse
from layerprobe.distill.objective_context import ObjectiveContext
from layerprobe.distill.objectives import FeatureObjective
from layerprobe.distill.pairing import Pairing
from layerprobe.distill.projectors import MakeProjector, Projector
from layerprobe.distill.spatial import SpatialAligner, channels

CLUSTERS = 10


@in_full_precision
def moment_loss(student: Tensor, teacher: Tensor, groups: Tensor) -> Tensor:
    """How far means and covariances of groups of images are apart.

    Mean over the groups that have images of the mean squared difference of the channels' means, and that of their
    covariances (over positions and images, divided by their number).

    Args:
        student: (batch, channels, ...) projected student features.
        teacher: teacher features of the same shape.
        groups: (batch,) the group of every image.

    Returns:
        A scalar, 0 where the moments of every group are equal.
    """
    losses = []
    for group in torch.unique(groups):
        ours, theirs = (_moments(features[groups == group]) for features in (student, teacher))
        losses.append(sum(((a - b).square().mean() for a, b in zip(ours, theirs, strict=True)), student.new_zeros(())))
    return torch.stack(losses).mean()


def _moments(features: Tensor) -> tuple[Tensor, Tensor]:
    """Mean (channels,) and covariance (channels, channels)."""
    vectors = features.flatten(2).transpose(1, 2).flatten(0, 1)
    mean = vectors.mean(dim=0)
    centred = vectors - mean
    return mean, centred.T @ centred / len(vectors)


class Moments(FeatureObjective):
    """Mean over pairs of the feature loss of a projector, and of the moments of clusters of images.

    The clusters are those of k-means on the teacher's features of its last paired layer, averaged over positions; a
    batch's images belong to the nearest centres.

    Args:
        pairing: the paired layers.
        loss: the feature loss; default: mean squared error.
        projector: from student to teacher channels.
        clusters: k, fewer where there are fewer images.
    """

    needs_fit = True
    centres: Tensor

    def __init__(
        self,
        pairing: Pairing,
        loss: FeatureLoss = mse,
        projector: MakeProjector = Projector,
        clusters: int = CLUSTERS,
    ) -> None:
        super().__init__()
        self.deepest = max(range(len(pairing.teacher)), key=lambda number: pairing.teacher[number].index)
        last = pairing.teacher[self.deepest].shape
        self.align = SpatialAligner(pairing.student[self.deepest].shape, last)
        self.projectors = nn.ModuleList(
            projector(ours.shape, theirs.shape) for ours, theirs in zip(pairing.student, pairing.teacher, strict=True)
        )
        self.loss, self.clusters = loss, clusters
        self.register_buffer("centres", torch.zeros(clusters, channels(last)))

    def fit(self, batches: Iterable[FeatureBatch]) -> None:
        """Find the clusters of the last paired teacher layer."""
        from sklearn.cluster import KMeans

        vectors = np.concatenate(
            [self._average(batch.teacher[self.deepest]).float().cpu().numpy() for batch in batches]
        )
        count = min(self.clusters, len(np.unique(vectors, axis=0)))
        centres = KMeans(count, n_init=1, random_state=0).fit(vectors).cluster_centers_
        # Every buffer keeps its shape, so that a saved state fits: of equal centres the first is the nearest.
        filled = np.concatenate([centres, np.repeat(centres[:1], self.clusters - count, axis=0)])
        self.centres.copy_(torch.from_numpy(filled))

    def forward(self, batch: FeatureBatch) -> dict[str, Tensor]:
        """The terms ``features`` and ``moments``."""
        groups = torch.cdist(self._average(batch.teacher[self.deepest]).to(self.centres.dtype), self.centres).argmin(
            dim=1
        )
        features, moments = [], []
        for projector, ours, theirs in zip(self.projectors, batch.student, batch.teacher, strict=True):
            pair = projector(ours, theirs)
            features.append(self.loss(pair.student, pair.teacher))
            moments.append(moment_loss(pair.student, pair.teacher, groups))
        return {"features": torch.stack(features).mean(), "moments": torch.stack(moments).mean()}

    def _average(self, features: Tensor) -> Tensor:
        """(batch, channels): the mean over the compared positions of the last paired layer."""
        return self.align.teacher(features).vectors.mean(dim=2)


def moments(context: ObjectiveContext) -> Moments:
    """The alignment ``moments``."""
    return Moments(context.pairing, context.loss, context.projector)
