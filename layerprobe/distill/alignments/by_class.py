"""The alignments by axes and by moments with classes in place of all images, or clusters: labels shape their targets.

They are no label-free objectives: they are called with labels, and results say that labels reach the backbone.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from layerprobe.distill.alignments.channel_vectors import channel_vectors
from layerprobe.distill.alignments.covariance import Covariance
from layerprobe.distill.alignments.flattened import fit_targets, flattened_targets, loss_to_targets
from layerprobe.distill.alignments.moments import moment_loss
from layerprobe.distill.batches import LabelledFeatureBatch
from layerprobe.distill.full_precision import in_full_precision
from layerprobe.distill.losses.feature_loss import FeatureLoss
from layerprobe.distill.losses.mse import mse
from layerprobe.distill.objective_context import ObjectiveContext
from layerprobe.distill.objectives import LabelledFeatureObjective
from layerprobe.distill.pairing import Pairing
from layerprobe.distill.projectors import MakeProjector, Projector
from layerprobe.distill.spatial import SpatialAligner, channels


class ClassAxes(LabelledFeatureObjective):
    """``PrincipalAxes`` with the axes of each class.

    The target of an image of class c is V_c^T (f - m_c) + V^T (m_c - m): centred on the class's mean, along the class's
    own leading axes, and put back where the class's mean lies along the axes of all images.

    Args:
        pairing: the paired layers.
        classes: how many classes there are.
        loss: the feature loss; default: mean squared error.
    """

    needs_fit = True

    def __init__(self, pairing: Pairing, classes: int, loss: FeatureLoss = mse) -> None:
        super().__init__()
        self.pairs = tuple(zip(pairing.student, pairing.teacher, strict=True))
        self.classes, self.loss = classes, loss
        self.aligners = [SpatialAligner(ours.shape, theirs.shape) for ours, theirs in self.pairs]
        for number, (ours, theirs) in enumerate(self.pairs):
            narrow, wide = channels(ours.shape), channels(theirs.shape)
            self.register_buffer(f"means_{number}", torch.zeros(classes, wide))
            self.register_buffer(f"axes_{number}", torch.zeros(classes, wide, narrow))
            self.register_buffer(f"places_{number}", torch.zeros(classes, narrow))

    def fit(self, batches: Iterable[LabelledFeatureBatch]) -> None:
        """Find means and axes of all images, and of each class, from the teacher's features and the labels."""
        seen = [Covariance(channels(theirs.shape), self.classes) for _, theirs in self.pairs]
        for batch in batches:
            for one, features, align in zip(seen, batch.teacher, self.aligners, strict=True):
                vectors = channel_vectors(align.teacher(features))
                one.add(vectors, batch.labels.repeat_interleave(len(vectors) // len(features)))
        for number, (one, (ours, _)) in enumerate(zip(seen, self.pairs, strict=True)):
            narrow = channels(ours.shape)
            means = torch.stack([one.mean(label) for label in range(self.classes)])
            self.get_buffer(f"means_{number}").copy_(means)
            for label in range(self.classes):
                self.get_buffer(f"axes_{number}")[label].copy_(one.axes(narrow, label))
            self.get_buffer(f"places_{number}").copy_((means - one.mean()) @ one.axes(narrow))

    def forward(self, batch: LabelledFeatureBatch) -> dict[str, Tensor]:
        """The one term ``features``."""
        losses = []
        for number, (align, ours, theirs) in enumerate(zip(self.aligners, batch.student, batch.teacher, strict=True)):
            pair = align(ours, theirs)
            losses.append(self.loss(pair.student, self.target(number, pair.teacher, batch.labels)))
        return {"features": torch.stack(losses).mean()}

    @in_full_precision
    def target(self, number: int, teacher: Tensor, labels: Tensor) -> Tensor:
        """Aligned teacher features (batch, channels, ...) of one pair, along their class's axes."""
        names = ("means", "axes", "places")
        means, axes, places = (self.get_buffer(f"{name}_{number}")[labels] for name in names)
        vectors = teacher.flatten(2).transpose(1, 2) - means[:, None]
        carried = vectors @ axes + places[:, None]
        return carried.transpose(1, 2).reshape(len(teacher), -1, *teacher.shape[2:])


class ClassFlattenedAxes(LabelledFeatureObjective):
    """``FlattenedAxes`` with the axes of each class, as the released code of Cooper et al. has it.

    The target of an image of class c is V_c^T (f - m_c) + V^T (m_c - m), with f the teacher's features of the image,
    flattened whole: centred on the class's mean, along the class's own leading axes, and put back where the class's
    mean lies along the axes of all images. A class of n_c images has n_c - 1 axes at most; of the others the first term
    is 0. The released code can't be fitted to fewer images than axes, nor to a student wider than its teacher.

    Args:
        pairing: the paired layers.
        classes: how many classes there are.
        loss: the feature loss; default: mean squared error.
    """

    needs_fit = True

    def __init__(self, pairing: Pairing, classes: int, loss: FeatureLoss = mse) -> None:
        super().__init__()
        self.targets = flattened_targets(pairing, classes)
        self.loss = loss

    def fit(self, batches: Iterable[LabelledFeatureBatch]) -> None:
        """Find means and axes of all images, and of each class, from the teacher's features and the labels."""
        fit_targets(self.targets, ((batch.teacher, batch.labels) for batch in batches))

    def forward(self, batch: LabelledFeatureBatch) -> dict[str, Tensor]:
        """The one term ``features``."""
        return {"features": loss_to_targets(self.targets, self.loss, batch.student, batch.teacher, batch.labels)}


class ClassMoments(LabelledFeatureObjective):
    """``Moments`` with classes as groups.

    Args:
        pairing: the paired layers.
        loss: the feature loss; default: mean squared error.
        projector: from student to teacher channels.
    """

    def __init__(self, pairing: Pairing, loss: FeatureLoss = mse, projector: MakeProjector = Projector) -> None:
        super().__init__()
        self.projectors = nn.ModuleList(
            projector(ours.shape, theirs.shape) for ours, theirs in zip(pairing.student, pairing.teacher, strict=True)
        )
        self.loss = loss

    def forward(self, batch: LabelledFeatureBatch) -> dict[str, Tensor]:
        """The terms ``features`` and ``moments``."""
        features, moments = [], []
        for projector, ours, theirs in zip(self.projectors, batch.student, batch.teacher, strict=True):
            pair = projector(ours, theirs)
            features.append(self.loss(pair.student, pair.teacher))
            moments.append(moment_loss(pair.student, pair.teacher, batch.labels))
        return {"features": torch.stack(features).mean(), "moments": torch.stack(moments).mean()}


def class_axes(context: ObjectiveContext) -> ClassAxes:
    """The alignment ``geometry``, by class."""
    return ClassAxes(context.pairing, context.classes, context.loss)


def class_flattened_axes(context: ObjectiveContext) -> ClassFlattenedAxes:
    """The alignment ``geometry-flattened``, by class."""
    return ClassFlattenedAxes(context.pairing, context.classes, context.loss)


def class_moments(context: ObjectiveContext) -> ClassMoments:
    """The alignment ``moments``, by class."""
    return ClassMoments(context.pairing, context.loss, context.projector)
