"""Knowledge review (Chen, Liu, Zhao and Jia, CVPR 2021, arXiv 2104.09044)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, cross_entropy, interpolate, mse_loss

from layerprobe.distill.batches import LogitBatch, require_teacher
from layerprobe.distill.objective_context import ObjectiveContext
from layerprobe.distill.objectives import LogitObjective
from layerprobe.distill.pairing import Pairing
from layerprobe.distill.spatial import as_map, channels
from layerprobe.errors import LayerprobeError


class AttentionFusion(nn.Module):
    """ABF: fuses a student map with what came from the deeper ones, by two learned attention maps (figure 3a).

    Args:
        channels_in: of the student's map.
        width: channels that maps are fused in.
        channels_out: of the teacher's map.
        fuses: whether there is a deeper map.
    """

    def __init__(self, channels_in: int, width: int, channels_out: int, fuses: bool) -> None:
        super().__init__()
        self.enter = nn.Sequential(nn.Conv2d(channels_in, width, 1, bias=False), nn.BatchNorm2d(width))
        self.leave = nn.Sequential(
            nn.Conv2d(width, channels_out, 3, padding=1, bias=False), nn.BatchNorm2d(channels_out)
        )
        self.attention = nn.Sequential(nn.Conv2d(2 * width, 2, 1), nn.Sigmoid()) if fuses else None

    def forward(self, student: Tensor, deeper: Tensor | None, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Fuse.

        Args:
            student: (batch, channels_in, height, width).
            deeper: what the fusion at the next deeper map handed on; None at the deepest.
            size: height and width of the teacher's map.

        Returns:
            What is compared with the teacher, (batch, channels_out, *size), and what is handed on.
        """
        fused: Tensor = self.enter(student)
        if self.attention is not None and deeper is not None:
            deeper = interpolate(deeper, fused.shape[2:], mode="nearest")
            weights = self.attention(torch.cat([fused, deeper], dim=1))
            fused = fused * weights[:, :1] + deeper * weights[:, 1:]
        if tuple(fused.shape[2:]) != size:
            fused = interpolate(fused, size, mode="nearest")
        return self.leave(fused), fused


def hierarchical_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """HCL: mean squared errors of the maps, and of both pooled to 4 x 4, 2 x 2 and 1 x 1; weights 1, 1/2, 1/4, 1/8.

    Levels that are not smaller than the map are left out; the weights are divided by their sum (section 3.4 and the
    authors' code).

    Args:
        student: (batch, channels, height, width).
        teacher: of the same shape.
    """
    levels = [1, *(0.5 ** (number + 1) for number, side in enumerate(_sides(student)))]
    errors = [mse_loss(student, teacher)]
    errors += [mse_loss(adaptive_avg_pool2d(student, n), adaptive_avg_pool2d(teacher, n)) for n in _sides(student)]
    total = sum(weight * error for weight, error in zip(levels, errors, strict=True))
    return torch.as_tensor(total) / sum(levels)


def _sides(maps: Tensor) -> list[int]:
    return [side for side in (4, 2, 1) if side < min(maps.shape[2:])]


class KnowledgeReview(LogitObjective):
    """Cross entropy + the sum over stages of HCL between fused student maps and the teacher's, deep to shallow.

    Equation 7. The publication weighs the term by 0.6 to 8, tuned for each pair of networks; here it has weight 1, and
    its warm-up over 20 epochs is left out: every method has the same schedule. The authors' code also compares the
    teacher's maps before their last ReLU, has the pooled feature as one more, deepest stage of 1 x 1, and initialises
    the convolutions around the fusion with ``kaiming_uniform_(a=1)``; here maps are the layers' outputs, there are no
    stages but the paired ones, and convolutions start as torch has them.

    Args:
        pairing: stages, from shallow to deep; on both sides maps, or grids of patches, whose extra tokens are left out.
        weight: lambda of the publication.
        width: channels that maps are fused in, at most; the deepest student map's if that has fewer.

    Raises:
        LayerprobeError: if a layer isn't a map.
    """

    def __init__(self, pairing: Pairing, weight: float, width: int) -> None:
        super().__init__()
        for layer in (*pairing.student, *pairing.teacher):
            if not layer.layout.is_map_like:
                raise LayerprobeError(
                    f"reviewkd fuses maps, but {layer.name!r} of shape {layer.shape} is none, and no grid of patches; "
                    "take another method, or other layers"
                )
        self.pairing, self.weight = pairing, weight
        width = min(width, channels(pairing.student[-1].shape))
        self.fusions = nn.ModuleList(
            AttentionFusion(
                channels(ours.shape), width, channels(theirs.shape), fuses=number + 1 < len(pairing.student)
            )
            for number, (ours, theirs) in enumerate(zip(pairing.student, pairing.teacher, strict=True))
        )

    def forward(self, batch: LogitBatch) -> dict[str, Tensor]:
        """The terms ``cross_entropy`` and ``review``.

        Raises:
            ValueError: without a teacher.
        """
        ours = [as_map(batch.student.features[one.name], one.shape) for one in self.pairing.student]
        features = require_teacher(batch.teacher).features
        theirs = [as_map(features[one.name], one.shape) for one in self.pairing.teacher]
        return {
            "cross_entropy": cross_entropy(batch.student.logits, batch.labels),
            "review": self.weight * self.review(ours, theirs),
        }

    def review(self, student: Sequence[Tensor], teacher: Sequence[Tensor]) -> Tensor:
        """The sum of HCL over stages, of maps from shallow to deep with channels first."""
        losses, deeper = [], None
        for number in range(len(student) - 1, -1, -1):
            size = (teacher[number].shape[2], teacher[number].shape[3])
            compared, deeper = self.fusions[number](student[number], deeper, size)
            losses.append(hierarchical_loss(compared, teacher[number]))
        return torch.stack(losses).sum()


def build(context: ObjectiveContext, *, weight: float, width: int) -> KnowledgeReview:
    """The objective of ``reviewkd``."""
    return KnowledgeReview(context.pairing, weight, width)
