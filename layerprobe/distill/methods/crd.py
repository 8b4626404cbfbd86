"""Contrastive representation distillation (Tian, Krishnan and Isola, ICLR 2020, arXiv 1910.10699)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from layerprobe.distill.batches import IndexedBatch, require_teacher
from layerprobe.distill.full_precision import in_full_precision
from layerprobe.distill.objective_context import ObjectiveContext
from layerprobe.distill.objectives import IndexedObjective
from layerprobe.distill.pairing import Pairing


class MemoryBank(nn.Module):
    """An embedding of length 1 of every training image, updated when the image is seen.

    Args:
        images: how many training images there are.
        width: of an embedding.
        momentum: what stays of the old embedding.
    """

    embeddings: Tensor

    def __init__(self, images: int, width: int, momentum: float) -> None:
        super().__init__()
        self.momentum = momentum
        self.register_buffer("embeddings", normalize(torch.rand(images, width) * 2 - 1, dim=1))

    def scores(self, anchors: Tensor, positions: Tensor) -> Tensor:
        """Inner products of anchors (batch, width) with the embeddings at positions (batch, k): (batch, k)."""
        # All products and then the chosen ones: gathering embeddings would take gigabytes.
        return (anchors @ self.embeddings.T).gather(1, positions)

    @torch.no_grad()
    def update(self, positions: Tensor, embeddings: Tensor) -> None:
        """Move the embeddings of the images at positions (batch,) towards new ones (batch, width)."""
        moved = self.momentum * self.embeddings[positions] + (1 - self.momentum) * embeddings
        # A copy: the old ones are still needed for the gradient of the scores.
        self.embeddings = self.embeddings.index_copy(0, positions, normalize(moved, dim=1))


class OtherClasses(nn.Module):
    """Draws images of other classes.

    Args:
        labels: (images,) class labels of all training images.

    Raises:
        ValueError: if all are of one class.
    """

    order: Tensor
    starts: Tensor
    sizes: Tensor

    def __init__(self, labels: Tensor) -> None:
        super().__init__()
        sizes = torch.bincount(labels)
        if int(sizes.max()) == len(labels):
            raise ValueError("all images are of one class: there is nothing to contrast with")
        self.register_buffer("order", labels.argsort(stable=True))
        self.register_buffer("starts", sizes.cumsum(0) - sizes)
        self.register_buffer("sizes", sizes)

    def draw(self, labels: Tensor, count: int) -> Tensor:
        """Positions of ``count`` images of other classes for every label, with repeats: (batch, count)."""
        others = (len(self.order) - self.sizes[labels])[:, None]
        drawn = (torch.rand(len(labels), count, device=labels.device) * others).long()
        drawn = torch.minimum(drawn, others - 1)  # rounding may reach the end
        skipped = torch.where(drawn >= self.starts[labels, None], self.sizes[labels, None], 0)
        return self.order[drawn + skipped]


def contrastive_loss(scores: Tensor, normalizer: Tensor, images: int) -> Tensor:
    """The negative of equation 10's objective for anchors with one positive and k negatives each.

    h = e / (e + k / images) with e = exp(score) / Z; the loss is -(log h(positive) + sum log(1 - h(negative))), mean
    over anchors.

    Args:
        scores: (batch, 1 + k) inner products divided by the temperature, the positive first.
        normalizer: Z, a scalar.
        images: how many training images there are.
    """
    exponentials = scores.exp() / normalizer
    noise = (scores.shape[1] - 1) / images
    positive = exponentials[:, 0] / (exponentials[:, 0] + noise)
    negative = noise / (exponentials[:, 1:] + noise)
    return -(positive.log() + negative.log().sum(dim=1)).mean()


class ContrastiveDistillation(IndexedObjective):
    """Cross entropy and a weight times the contrastive loss, with negatives of other classes.

    The penultimate features of either network are mapped linearly to embeddings of length 1. Student embeddings
    are contrasted with the memory of the teacher's, and the other way round; the two losses are added. Z is a constant,
    set from the first batch, as in the authors' code. Negatives are drawn with repeats, of any number of images; the
    authors' loader repeats images only where there are fewer than k of other classes.

    Args:
        pairing: the two penultimate layers.
        weight: beta of the publication.
        negatives: k.
        temperature: tau.
        width: dimensions of the embeddings.
        momentum: of the memory.
    """

    normalizers: Tensor

    def __init__(
        self,
        pairing: Pairing,
        weight: float,
        negatives: int,
        temperature: float,
        width: int,
        momentum: float,
    ) -> None:
        super().__init__()
        (self.layers,) = pairing.names
        dimensions = math.prod(pairing.student[0].shape), math.prod(pairing.teacher[0].shape)
        self.embed_student, self.embed_teacher = (nn.Linear(dimension, width) for dimension in dimensions)
        self.weight, self.negatives, self.temperature = weight, negatives, temperature
        self.width, self.momentum = width, momentum
        self.register_buffer("normalizers", torch.full((2,), math.nan))
        self._normalizers_are_set: bool | None = None

    def start_epoch(self, epoch: int, epochs: int) -> None:
        """Look again whether Z is set: a state may have been loaded."""
        self._normalizers_are_set = None

    def prepare(self, labels: Tensor) -> None:
        """Make the two memories, and sort the images by class."""
        self.student_bank, self.teacher_bank = (MemoryBank(len(labels), self.width, self.momentum) for _ in range(2))
        self.others = OtherClasses(labels)

    def forward(self, batch: IndexedBatch) -> dict[str, Tensor]:
        """The terms ``cross_entropy`` and ``contrast``.

        Raises:
            ValueError: without a teacher.
        """
        teacher = require_teacher(batch.teacher)
        features = batch.student.features[self.layers[0]], teacher.features[self.layers[1]]
        return {
            "cross_entropy": cross_entropy(batch.student.logits, batch.labels),
            "contrast": self.weight * self._contrast(*features, batch.labels, batch.positions),
        }

    @in_full_precision
    def _contrast(self, student: Tensor, teacher: Tensor, labels: Tensor, positions: Tensor) -> Tensor:
        ours = normalize(self.embed_student(student.flatten(1)), dim=1)
        theirs = normalize(self.embed_teacher(teacher.flatten(1)), dim=1)
        drawn = torch.cat([positions[:, None], self.others.draw(labels, self.negatives)], dim=1)
        sides = ((ours, self.teacher_bank), (theirs, self.student_bank))
        if self._normalizers_are_set is None:  # one look an epoch: a GPU is waited for
            self._normalizers_are_set = not bool(self.normalizers.isnan().any())
        losses = [self._side(number, anchors, bank, drawn) for number, (anchors, bank) in enumerate(sides)]
        self._normalizers_are_set = True
        if self.training:
            self.student_bank.update(positions, ours.detach())
            self.teacher_bank.update(positions, theirs.detach())
        return torch.stack(losses).sum()

    def _side(self, side: int, anchors: Tensor, bank: MemoryBank, drawn: Tensor) -> Tensor:
        images = len(bank.embeddings)
        scores = bank.scores(anchors, drawn) / self.temperature
        if not self._normalizers_are_set:
            self.normalizers[side] = scores.detach().exp().mean() * images
        return contrastive_loss(scores, self.normalizers[side].clone(), images)


def build(
    context: ObjectiveContext, *, weight: float, negatives: int, temperature: float, width: int, momentum: float
) -> ContrastiveDistillation:
    """The objective of ``crd``."""
    return ContrastiveDistillation(context.pairing, weight, negatives, temperature, width, momentum)
