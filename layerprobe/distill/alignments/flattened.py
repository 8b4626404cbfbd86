"""Alignment by principal axes of whole flattened features: channels and positions together.

Section 4 of Cooper et al., arXiv 2511.14981, in a label-free form: the principal axes of all images take the place of
those of each class. ``by_class.py`` has the form of the released code.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from layerprobe.distill.alignments.flattened_sample import FlattenedSample
from layerprobe.distill.batches import FeatureBatch
from layerprobe.distill.full_precision import in_full_precision
from layerprobe.distill.losses.feature_loss import FeatureLoss
from layerprobe.distill.losses.mse import mse
from layerprobe.distill.objective_context import ObjectiveContext
from layerprobe.distill.objectives import FeatureObjective
from layerprobe.distill.pairing import Pairing
from layerprobe.distill.spatial import channels_first
from layerprobe.records import Layer

_log = logging.getLogger(__name__)


class FlattenedTarget(nn.Module):
    """What a student layer shall be like: the teacher's flattened features along the axes of an image's group.

    The target of an image of group c is V_c^T (f - m_c) + V^T (m_c - m): m_c and V_c are mean and leading principal
    axes of the group, m and V those of all images. With one group it is V^T (f - m). There are as many axes as the
    student's flattened features have numbers, and at most one less than images; the rest of a target is 0.

    Args:
        student: the student's layer.
        teacher: the teacher's layer.
        groups: how many groups images belong to.
    """

    means: Tensor
    axes: Tensor
    places: Tensor

    def __init__(self, student: Layer, teacher: Layer, groups: int) -> None:
        super().__init__()
        self.student, self.teacher = student, teacher
        self.width, wide = math.prod(student.shape), math.prod(teacher.shape)
        self.register_buffer("means", torch.zeros(groups, wide))
        self.register_buffer("axes", torch.zeros(groups, wide, 0))
        self.register_buffer("places", torch.zeros(groups, self.width))

    def sample(self) -> FlattenedSample:
        """What the teacher's features of all training images are to be added to, for ``fit``."""
        return FlattenedSample(self.teacher, self.width, len(self.means))

    def fit(self, sample: FlattenedSample) -> None:
        """Take means and axes from a sample."""
        groups = range(len(self.means))
        wanted = min(self.width, sample.dimension)
        found = min(wanted, max(map(sample.count, groups)))
        self.axes = self.axes.new_zeros(len(groups), sample.dimension, found)
        for group in groups:
            self.means[group].copy_(sample.mean(group))
            self.axes[group].copy_(sample.axes(found, group))
        if len(groups) > 1:
            everything = sample.axes(wanted)
            means = torch.stack([sample.mean(group) for group in groups])
            self.places[:, :wanted].copy_((means - sample.mean()) @ everything)
        fewest = min(map(sample.count, groups))
        if fewest <= wanted:
            _log.warning(
                "%s: %d features of the student's %s are to have an axis each, but %d images%s have at most %d axes; "
                "the other features have the same target in %s",
                self.teacher.name,
                wanted,
                self.student.name,
                fewest,
                " of a class" if len(groups) > 1 else "",
                max(fewest - 1, 0),
                "all images of a class" if len(groups) > 1 else "all images, zero",
            )

    @in_full_precision
    def forward(self, teacher: Tensor, groups: Tensor | None) -> Tensor:
        """Targets (batch, width) from teacher features (batch, ...), and the group of each image; None: the first."""
        flat = channels_first(teacher, self.teacher.shape).flatten(1)
        found = self.axes.shape[2]
        if groups is None:
            return nn.functional.pad((flat - self.means[0]) @ self.axes[0], (0, self.width - found))
        targets = self.places[groups].to(flat.dtype)
        for group in torch.unique(groups).tolist():
            members = torch.nonzero(groups == group).flatten()
            targets[members, :found] += (flat[members] - self.means[group]) @ self.axes[group]
        return targets

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *args: Any) -> None:
        # How many axes there are depends on the images.
        saved = state_dict.get(f"{prefix}axes")
        if isinstance(saved, Tensor) and saved.shape[:-1] == self.axes.shape[:-1]:
            self.axes = self.axes.new_zeros(saved.shape)
        super()._load_from_state_dict(state_dict, prefix, *args)


def flattened_targets(pairing: Pairing, groups: int = 1) -> nn.ModuleList:
    """The targets of every pair of layers, to be fitted."""
    pairs = zip(pairing.student, pairing.teacher, strict=True)
    return nn.ModuleList(FlattenedTarget(ours, theirs, groups) for ours, theirs in pairs)


def fit_targets(targets: Iterable[Any], batches: Iterable[tuple[Sequence[Tensor], Tensor | None]]) -> None:
    """Fit the targets of every pair of layers.

    Args:
        targets: from ``flattened_targets``.
        batches: of every training image, the teacher's features, pair by pair, and the group of each image.

    Raises:
        LayerprobeError: if there is too little memory for their principal axes.
    """
    waiting = [(target, target.sample()) for target in targets]
    for teacher, groups in batches:
        for (_, sample), features in zip(waiting, teacher, strict=True):
            sample.add(features, groups)
    while waiting:  # a sample is let go when its axes are found
        target, sample = waiting.pop(0)
        target.fit(sample)


def loss_to_targets(
    targets: Iterable[Any],
    loss: FeatureLoss,
    student: Sequence[Tensor],
    teacher: Sequence[Tensor],
    groups: Tensor | None = None,
) -> Tensor:
    """Mean over pairs of the feature loss between student features and their targets, in the student's own layout."""
    losses = []
    for target, ours, theirs in zip(targets, student, teacher, strict=True):
        features = channels_first(ours, target.student.shape)
        losses.append(loss(features, target(theirs, groups).reshape(features.shape)))
    return torch.stack(losses).mean()


class FlattenedAxes(FeatureObjective):
    """Mean over pairs of the loss between student features and the teacher's along its leading principal axes.

    The target is V^T (f - m): f the teacher's features of an image, flattened whole, m their mean over all images, V
    the leading principal axes of their covariance, as many as the student's flattened features have numbers. The k-th
    of these, counted channel by channel, learns the k-th component. Where the student has more of them than there are
    axes, the rest of the target is 0. Nothing is learned but the student, and spatial sizes need not agree.

    Args:
        pairing: the paired layers.
        loss: the feature loss; default: mean squared error.
    """

    needs_fit = True

    def __init__(self, pairing: Pairing, loss: FeatureLoss = mse) -> None:
        super().__init__()
        self.targets = flattened_targets(pairing)
        self.loss = loss

    def fit(self, batches: Iterable[FeatureBatch]) -> None:
        """Find means and principal axes of the teacher's flattened features."""
        fit_targets(self.targets, ((batch.teacher, None) for batch in batches))

    def forward(self, batch: FeatureBatch) -> dict[str, Tensor]:
        """The one term ``features``."""
        return {"features": loss_to_targets(self.targets, self.loss, batch.student, batch.teacher)}


def flattened_axes(context: ObjectiveContext) -> FlattenedAxes:
    """The alignment ``geometry-flattened``."""
    return FlattenedAxes(context.pairing, context.loss)
