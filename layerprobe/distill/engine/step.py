"""What a batch of images teaches: the forward passes and the loss terms, whatever the method."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from layerprobe.data.loading import Batch
from layerprobe.data.preprocessing import normalize
from layerprobe.distill.engine.cached_teacher import CachedTeacherFeatures
from layerprobe.distill.engine.compiling import CompiledCapture, compile_networks
from layerprobe.distill.engine.stored_teacher import StoredTeacherFeatures
from layerprobe.distill.objectives import (
    ClassObjective,
    FeatureObjective,
    IndexedObjective,
    LabelledObjective,
    Objective,
    require_teacher,
)
from layerprobe.distill.pairing import Pairing, distinct
from layerprobe.errors import LayerprobeError
from layerprobe.layers.capture import Capture, Captured
from layerprobe.models.channels_last import prefer_channels_last
from layerprobe.records import Preprocessing

HEAD_TERM = "head_cross_entropy"
"""The loss of the classifier that a feature-only student trains on detached features."""


@dataclass(frozen=True)
class Pupil:
    """A student, its objective, and the teacher's part in it.

    Attributes:
        student: the network to train.
        objective: what it is trained for.
        pairing: the layers that the objective sees; empty for a method without features.
        teacher: the frozen teacher; None for a method without one, or with ``stored``.
        stored: the teacher's features on disk; None: the teacher computes them.
        fresh: dotted paths of the student's modules that are no backbone: its classifier, and what the method put into
            it; needed for a ``backbone_lr_factor``.
    """

    student: nn.Module
    objective: Objective
    pairing: Pairing
    teacher: nn.Module | None
    stored: StoredTeacherFeatures | None = None
    fresh: tuple[str, ...] = ()

    @property
    def gate(self) -> str | None:
        """The layer behind which the classifier learns from detached features; None: gradients pass everywhere."""
        behind = isinstance(self.objective, (FeatureObjective, ClassObjective))
        return distinct(self.pairing.student)[-1].name if behind else None


class TrainingStep:
    """Student, objective and teacher on their device, with taps on the paired layers. Close it when done."""

    def __init__(
        self,
        pupil: Pupil,
        preprocessing: Preprocessing,
        accelerator: Accelerator,
        compile: bool = False,
        channels_last: bool = False,
    ) -> None:
        self._pupil, self._preprocessing, self._device = pupil, preprocessing, accelerator.device
        # Accelerate only moves and casts: what several processes do together stands in ``ProcessGroup``.
        self.student = accelerator.prepare_model(pupil.student, evaluation_mode=True)
        self.objective = accelerator.prepare_model(pupil.objective, evaluation_mode=True)
        self._teacher = pupil.teacher and accelerator.prepare_model(pupil.teacher.eval(), evaluation_mode=True)
        if channels_last:
            blank = torch.zeros(2, 3, *preprocessing.image_size, device=self._device)
            for network in filter(None, (self.student.eval(), self._teacher)):
                prefer_channels_last(network, blank)
        ours, theirs = ([layer.name for layer in side] for side in (pupil.pairing.student, pupil.pairing.teacher))
        if compile:
            compile_networks(filter(None, (self.student, self._teacher)), [*ours, *theirs])
        kind = CompiledCapture if compile else Capture
        self._student_capture = kind(self.student, ours, gate=pupil.gate)
        self._teacher_capture = kind(self._teacher, theirs) if self._teacher else None
        self._memory: CachedTeacherFeatures | None = None

    def close(self) -> None:
        """Take the taps off the networks."""
        self._student_capture.close()
        if self._teacher_capture:
            self._teacher_capture.close()

    def terms(self, batch: Batch) -> dict[str, Tensor]:
        """Named scalar loss terms of a batch, to be summed.

        Both networks see one tensor, so that whatever was done to the images was done for both.
        """
        inputs = self._inputs(batch)
        labels = batch.labels.to(self._device, non_blocking=True)
        teacher = self._taught(inputs, batch)
        student = self._student_capture(inputs)
        kind = self._pupil.objective
        if isinstance(kind, LabelledObjective):
            return dict(self.objective(student, teacher, labels))
        if isinstance(kind, IndexedObjective):
            return dict(self.objective(student, teacher, labels, batch.positions.to(self._device)))
        features = [student.features[layer.name] for layer in self._pupil.pairing.student], self._features(teacher)
        terms = self.objective(*features, labels) if isinstance(kind, ClassObjective) else self.objective(*features)
        return {**terms, HEAD_TERM: cross_entropy(student.logits, labels)}

    def _features(self, teacher: Captured | None) -> list[Tensor]:
        return [require_teacher(teacher).features[layer.name] for layer in self._pupil.pairing.teacher]

    def fit(self, images: Iterable[Batch]) -> None:
        """Show the teacher's features of the training images to an objective that must know them first.

        Args:
            images: all training images, batch by batch.
        """
        kind = self._pupil.objective
        if isinstance(kind, IndexedObjective) or not kind.needs_fit:
            return
        with torch.no_grad():
            taught = (
                (self._features(self._taught(self._inputs(batch), batch)), batch.labels.to(self._device))
                for batch in images
            )
            if isinstance(kind, ClassObjective):
                kind.fit(taught)
            else:
                kind.fit(features for features, _ in taught)

    def remember_teacher(self, images: Iterable[Batch], count: int) -> None:
        """Compute what the teacher says of the training images now, and never again; it must see them unchanged.

        Args:
            images: all training images, batch by batch, in order.
            count: how many there are.
        """
        capture = self._teacher_capture
        if capture:
            with torch.no_grad():
                self._memory = CachedTeacherFeatures((capture(self._inputs(batch)) for batch in images), count)

    def _inputs(self, batch: Batch) -> Tensor:
        return normalize(batch.pixels.to(self._device, non_blocking=True), self._preprocessing)

    def _taught(self, inputs: Tensor, batch: Batch) -> Captured | None:
        if self._pupil.stored:
            features = self._pupil.stored.features(batch.positions)
            on_device = {name: value.to(self._device, non_blocking=True) for name, value in features.items()}
            return Captured(inputs.new_empty(len(inputs), 0), on_device)
        if self._memory:
            return self._memory.recall(batch.positions)
        with torch.no_grad():
            return self._teacher_capture(inputs) if self._teacher_capture else None

    def warm_up(self, batch: Batch) -> None:
        """Pass a batch through the networks before the first step.

        A first pass copies every tapped tensor, later ones those that must be (see ``Capture``). Copies change the
        order in which gradients are summed, and so their last bits: without this pass the first step after a start
        would not be the step of a training that was not stopped. Batch statistics stay as they are.
        """
        inputs = normalize(batch.pixels.to(self._device), self._preprocessing)
        buffers = [(buffer, buffer.clone()) for buffer in self.student.buffers()]
        # As in a step: in-place operations like dropout's may do nothing in evaluation mode.
        self.student.train()
        self._student_capture(inputs)
        with torch.no_grad():
            for buffer, before in buffers:
                buffer.copy_(before)
            if self._teacher_capture:
                self._teacher_capture(inputs)

    def backbone(self, batch: Batch, check: bool = True) -> list[nn.Parameter]:
        """The student's parameters that a feature objective trains, frozen ones aside; none for another objective.

        Args:
            batch: images that the gradients are taken of.
            check: whether to make sure that no gradient of the classifier's loss reaches them.

        Raises:
            LayerprobeError: if one does: through a connection that bypasses the last paired layer.
        """
        if self._pupil.gate is None:
            return []
        self.student.eval()
        self.objective.eval()
        terms = self.terms(batch)
        del terms[HEAD_TERM]
        trained = [(name, one) for name, one in self.student.named_parameters() if one.requires_grad]
        parameters = [one for _, one in trained]
        by_features = _gradients(torch.stack(list(terms.values())).sum(), parameters)
        taught = [number for number, gradient in enumerate(by_features) if gradient is not None]
        if check:
            # A second pass: the graph of a compiled network can be walked once.
            by_head = _gradients(self.terms(batch)[HEAD_TERM], parameters)
            reached = [trained[number][0] for number in taught if by_head[number] is not None]
            if reached:
                raise LayerprobeError(
                    f"the classifier's loss reaches the backbone at {reached[0]!r}: a connection bypasses "
                    f"{self._pupil.gate!r}; choose a later last layer with --student-layers"
                )
        return [parameters[number] for number in taught]


def _gradients(loss: Tensor, parameters: Sequence[nn.Parameter]) -> Sequence[Tensor | None]:
    """Of every parameter; None: the loss doesn't reach it."""
    if not parameters or not loss.requires_grad:
        return [None] * len(parameters)
    return torch.autograd.grad(loss, parameters, allow_unused=True)
