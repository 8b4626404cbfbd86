"""Semantic calibration for cross-layer distillation (Chen et al., AAAI 2021, arXiv 2012.03236)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from layerprobe.distill.baselines.kd import WithDistillation
from layerprobe.distill.pairing import Pairing, full_pairing
from layerprobe.distill.projectors import ThreeLayerProjector
from layerprobe.types import Layer


class CrossLayerAttention(nn.Module):
    """How much each student layer learns from each teacher layer, image by image.

    A layer is described by the similarity matrix of the batch, A = R(F) R(F)^T with R(F) the features as rows of length
    1; every image is a row of it. Two-layer perceptrons make queries of the student's rows and keys of the teacher's;
    a softmax over teacher layers of their inner products is the attention (equations 5 to 7; rows of length 1 are the
    authors' code).

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

    def forward(self, student: list[Tensor], teacher: list[Tensor]) -> Tensor:
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
        flat = nn.functional.normalize(features.flatten(1), dim=1)
        return pad(flat @ flat.T, (0, self.batch_size - len(flat)))


def _perceptron(batch_size: int, width: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(batch_size, 2 * width), nn.ReLU(), nn.Linear(2 * width, width))


class SemanticCalibration(WithDistillation):
    """Knowledge distillation + 400 times the attention-weighted MSE of every student to every teacher layer.

    For each student layer the mean squared errors of its projections to the teacher layers are weighted by the
    attention of each image; the sum over student layers is the loss (equation 8), mean over the batch. Projectors have
    three layers.

    Args:
        pairing: student and teacher layers; the mapping is the attention's.
        batch_size: images per batch, at most.
        weight: beta of the publication.
    """

    def __init__(self, pairing: Pairing, batch_size: int, weight: float = 400.0) -> None:
        super().__init__()
        self.student, self.teacher, self.weight = pairing.student, pairing.teacher, weight
        self.attention = CrossLayerAttention(len(self.student), len(self.teacher), batch_size)
        self.projectors = nn.ModuleList(
            ThreeLayerProjector(ours.shape, theirs.shape) for ours, theirs in _pairs(full_pairing(pairing))
        )

    def feature_terms(self, student: Mapping[str, Tensor], teacher: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The term ``features``."""
        ours = [student[layer.name] for layer in self.student]
        theirs = [teacher[layer.name] for layer in self.teacher]
        errors = []
        for number, project in enumerate(self.projectors):
            row, column = divmod(number, len(theirs))
            pair = project(ours[row], theirs[column])
            errors.append((pair.student - pair.teacher).square().flatten(1).mean(dim=1))
        distances = torch.stack(errors, dim=1).reshape(-1, len(ours), len(theirs))
        attention: Tensor = self.attention(ours, theirs)
        return {"features": self.weight * (attention * distances).sum(dim=(1, 2)).mean()}


def _pairs(pairing: Pairing) -> list[tuple[Layer, Layer]]:
    return list(zip(pairing.student, pairing.teacher, strict=True))
