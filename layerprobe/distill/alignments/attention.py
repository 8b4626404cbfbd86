"""A mapping that is learned: every student layer attends to the teacher's layers, image by image.

The attention of semantic calibration (Chen et al., AAAI 2021, arXiv 2012.03236). It sees features and nothing else, so
that it serves feature-only distillation as well as that baseline.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize, pad

from layerprobe.distill.batches import FeatureBatch
from layerprobe.distill.full_precision import in_full_precision
from layerprobe.distill.losses.feature_loss import FeatureLoss
from layerprobe.distill.losses.mse import mse
from layerprobe.distill.objective_context import ObjectiveContext
from layerprobe.distill.objectives import FeatureObjective
from layerprobe.distill.pairing import Pairing, distinct
from layerprobe.distill.projectors import MakeProjector, Projector


class CrossLayerAttention(nn.Module):
    """How much each student layer learns from each teacher layer, image by image.

    A layer is described by the similarity matrix of the batch, A = R(F) R(F)^T with R(F) the features as rows of length
    1; every image is a row of it. Two-layer perceptrons make queries of the student's rows and keys of the teacher's;
    a softmax over teacher layers of their inner products is the attention (equations 5 to 7). The authors' code leaves
    the features as long as they are, and gives queries and keys length 1; here features of any scale can be attended
    to, and the attention can become as sharp as it likes.

    The perceptrons take rows of ``batch_size`` similarities: of a smaller batch the rows are filled up with zeros,
    where the authors leave such a batch out.

    Args:
        student: number of student layers.
        teacher: number of teacher layers.
        batch_size: images per batch, at most.
        width: of queries and keys.
    """

    def __init__(self, student: int, teacher: int, batch_size: int, width: int = 32) -> None:
        super().__init__()
        self.batch_size = batch_size
        self.queries = nn.ModuleList(_perceptron(batch_size, width) for _ in range(student))
        self.keys = nn.ModuleList(_perceptron(batch_size, width) for _ in range(teacher))

    @in_full_precision
    def forward(self, student: Sequence[Tensor], teacher: Sequence[Tensor]) -> Tensor:
        """Attention (batch, student layers, teacher layers), sum 1 over the last axis, from features of either side.

        Raises:
            ValueError: if the batch is larger than ``batch_size``.
        """
        queries = torch.stack([embed(self._rows(one)) for embed, one in zip(self.queries, student, strict=True)], dim=1)
        keys = torch.stack([embed(self._rows(one)) for embed, one in zip(self.keys, teacher, strict=True)], dim=1)
        return (queries @ keys.transpose(1, 2)).softmax(dim=2)

    def _rows(self, features: Tensor) -> Tensor:
        if len(features) > self.batch_size:
            raise ValueError(f"a batch of {len(features)} images, at most {self.batch_size} were expected")
        flat = normalize(features.flatten(1), dim=1)
        return pad(flat @ flat.T, (0, self.batch_size - len(flat)))


def _perceptron(batch_size: int, width: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(batch_size, 2 * width), nn.ReLU(), nn.Linear(2 * width, width))


class AttentionMapping(FeatureObjective):
    """Mean over student layers of the feature losses to every teacher layer, weighted by attention.

    For each image and student layer the losses of its projections to the teacher layers are weighted by the attention,
    whose weights have the sum 1; then the mean over the batch and over student layers is taken. Under equal weights
    this is ``FeatureOnly`` with every student layer paired with every teacher layer.

    Args:
        pairing: every student layer with every teacher layer (``full_pairing``).
        batch_size: images per batch, at most.
        loss: the feature loss, taken of every image alone; default: mean squared error.
        projector: from student to teacher channels, of every pair.
    """

    def __init__(
        self,
        pairing: Pairing,
        batch_size: int,
        loss: FeatureLoss = mse,
        projector: MakeProjector = Projector,
    ) -> None:
        super().__init__()
        self.student, self.teacher = (len(distinct(side)) for side in (pairing.student, pairing.teacher))
        if len(pairing.student) != self.student * self.teacher:
            raise ValueError("attention takes every student layer with every teacher layer")
        self.attention = CrossLayerAttention(self.student, self.teacher, batch_size)
        self.projectors = nn.ModuleList(
            projector(ours.shape, theirs.shape) for ours, theirs in zip(pairing.student, pairing.teacher, strict=True)
        )
        self.loss = loss

    def forward(self, batch: FeatureBatch) -> dict[str, Tensor]:
        """The one term ``features``."""
        errors = []
        for projector, ours, theirs in zip(self.projectors, batch.student, batch.teacher, strict=True):
            pair = projector(ours, theirs)
            errors.append(loss_of_each(self.loss, pair.student, pair.teacher))
        losses = torch.stack(errors, dim=1).reshape(-1, self.student, self.teacher)
        attention: Tensor = self.attention(batch.student[:: self.teacher], batch.teacher[: self.teacher])
        return {"features": (attention * losses).sum(dim=2).mean()}


def loss_of_each(loss: FeatureLoss, student: Tensor, teacher: Tensor) -> Tensor:
    """A feature loss of every image alone: (batch,)."""
    # Every image is a batch of its own.
    return torch.vmap(loss)(student[:, None], teacher[:, None])


def attention_mapping(context: ObjectiveContext) -> AttentionMapping:
    """The alignment ``projector`` under the mapping ``attention``."""
    return AttentionMapping(context.pairing, context.batch_size, context.loss, context.projector)
