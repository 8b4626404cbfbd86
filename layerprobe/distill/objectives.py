"""The kinds of objective: one that sees features and nothing else, and those that may see labels and logits."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence

from torch import Tensor, nn

from layerprobe.layers.capture import Captured


class FeatureObjective(nn.Module, ABC):
    """An objective for the backbone that sees features and nothing else.

    The engine trains the student's classifier beside it, with cross entropy on detached features.
    """

    needs_fit = False
    """Whether ``fit`` must see the teacher's features of the training images before the first step."""

    def fit(self, batches: Iterable[Sequence[Tensor]]) -> None:
        """Learn the teacher's geometry, for objectives that need it.

        Args:
            batches: the teacher's features of every training image, batch by batch: one tensor (batch, ...) per pair.
        """

    @abstractmethod
    def forward(self, student: Sequence[Tensor], teacher: Sequence[Tensor]) -> dict[str, Tensor]:
        """Named scalar loss terms, to be summed.

        Args:
            student: the student's features, one tensor (batch, ...) per pair of layers.
            teacher: the teacher's, in the same order.
        """


class ClassObjective(nn.Module, ABC):
    """A feature objective whose targets the labels shape: the promise of feature-only does not hold for it."""

    uses_labels = True
    needs_fit = False
    """Whether ``fit`` must see the training images before the first step."""

    def fit(self, batches: Iterable[tuple[Sequence[Tensor], Tensor]]) -> None:
        """Learn the geometry of the teacher's classes, for objectives that need it.

        Args:
            batches: of every training image, batch by batch, the teacher's features, one tensor (batch, ...) per pair,
                and the labels (batch,).
        """

    @abstractmethod
    def forward(self, student: Sequence[Tensor], teacher: Sequence[Tensor], labels: Tensor) -> dict[str, Tensor]:
        """Named scalar loss terms, to be summed.

        Args:
            student: the student's features, one tensor (batch, ...) per pair of layers.
            teacher: the teacher's, in the same order.
            labels: (batch,) class labels.
        """


class LabelledObjective(nn.Module, ABC):
    """An objective that may use labels and logits: the baselines."""

    needs_fit = False
    """Whether ``fit`` must see the teacher's features of the training images before the first step."""

    def fit(self, batches: Iterable[Sequence[Tensor]]) -> None:
        """As a ``FeatureObjective``'s."""

    @abstractmethod
    def forward(self, student: Captured, teacher: Captured | None, labels: Tensor) -> dict[str, Tensor]:
        """Named scalar loss terms, to be summed.

        Args:
            student: the student's logits and features.
            teacher: the teacher's; None for a method without one.
            labels: (batch,) class labels.
        """


class IndexedObjective(nn.Module, ABC):
    """An objective that may use labels and logits, and knows which training images it sees."""

    @abstractmethod
    def prepare(self, labels: Tensor) -> None:
        """Make room for what is remembered of every training image, before the first step.

        Args:
            labels: (images,) class labels of all training images, by position.
        """

    @abstractmethod
    def forward(
        self, student: Captured, teacher: Captured | None, labels: Tensor, positions: Tensor
    ) -> dict[str, Tensor]:
        """Named scalar loss terms, to be summed.

        Args:
            student: the student's logits and features.
            teacher: the teacher's; None for a method without one.
            labels: (batch,) class labels.
            positions: (batch,) places of the images among the training images.
        """


Objective = FeatureObjective | ClassObjective | LabelledObjective | IndexedObjective


def require_teacher(teacher: Captured | None) -> Captured:
    """What the teacher gave, for an objective that can't do without.

    Raises:
        ValueError: if there is no teacher.
    """
    if teacher is None:
        raise ValueError("this objective needs a teacher")
    return teacher
