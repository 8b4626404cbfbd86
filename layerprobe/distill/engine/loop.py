"""The one training loop: it serves every method."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from dataclasses import asdict
from itertools import islice
from typing import Any, NoReturn

import torch
from accelerate import Accelerator
from torch import nn
from torch.utils.data import DataLoader

from layerprobe.data.loading import Batch, batches
from layerprobe.distill.engine.accuracy import count_correct, percent
from layerprobe.distill.engine.catalogue import SCHEDULES
from layerprobe.distill.engine.checkpoints import BEST, DIVERGED, LATEST, Checkpoints, Saved
from layerprobe.distill.engine.images import Images
from layerprobe.distill.engine.loss_means import LossMeans
from layerprobe.distill.engine.optimizers import make_optimizer
from layerprobe.distill.engine.setup import TrainingSetup
from layerprobe.distill.engine.step import TrainingStep
from layerprobe.errors import LayerprobeError, first_of
from layerprobe.records import EpochMetrics, Progress, silent
from layerprobe.runtime.heap import keeping_freed_memory
from layerprobe.runtime.process_group import ProcessGroup
from layerprobe.settings.recipe import RecipeSettings

_log = logging.getLogger(__name__)

DIVERGENCE = 100
"""A loss this many times that of the first epoch with the same terms has diverged."""

TRAINING_STEPS = "training steps"
"""What progress counts."""

_LOOK_EVERY = {"cpu": 50}
"""Steps after which the losses are looked at, beside the end of an epoch, by device."""
_LOOK_SELDOM = 1000
"""Such steps on other devices: looking makes a GPU wait."""


def train(
    setup: TrainingSetup,
    images: Images,
    recipe: RecipeSettings,
    accelerator: Accelerator,
    on_epoch: Callable[[EpochMetrics], None] | None = None,
    progress: Progress = silent,
    checkpoints: Checkpoints | None = None,
    saved: Saved | None = None,
    on_first_step: Callable[[], None] | None = None,
) -> tuple[EpochMetrics, ...]:
    """Train a student, and test it after every epoch.

    An objective is called with the kind of batch that it declares. Where it sees no logits, as that of feature-only,
    the classifier and every layer past the last paired one are trained with cross entropy on that layer's detached
    output, in the same step. A student without a classifier learns from the objective alone, and is not tested.

    Every random draw belongs to the seed and the epoch, so that a training that goes on from a state that was saved at
    an epoch's end is the one that was not stopped.

    Args:
        setup: who learns what from whom.
        images: loaders.
        recipe: how; its learning rate is resolved.
        accelerator: where.
        on_epoch: called with the metrics of every epoch that is trained.
        progress: called after every step.
        checkpoints: where states are saved after every epoch; None: nowhere.
        saved: the state to go on from; None: from the start.
        on_first_step: called when the first step is made: by then nothing of the networks or the objective has failed.

    Returns:
        The metrics of every epoch, in order; those of a saved state first.

    Raises:
        LayerprobeError: if a gradient of the classifier's loss reaches the backbone, or a loss, or the student itself,
            stops being finite or diverges.
    """
    generators = [accelerator.device] if accelerator.device.type == "cuda" else []
    with keeping_freed_memory(accelerator.device), torch.random.fork_rng(devices=generators):
        torch.manual_seed(recipe.seed)
        trainer = _Trainer(setup, images, recipe, accelerator, checkpoints, on_first_step)
        try:
            if recipe.cache_teacher:
                trainer.step.cache_teacher(images.in_order(), images.count)
            if saved:
                trainer.restore(saved)
            else:
                trainer.step.fit(images.in_order())
            trainer.warm_up()
            while len(trainer.history) < recipe.epochs:
                metrics = trainer.run_epoch(progress)
                trainer.save()
                if on_epoch is not None:
                    on_epoch(metrics)
        finally:
            trainer.step.close()
    return tuple(trainer.history)


class _Trainer:
    """The state of one training: networks on their device, optimizer and schedule, and what came of it so far."""

    def __init__(
        self,
        setup: TrainingSetup,
        images: Images,
        recipe: RecipeSettings,
        accelerator: Accelerator,
        checkpoints: Checkpoints | None,
        on_first_step: Callable[[], None] | None,
    ) -> None:
        self._on_first_step, self._has_classifier = on_first_step, setup.has_classifier
        self._images, self._recipe, self._accelerator, self._checkpoints = images, recipe, accelerator, checkpoints
        self._processes = ProcessGroup(accelerator)
        self._look_every = _LOOK_EVERY.get(accelerator.device.type, _LOOK_SELDOM)
        if setup.objective.batch_kind.indexed:
            if self._processes.count > 1:
                raise LayerprobeError("this method keeps something of every image, and takes one process; start one")
            setup.objective.prepare(images.labels)
        self.step = TrainingStep(
            setup, images.preprocessing, accelerator, recipe.compile, recipe.channels_last, recipe.accumulate > 1
        )
        self._student, self._objective = self.step.student, self.step.objective
        self._plain_optimizer = make_optimizer(self._student, self._objective, setup.new_modules, recipe)
        self._parameters = [parameter for group in self._plain_optimizer.param_groups for parameter in group["params"]]
        self._clipped = [self._parameters]
        self._unreached: list[nn.Parameter] = []
        self._steps_per_epoch = math.ceil(len(images.order) / recipe.accumulate)
        self._schedule = SCHEDULES[recipe.schedule].load()(self._plain_optimizer, recipe, self._steps_per_epoch)
        # After the schedule, which counts steps: with float16 Accelerate puts back the step that it finds here.
        self._optimizer = accelerator.prepare_optimizer(self._plain_optimizer)
        self.history: list[EpochMetrics] = []
        self._resumed_after: list[int] = []

    def warm_up(self) -> None:
        """Pass a batch through the networks; make sure that labels stay away from a backbone that features train.

        Its gradients are also clipped apart from the classifier's: one norm for both would let labels in. What nothing
        trains in a student without a classifier is said.
        """
        some = self._images.some(max(self._images.order.largest, 2))
        self.step.warm_up(some)
        if not self._recipe.check and self._recipe.clip is None and self._has_classifier:
            return
        backbone = set(self.step.backbone(some, self._recipe.check))
        if not self._has_classifier:
            self._say_what_is_left(backbone)
        if backbone:
            backbone.update(self._objective.parameters())
            inside = [parameter for parameter in self._parameters if parameter in backbone]
            self._clipped = [inside, [parameter for parameter in self._parameters if parameter not in backbone]]

    def _say_what_is_left(self, backbone: Container[nn.Parameter]) -> None:
        named = self._student.named_parameters()
        left = [name for name, one in named if one.requires_grad and one not in backbone]
        if left:
            _log.info(
                "the student has no classifier, and nothing trains what lies behind its last paired layer: %s keep "
                "their first values",
                first_of(left),
            )

    def run_epoch(self, progress: Progress) -> EpochMetrics:
        """Train on every image once, then test."""
        started = time.perf_counter()
        epoch = len(self.history) + 1
        self._images.start_epoch(epoch)
        self._objective.start_epoch(epoch, self._recipe.epochs)
        _seed(self._recipe.seed, epoch, self._processes.index)
        self._student.train()
        self._objective.train()
        means = LossMeans()
        total = self._recipe.epochs * self._steps_per_epoch
        for step, group in enumerate(self._groups(), start=1):
            self._step(group, means, first=step == 1)
            if self._on_first_step:
                self._on_first_step()
                self._on_first_step = None
            if step % self._look_every == 0:
                self._check(means.of(self._processes), epoch)
            progress(TRAINING_STEPS, (epoch - 1) * self._steps_per_epoch + step, total)
        losses = means.of(self._processes)
        self._check(losses, epoch)
        self._processes.average_buffers(self._student, self._objective)
        self._check_student(epoch)
        metrics = EpochMetrics(
            epoch=epoch,
            losses=losses,
            learning_rate=float(self._schedule.get_last_lr()[0]),
            test_accuracy=self._test(self._images.test, epoch),
            holdout_accuracy=self._test(self._images.holdout, epoch),
            holdout_losses={} if self._has_classifier else self._holdout_losses(),
            seconds=time.perf_counter() - started,
        )
        self.history.append(metrics)
        return metrics

    def _groups(self) -> Iterator[list[tuple[Batch, float]]]:
        """The batches of a step, each with the share of the step's images that it holds."""
        loaded, sizes = batches(self._images.train), iter(self._images.order.sizes())
        while together := sum(islice(sizes, self._recipe.accumulate)):
            group = list(islice(loaded, self._recipe.accumulate))
            yield [(batch, len(batch.positions) / together) for batch in group]

    def _step(self, group: Iterable[tuple[Batch, float]], means: LossMeans, first: bool) -> None:
        self._optimizer.zero_grad()
        with self.step.as_written(first):
            for batch, share in group:
                terms = self.step.terms(batch)
                loss = torch.stack(list(terms.values())).sum()
                self._accelerator.backward(loss if share == 1 else loss * share)
                means.add(terms, len(batch.positions))
        if self._recipe.compile:
            self._leave_out_unreached(first)
        self._processes.add_gradients(self._parameters)
        if self._recipe.clip is not None:
            # Accelerate's own clipping unscales float16's gradients at every call: of a step that can be done once.
            self._accelerator.unscale_gradients(self._optimizer)
            for parameters in filter(None, self._clipped):
                nn.utils.clip_grad_norm_(parameters, self._recipe.clip)
        self._optimizer.step()
        self._schedule.step()

    def _leave_out_unreached(self, first: bool) -> None:
        """Take the gradients away that compiled code makes up: zeros, of parameters that no term depends on.

        They would decay. Which ones they are the first step of an epoch tells, which is not compiled.
        """
        if first:
            self._unreached = [parameter for parameter in self._parameters if parameter.grad is None]
        for parameter in self._unreached:
            parameter.grad = None

    def _check(self, losses: Mapping[str, float], epoch: int) -> None:
        """Stop where the loss is lost, with the state saved."""
        # Of an objective that changes its terms on the way each choice of terms has its own beginning.
        first = next((one for one in self.history if one.losses.keys() == losses.keys()), None)
        if not all(math.isfinite(value) for value in losses.values()):
            what = f"the loss is not finite in epoch {epoch} ({_shown(losses)})"
        elif first and 0 < DIVERGENCE * sum(first.losses.values()) < sum(losses.values()):
            what = (
                f"the loss diverges: in epoch {epoch} it is over {DIVERGENCE} times that of epoch {first.epoch} "
                f"({_shown(losses)})"
            )
        else:
            return
        self._lose(what, epoch)

    def _check_student(self, epoch: int) -> None:
        """Stop where the last step, whose loss nobody computes any more, has spoilt the weights."""
        names, values = zip(*self._student.named_parameters(), strict=True)
        finite = torch.stack([value.isfinite().all() for value in values]).tolist()  # read at once
        if spoilt := [name for name, good in zip(names, finite, strict=True) if not good]:
            self._lose(f"the student's weights are not finite after epoch {epoch} ({first_of(spoilt)})", epoch)

    def _lose(self, what: str, epoch: int) -> NoReturn:
        half = ", --precision no" if self._accelerator.mixed_precision != "no" else ""
        where = self._write(DIVERGED)
        saved = f"; the state is in {where}" if where else ""
        saved += f", that of epoch {epoch - 1} in {LATEST}" if where and epoch > 1 else ""
        raise LayerprobeError(f"{what}{saved}; try a smaller --lr, --clip 1{half}, with --overwrite")

    def save(self) -> None:
        """Save the state after an epoch; also as the best one, if it is the best on the held-out images so far."""
        scores = [-math.inf if one.holdout_score is None else one.holdout_score for one in self.history]
        if scores[-1] > max(scores[:-1], default=-math.inf):
            self._write(BEST)
        self._write(LATEST)

    def _write(self, name: str) -> str | None:
        if self._checkpoints is None:
            return None
        if self._processes.is_main:
            self._checkpoints.save(name, self._student, self._state())
        self._processes.wait()
        return str(self._checkpoints.folder / name)

    def _state(self) -> dict[str, Any]:
        scaler = self._accelerator.scaler
        return {
            "history": [asdict(metrics) for metrics in self.history],
            "resumed_after": list(self._resumed_after),
            "objective": self._objective.state_dict(),
            "optimizer": self._plain_optimizer.state_dict(),
            "schedule": self._schedule.state_dict(),
            "scaler": scaler.state_dict() if scaler else None,
        }

    def restore(self, saved: Saved) -> None:
        """Take a state that ``save`` wrote.

        Raises:
            LayerprobeError: if it is damaged, or of other networks than these.
        """
        checked, state = saved.check(), saved.state
        try:
            self._student.load_state_dict(saved.weights)
            self._objective.load_state_dict(state["objective"])
            self._plain_optimizer.load_state_dict(state["optimizer"])
            self._schedule.load_state_dict(state["schedule"])
            if self._accelerator.scaler and state["scaler"]:
                self._accelerator.scaler.load_state_dict(state["scaler"])
        except (RuntimeError, ValueError, LookupError, TypeError, AttributeError) as error:
            reason = " ".join(str(error).split())
            raise LayerprobeError(
                f"the checkpoint {saved.path} doesn't fit this run ({reason}); start anew with --overwrite"
            ) from error
        self.history = list(checked.history)
        self._resumed_after = [*checked.resumed_after, len(self.history)]

    def _test(self, loader: DataLoader[Batch] | None, epoch: int) -> float | None:
        if loader is None or not self._has_classifier:
            return None
        counts = count_correct(self._student, loader, self._images.preprocessing, self._accelerator.device)
        counts = self._processes.total(counts)
        if lost := int(counts[2]):
            self._lose(f"the student's logits are NaN for {lost} of {int(counts[1])} images after epoch {epoch}", epoch)
        return percent(counts)

    def _holdout_losses(self) -> dict[str, float]:
        """The loss terms of the held-out images, whose gradients nobody takes; none without such images."""
        if self._images.holdout is None:
            return {}
        self._student.eval()
        self._objective.eval()
        means = LossMeans()
        with torch.no_grad():
            for batch in batches(self._images.holdout):
                means.add(self.step.terms(batch, held_out=True), len(batch.positions))
        return means.of(self._processes)


def _seed(seed: int, epoch: int, process: int) -> None:
    """Dropout and the like draw from torch's global generator, which ``train`` puts back at its end."""
    mixed = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
    torch.manual_seed(int(torch.randint(2**62, (), generator=mixed)) + process)


def _shown(losses: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.3g}" for name, value in losses.items())
