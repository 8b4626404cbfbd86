"""What an objective is called with: one kind of record for each promise about what it can see."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from layerprobe.data.transfers import to_device
from layerprobe.distill.pairing import Pairing
from layerprobe.layers.capture import Captured


@dataclass(frozen=True)
class Passes:
    """What the forward passes of a batch gave, and the batch's labels. An objective sees a part of it.

    Attributes:
        pairing: the pairs of layers.
        student: the student's logits and features; None where only the teacher saw the batch.
        teacher: the teacher's; None for a method without one.
        labels: (batch,) class labels; None: the images have none.
        positions: (batch,) places of the images among the training images, on the CPU.
    """

    pairing: Pairing
    student: Captured | None
    teacher: Captured | None
    labels: Tensor | None
    positions: Tensor

    @property
    def known_labels(self) -> Tensor:
        """(batch,) class labels.

        Raises:
            ValueError: if the images have none.
        """
        if self.labels is None:
            raise ValueError("this objective needs labels")
        return self.labels


@dataclass(frozen=True)
class FeatureBatch:
    """Features and nothing else: an objective that is called with it can't receive labels or logits.

    Attributes:
        student: the student's features, one tensor (batch, ...) per pair of layers; empty where only the teacher saw
            the batch.
        teacher: the teacher's, in the same order.
    """

    student: Sequence[Tensor]
    teacher: Sequence[Tensor]

    detached_classifier: ClassVar = True
    """Whether the engine trains the classifier, with cross entropy on detached features."""
    indexed: ClassVar = False
    """Whether the objective keeps something of every training image."""

    @classmethod
    def of(cls, passes: Passes) -> FeatureBatch:
        """The features of the paired layers."""
        return cls(*_paired_features(passes))


@dataclass(frozen=True)
class LabelledFeatureBatch:
    """Features and labels, for objectives whose targets the labels shape: the promise of feature-only does not hold.

    Attributes:
        student: as in ``FeatureBatch``.
        teacher: as in ``FeatureBatch``.
        labels: (batch,) class labels.
    """

    student: Sequence[Tensor]
    teacher: Sequence[Tensor]
    labels: Tensor

    detached_classifier: ClassVar = True
    indexed: ClassVar = False

    @classmethod
    def of(cls, passes: Passes) -> LabelledFeatureBatch:
        """The features of the paired layers, and the labels."""
        return cls(*_paired_features(passes), passes.known_labels)


@dataclass(frozen=True)
class LogitBatch:
    """Features, logits and labels: what the baselines see.

    Attributes:
        student: the student's logits and features.
        teacher: the teacher's; None for a method without one.
        labels: (batch,) class labels.
    """

    student: Captured
    teacher: Captured | None
    labels: Tensor

    detached_classifier: ClassVar = False
    indexed: ClassVar = False

    @classmethod
    def of(cls, passes: Passes) -> LogitBatch:
        """Everything but the images' positions."""
        return cls(_require_student(passes), passes.teacher, passes.known_labels)


@dataclass(frozen=True)
class IndexedBatch:
    """Features, logits, labels, and which training images they are of.

    Attributes:
        student: as in ``LogitBatch``.
        teacher: as in ``LogitBatch``.
        labels: (batch,) class labels.
        positions: (batch,) places of the images among the training images.
    """

    student: Captured
    teacher: Captured | None
    labels: Tensor
    positions: Tensor

    detached_classifier: ClassVar = False
    indexed: ClassVar = True

    @classmethod
    def of(cls, passes: Passes) -> IndexedBatch:
        """Everything."""
        labels = passes.known_labels
        return cls(_require_student(passes), passes.teacher, labels, to_device(passes.positions, labels.device))


def require_teacher(teacher: Captured | None) -> Captured:
    """What the teacher gave, for an objective that can't do without.

    Raises:
        ValueError: if there is no teacher.
    """
    if teacher is None:
        raise ValueError("this objective needs a teacher")
    return teacher


def features_of_pairs(pairing: Pairing, student: Captured, teacher: Captured) -> FeatureBatch:
    """The features of the paired layers, pair by pair."""
    return FeatureBatch(
        [student.features[layer.name] for layer in pairing.student],
        [teacher.features[layer.name] for layer in pairing.teacher],
    )


def _paired_features(passes: Passes) -> tuple[list[Tensor], list[Tensor]]:
    teacher = require_teacher(passes.teacher)
    student = [passes.student.features[layer.name] for layer in passes.pairing.student] if passes.student else []
    return student, [teacher.features[layer.name] for layer in passes.pairing.teacher]


def _require_student(passes: Passes) -> Captured:
    if passes.student is None:
        raise ValueError("this objective needs what the student gave")
    return passes.student
