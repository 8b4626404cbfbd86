"""The forward passes and loss terms of a batch of images, whatever the method."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from layerprobe.data.loading import Batch
from layerprobe.data.preprocessing import normalize
from layerprobe.data.transfers import to_device
from layerprobe.distill.batches import Passes
from layerprobe.distill.engine.cached_teacher import CachedTeacherFeatures
from layerprobe.distill.engine.compiling import CompiledCapture, check_compilable, mark_step
from layerprobe.distill.engine.setup import TrainingSetup
from layerprobe.errors import LayerprobeError
from layerprobe.layers.capture import Capture, Captured
from layerprobe.models.channels_last import prefer_channels_last
from layerprobe.records import Preprocessing

HEAD_TERM = "head_cross_entropy"
"""The name of the classifier's loss where it learns from detached features."""


class TrainingStep:
    """Student, objective and teacher on their device, with taps on the paired layers. Close it when done."""

    def __init__(
        self,
        setup: TrainingSetup,
        preprocessing: Preprocessing,
        accelerator: Accelerator,
        compile: bool = False,
        channels_last: bool = False,
        accumulates: bool = False,
    ) -> None:
        self._setup, self._preprocessing, self._device = setup, preprocessing, accelerator.device
        self._batch_kind = setup.objective.batch_kind
        self._classifier_learns = (
            setup.has_classifier and self._batch_kind.detached_classifier and setup.objective.classifier_learns
        )
        # Accelerate only moves and casts: what several processes do together stands in ``ProcessGroup``.
        self.student = accelerator.prepare_model(setup.student, evaluation_mode=True)
        self.objective = accelerator.prepare_model(setup.objective, evaluation_mode=True)
        self._teacher = setup.teacher and accelerator.prepare_model(setup.teacher.eval(), evaluation_mode=True)
        if channels_last:
            blank = torch.zeros(2, 3, *preprocessing.image_size, device=self._device)
            for network in filter(None, (self.student.eval(), self._teacher)):
                prefer_channels_last(network, blank)
        ours, theirs = setup.pairing.student, setup.pairing.teacher
        if compile:
            check_compilable([layer.name for layer in (*ours, *theirs)])
        # Gradients that one batch leaves for the next would lie where that one's pass is replayed.
        self._replayed = compile and self._device.type == "cuda" and not accumulates
        kind = partial(CompiledCapture, replayed=self._replayed) if compile else Capture
        self._student_capture = kind(self.student, ours, gate=setup.detached_after)
        self._teacher_capture = kind(self._teacher, theirs) if self._teacher else None
        captures = (self._student_capture, self._teacher_capture)
        self._compiled = [one for one in captures if isinstance(one, CompiledCapture)]
        self._cached_teacher: CachedTeacherFeatures | None = None

    @contextmanager
    def as_written(self, wanted: bool = True) -> Iterator[None]:
        """Leave compiled code aside for the length of a block, where that is wanted."""
        for capture in self._compiled:
            capture.paused = wanted
        try:
            yield
        finally:
            for capture in self._compiled:
                capture.paused = False

    def close(self) -> None:
        """Take the taps off the networks."""
        self._student_capture.close()
        if self._teacher_capture:
            self._teacher_capture.close()

    def terms(self, batch: Batch, held_out: bool = False) -> dict[str, Tensor]:
        """Named scalar loss terms of a batch, to be summed.

        Both networks see one tensor, so that whatever was done to the images was done for both.

        Args:
            batch: of images.
            held_out: whether they are held out from the training.
        """
        if self._replayed:
            mark_step()
        inputs = self._inputs(batch)
        labels = None if batch.labels is None else to_device(batch.labels, self._device)
        teacher = self._teacher_outputs(inputs, batch, held_out)
        student = self._student_capture(inputs)
        passes = Passes(self._setup.pairing, student, teacher, labels, batch.positions)
        terms: dict[str, Tensor] = self.objective(self._batch_kind.of(passes))
        if self._classifier_learns:
            terms = {**terms, HEAD_TERM: cross_entropy(student.logits, passes.known_labels)}
        return terms

    def fit(self, images: Iterable[Batch]) -> None:
        """Show the teacher's features of the training images to an objective that must know them first.

        Args:
            images: all training images, batch by batch.
        """
        objective = self._setup.objective
        if not objective.needs_fit:
            return
        with torch.no_grad():
            passes = (
                Passes(
                    pairing=self._setup.pairing,
                    student=None,
                    teacher=self._teacher_outputs(self._inputs(batch), batch),
                    labels=None if batch.labels is None else to_device(batch.labels, self._device),
                    positions=batch.positions,
                )
                for batch in images
            )
            objective.fit(objective.fit_kind.of(one) for one in passes)

    def cache_teacher(self, images: Iterable[Batch], count: int) -> None:
        """Compute the teacher's outputs for all training images once; the images may not be augmented.

        Args:
            images: all training images, batch by batch, in order.
            count: how many there are.
        """
        capture = self._teacher_capture
        if capture:
            with torch.no_grad():
                passes = (capture(self._inputs(batch)) for batch in images)
                self._cached_teacher = CachedTeacherFeatures(passes, count, self._device)

    def _inputs(self, batch: Batch) -> Tensor:
        return normalize(to_device(batch.pixels, self._device), self._preprocessing)

    def _teacher_outputs(self, inputs: Tensor, batch: Batch, held_out: bool = False) -> Captured | None:
        if stored := self._setup.stored_holdout if held_out else self._setup.stored_teacher:
            features = stored.features(batch.positions)
            on_device = {name: to_device(value, self._device) for name, value in features.items()}
            return Captured(inputs.new_empty(len(inputs), 0), on_device)
        if self._cached_teacher and not held_out:
            return self._cached_teacher.outputs(batch.positions)
        with torch.no_grad():
            return self._teacher_capture(inputs) if self._teacher_capture else None

    def warm_up(self, batch: Batch) -> None:
        """Pass a batch through the networks before the first step.

        A first pass copies every tapped tensor, later ones those that must be (see ``Capture``). Copies change the
        order in which gradients are summed, and so their last bits: without this pass the first step after a start
        would not be the step of a training that was not stopped. Batch statistics stay as they are.

        Raises:
            LayerprobeError: if the teacher's features of these images are not finite.
        """
        inputs = self._inputs(batch)
        buffers = [(buffer, buffer.clone()) for buffer in self.student.buffers()]
        # As in a step: in-place operations like dropout's may do nothing in evaluation mode.
        self.student.train()
        self._student_capture(inputs)
        with torch.no_grad():
            for buffer, before in buffers:
                buffer.copy_(before)
            if self._teacher_capture:
                self._teacher_capture(inputs)
            if teacher := self._teacher_outputs(inputs, batch):
                _check_finite(teacher.features)
        for capture in self._compiled:
            capture.compile_passes(len(inputs))

    def backbone(self, batch: Batch, check: bool = True) -> list[nn.Parameter]:
        """The student's parameters that a feature objective trains, without frozen ones; none for other objectives.

        Args:
            batch: images that the gradients are taken of.
            check: whether to make sure that no gradient of the classifier's loss reaches them.

        Raises:
            LayerprobeError: if one does: through a connection that bypasses the last paired layer.
        """
        if self._setup.detached_after is None:
            return []
        self.student.eval()
        self.objective.eval()
        terms = self.terms(batch)
        terms.pop(HEAD_TERM, None)
        trained = [(name, one) for name, one in self.student.named_parameters() if one.requires_grad]
        parameters = [one for _, one in trained]
        by_features = _gradients(torch.stack(list(terms.values())).sum(), parameters)
        trained_by_features = [number for number, gradient in enumerate(by_features) if gradient is not None]
        if check and self._classifier_learns:
            # A second pass: a graph can be walked once.
            by_head = _gradients(self.terms(batch)[HEAD_TERM], parameters)
            reached = [trained[number][0] for number in trained_by_features if by_head[number] is not None]
            if reached:
                raise LayerprobeError(
                    f"the classifier's loss reaches the backbone at {reached[0]!r}: a connection bypasses "
                    f"{self._setup.detached_after!r}; choose a later last layer with --student-layers"
                )
        return [parameters[number] for number in trained_by_features]


def _check_finite(features: Mapping[str, Tensor]) -> None:
    """Refuse to learn from a layer that gives no numbers; with the loss alone nobody would know which it is."""
    if broken := [name for name, values in features.items() if not bool(values.isfinite().all())]:
        raise LayerprobeError(
            f"the teacher's features are not finite in {', '.join(broken)}; choose other layers with --layers, or look "
            "at the teacher's weights and --precision"
        )


def _gradients(loss: Tensor, parameters: Sequence[nn.Parameter]) -> Sequence[Tensor | None]:
    """Of every parameter; None: the loss doesn't reach it."""
    if not parameters or not loss.requires_grad:
        return [None] * len(parameters)
    return torch.autograd.grad(loss, parameters, allow_unused=True)
