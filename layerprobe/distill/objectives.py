"""What a student is trained for: modules that give the loss terms of a batch, each called with its kind of batch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, Generic, TypeVar

from torch import Tensor, nn

from layerprobe.distill.batches import FeatureBatch, IndexedBatch, LabelledFeatureBatch, LogitBatch

Batch = TypeVar("Batch", FeatureBatch, LabelledFeatureBatch, LogitBatch, IndexedBatch)


class Objective(nn.Module, ABC, Generic[Batch]):
    """Loss terms of a batch; its parameters are trained with the student.

    An objective declares the kind of batch that it is called with, and is called with no other. What it can't see is
    thereby said in its signature.
    """

    batch_kind: type[Batch]
    """What it is called with."""

    fit_kind: ClassVar[type[FeatureBatch] | type[LabelledFeatureBatch]] = FeatureBatch
    """What ``fit`` sees of every batch."""

    classifier_learns: bool = True
    """Whether the engine trains the classifier where the objective sees features alone; else it stays as it is."""

    needs_fit: bool = False
    """Whether ``fit`` must see all training images before the first step."""

    @abstractmethod
    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Named scalar loss terms, to be summed."""

    def fit(self, batches: Iterable[Any]) -> None:
        """Learn from the teacher's features of the training images, for objectives that need it.

        Args:
            batches: of every training image, batch by batch, a record of ``fit_kind`` without the student's features.
        """

    def pair_projectors(self) -> Sequence[nn.Module]:
        """What brings each pair of layers into one shape, in the order of the pairs; empty: nothing does.

        Each is called with the features of the student and the teacher, and returns a pair of tensors, (batch,
        channels, ...). Those that are called ``projectors`` are found here.
        """
        return tuple(getattr(self, "projectors", ()))

    def start_epoch(self, epoch: int, epochs: int) -> None:
        """Learn how far the training is, for objectives whose terms or weights change on the way.

        It is called before the first batch of every epoch, also of a run that goes on, so that nothing of it needs to
        be saved. The terms may have other names from one epoch to the next, and not within one.

        Args:
            epoch: from 1.
            epochs: of the whole training.
        """

    def prepare(self, labels: Tensor) -> None:
        """Make room for what is remembered of every training image, before the first step.

        It is called for objectives with an indexed kind of batch alone.

        Args:
            labels: (images,) class labels of all training images, by position.
        """


class FeatureObjective(Objective[FeatureBatch]):
    """An objective for the backbone that sees features and nothing else: the promise of feature-only."""

    batch_kind = FeatureBatch


class LabelledFeatureObjective(Objective[LabelledFeatureBatch]):
    """A feature objective whose targets the labels shape: the promise of feature-only does not hold for it."""

    batch_kind = LabelledFeatureBatch
    fit_kind = LabelledFeatureBatch


class LogitObjective(Objective[LogitBatch]):
    """An objective that may use labels and logits: most of the baselines."""

    batch_kind = LogitBatch


class IndexedObjective(Objective[IndexedBatch]):
    """An objective that may use labels and logits, and knows which training images it sees."""

    batch_kind = IndexedBatch
