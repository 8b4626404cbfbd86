"""The one training loop: it serves every method."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader

from layerprobe.data.loading import Batch, batches
from layerprobe.data.preprocessing import normalize
from layerprobe.distill.images import Images
from layerprobe.distill.objectives import FeatureObjective, LabelledObjective
from layerprobe.distill.pairing import Pairing
from layerprobe.errors import LayerprobeError
from layerprobe.models.capture import Capture
from layerprobe.models.taps import first_tensor
from layerprobe.types import EpochMetrics, Preprocessing, Progress, silent

HEAD_TERM = "head_cross_entropy"
"""The loss of the classifier that a feature-only student trains on detached features."""


@dataclass(frozen=True)
class Recipe:
    """How long and how fast to train: AdamW and OneCycle with 30 % warm-up.

    Attributes:
        epochs: passes over the training images.
        learning_rate: peak of the schedule.
        weight_decay: of AdamW.
        seed: order of the images, and every other random choice while training.
    """

    epochs: int
    learning_rate: float
    weight_decay: float = 0.01
    seed: int = 0


@dataclass(frozen=True)
class Pupil:
    """A student, its objective, and the teacher's part in it.

    Attributes:
        student: the network to train.
        objective: what it is trained for.
        pairing: the layers that the objective sees; empty for a method without features.
        teacher: the frozen teacher; None for a method without one.
    """

    student: nn.Module
    objective: FeatureObjective | LabelledObjective
    pairing: Pairing
    teacher: nn.Module | None

    @property
    def gate(self) -> str | None:
        """The layer behind which the classifier learns from detached features; None: gradients pass everywhere."""
        return self.pairing.student[-1].name if isinstance(self.objective, FeatureObjective) else None


def make_accelerator(device: torch.device, precision: str = "no") -> Accelerator:
    """Accelerate's view of a device.

    Raises:
        LayerprobeError: if the precision isn't ``no``, ``bf16`` or ``fp16``, or the device can't do it.
    """
    if precision not in ("no", "bf16", "fp16"):
        raise LayerprobeError(f"--precision is no, bf16 or fp16, not {precision!r}")
    if device.type == "cuda":
        torch.cuda.set_device(device)
    try:
        return Accelerator(cpu=device.type == "cpu", mixed_precision=precision)
    except ValueError as error:
        raise LayerprobeError(f"--precision {precision} on {device}: {error}") from None


def train(
    pupil: Pupil,
    images: Images,
    recipe: Recipe,
    accelerator: Accelerator,
    on_epoch: Callable[[EpochMetrics], None] = lambda metrics: None,
    progress: Progress = silent,
) -> tuple[EpochMetrics, ...]:
    """Train a student, and test it after every epoch.

    A ``FeatureObjective`` is called with features alone. The classifier, and every layer past the last paired one,
    is trained with cross entropy on that layer's detached output, in the same step.

    Returns:
        The metrics of every epoch, in order.

    Raises:
        LayerprobeError: if a gradient of the classifier's loss reaches the backbone, or a loss stops being finite.
    """
    with torch.random.fork_rng(devices=[accelerator.device] if accelerator.device.type == "cuda" else []):
        torch.manual_seed(recipe.seed)
        trainer = _Trainer(pupil, images, recipe, accelerator)
        with trainer.student_capture, trainer.teacher_capture:
            trainer.check_backbone()
            history = []
            for epoch in range(1, recipe.epochs + 1):
                history.append(trainer.run_epoch(epoch, progress))
                on_epoch(history[-1])
    return tuple(history)


class _Trainer:
    """The state of one training: networks on their device, optimizer and schedule."""

    def __init__(self, pupil: Pupil, images: Images, recipe: Recipe, accelerator: Accelerator) -> None:
        self._pupil, self._images, self._recipe, self._accelerator = pupil, images, recipe, accelerator
        self._steps = recipe.epochs * len(images.train)
        self._done = 0
        parameters = [*pupil.student.parameters(), *pupil.objective.parameters()]
        optimizer = torch.optim.AdamW(parameters, lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
        self._schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, max_lr=recipe.learning_rate, total_steps=self._steps, pct_start=0.3
        )
        self._student, self._objective, self._optimizer = accelerator.prepare(pupil.student, pupil.objective, optimizer)
        # Accelerate only moves and casts this one; nothing of the teacher is trained.
        self._teacher = pupil.teacher and accelerator.prepare_model(pupil.teacher.eval(), evaluation_mode=True)
        self.student_capture = Capture(self._student, [layer.name for layer in pupil.pairing.student], gate=pupil.gate)
        self.teacher_capture = Capture(
            self._teacher or nn.Identity(), [layer.name for layer in pupil.pairing.teacher if self._teacher]
        )

    def run_epoch(self, epoch: int, progress: Progress) -> EpochMetrics:
        """Train on every image once, then test."""
        started = time.perf_counter()
        self._student.train()
        sums: dict[str, Tensor] = {}
        count = 0
        for batch in batches(self._images.train):
            for name, value in self._step(batch).items():
                sums[name] = sums.get(name, 0) + value.detach() * len(batch.labels)
            count += len(batch.labels)
            self._done += 1
            progress("train", self._done, self._steps)
        losses = {name: float(value) / count for name, value in sums.items()}
        if not all(math.isfinite(value) for value in losses.values()):
            raise LayerprobeError(f"the loss is not finite in epoch {epoch} ({losses}); try a smaller --lr")
        return EpochMetrics(
            epoch=epoch,
            losses=losses,
            learning_rate=float(self._schedule.get_last_lr()[0]),
            test_accuracy=self._test(self._images.test),
            holdout_accuracy=self._test(self._images.holdout) if self._images.holdout else None,
            seconds=time.perf_counter() - started,
        )

    def _step(self, batch: Batch) -> dict[str, Tensor]:
        terms = self._terms(batch)
        self._optimizer.zero_grad()
        self._accelerator.backward(torch.stack(list(terms.values())).sum())
        self._optimizer.step()
        self._schedule.step()
        return terms

    def _terms(self, batch: Batch) -> dict[str, Tensor]:
        device = self._accelerator.device
        inputs = normalize(batch.pixels.to(device, non_blocking=True), self._images.preprocessing)
        labels = batch.labels.to(device, non_blocking=True)
        with torch.no_grad():
            teacher = self.teacher_capture(inputs) if self._teacher else None
        student = self.student_capture(inputs)
        if not isinstance(self._pupil.objective, FeatureObjective):
            terms: dict[str, Tensor] = self._objective(student, teacher, labels)
            return terms
        if teacher is None:
            raise ValueError("a feature objective needs a teacher")
        features = self._objective(
            [student.features[layer.name] for layer in self._pupil.pairing.student],
            [teacher.features[layer.name] for layer in self._pupil.pairing.teacher],
        )
        return {**features, HEAD_TERM: cross_entropy(student.logits, labels)}

    def check_backbone(self) -> None:
        """For a feature objective: no gradient of the classifier's loss reaches what the features train.

        A connection that bypasses the last paired layer would carry one.
        """
        if self._pupil.gate is None:
            return
        self._student.eval()  # a pass in training mode would change the batch statistics
        terms = self._terms(next(batches(self._images.test)))
        head = terms.pop(HEAD_TERM)
        names, parameters = zip(*self._student.named_parameters(), strict=True)
        by_head = torch.autograd.grad(head, parameters, allow_unused=True, retain_graph=True)
        by_features = torch.autograd.grad(torch.stack(list(terms.values())).sum(), parameters, allow_unused=True)
        reached = [
            name
            for name, ours, theirs in zip(names, by_head, by_features, strict=True)
            if ours is not None and theirs is not None
        ]
        if reached:
            raise LayerprobeError(
                f"the classifier's loss reaches the backbone at {reached[0]!r}: a connection bypasses "
                f"{self._pupil.gate!r}; choose a later last layer with --student-layers"
            )

    def _test(self, loader: DataLoader[Batch]) -> float:
        return accuracy(self._student, loader, self._images.preprocessing, self._accelerator.device)


def accuracy(model: nn.Module, loader: DataLoader[Batch], preprocessing: Preprocessing, device: torch.device) -> float:
    """Top-1 accuracy in percent, in evaluation mode."""
    model.eval()
    correct = torch.zeros((), dtype=torch.int64, device=device)
    count = 0
    with torch.no_grad():
        for batch in batches(loader):
            inputs = normalize(batch.pixels.to(device, non_blocking=True), preprocessing)
            logits = first_tensor(model(inputs))
            if logits is None:
                raise ValueError("the model returned no tensor")
            correct += (logits.argmax(dim=1) == batch.labels.to(device)).sum()
            count += len(batch.labels)
    return 100 * int(correct) / count
