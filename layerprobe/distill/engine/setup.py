"""Who learns what from whom: what the training loop is given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import nn

from layerprobe.distill.engine.stored_teacher import StoredTeacherFeatures
from layerprobe.distill.objectives import Objective
from layerprobe.distill.pairing import Pairing, distinct


@dataclass(frozen=True)
class TrainingSetup:
    """A student, its objective, and the teacher's part in it.

    Attributes:
        student: the network to train.
        objective: what it is trained for.
        pairing: the layers that the objective sees; empty for a method without features.
        teacher: the frozen teacher; None for a method without one, or with ``stored_teacher``.
        stored_teacher: the teacher's features on disk; None: the teacher computes them.
        stored_holdout: the same of the held-out training images, where their losses are computed.
        has_classifier: whether the student has a classifier; without one nothing but the objective trains it, and its
            accuracy is not measured.
        new_modules: dotted paths of the student's modules that are not part of its backbone: its classifier, and what
            the method put into it; needed for a ``backbone_lr_factor``.
    """

    student: nn.Module
    objective: Objective[Any]
    pairing: Pairing
    teacher: nn.Module | None
    stored_teacher: StoredTeacherFeatures | None = None
    stored_holdout: StoredTeacherFeatures | None = None
    new_modules: tuple[str, ...] = ()
    has_classifier: bool = True

    @property
    def detached_after(self) -> str | None:
        """The layer behind which the classifier learns from detached features; None: gradients pass everywhere."""
        if not self.objective.batch_kind.detached_classifier:
            return None
        return distinct(self.pairing.student)[-1].name
