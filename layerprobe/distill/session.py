"""What every run needs, whatever it trains: images, device, processes, folder; and how a run goes from start to end."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from accelerate import Accelerator

from layerprobe.data.datasets import open_split
from layerprobe.data.image_dataset import ImageDataset
from layerprobe.data.loading import Pixels
from layerprobe.distill.engine.accuracy import count_correct, percent
from layerprobe.distill.engine.checkpoints import LATEST, Checkpoints, Saved
from layerprobe.distill.engine.event_file import EventFile
from layerprobe.distill.engine.images import Images, load_images
from layerprobe.distill.engine.loop import read_history, train
from layerprobe.distill.engine.schedules import describe
from layerprobe.distill.engine.setup import TrainingSetup
from layerprobe.distill.engine.stored_teacher import open_stored
from layerprobe.distill.folder import WEIGHTS, RunFolder, read_run
from layerprobe.errors import LayerprobeError
from layerprobe.networks import PREPROCESSING_KEY, RANDOM, Network, load_network
from layerprobe.records import EpochMetrics, Preprocessing, Progress, Run
from layerprobe.runtime.environment import environment, peak_memory, start_measuring
from layerprobe.runtime.process_group import ProcessGroup, describe_processes, meet
from layerprobe.settings.model import ModelSettings
from layerprobe.settings.recipe import TrainingSettings
from layerprobe.settings.run import DistillSettings, TrainSettings
from layerprobe.version import __version__

_log = logging.getLogger(__name__)

OnEpoch = Callable[[EpochMetrics], None]


@dataclass(frozen=True)
class PreparedRun:
    """A run whose networks are built, ready to train.

    Attributes:
        method: the method with its form, as tables name it.
        labels_reach_backbone: whether labels have any influence on the student's backbone.
        setup: the student, its objective and its teacher.
        student: the network to train.
        teacher: None in a run without one.
        resolved: what was found out of the configuration: values by key, laid over those of the configuration.
    """

    method: str
    labels_reach_backbone: bool
    setup: TrainingSetup
    student: Network
    teacher: Network | None
    resolved: Mapping[str, Any]


class RunSession:
    """Images, device and folder of one run.

    Args:
        config: what the run is told.

    Raises:
        LayerprobeError: if it asks for what isn't there, or the folder may not be written.
    """

    def __init__(self, config: DistillSettings | TrainSettings) -> None:
        training = config.training
        self.folder = RunFolder(config.output, config.overwrite, config.resume)
        self.events = EventFile(config.output) if training.tensorboard else None
        self.config = config
        self._accelerator: Accelerator = meet(training.device, training.precision)
        self._processes = ProcessGroup(self._accelerator)
        self._processes.wait()  # until every process has found the folder as it is
        self.train_split: ImageDataset = open_split(config.data, "train")
        self.test_split: ImageDataset = open_split(config.data, "test", tell=False)

    @property
    def finished(self) -> Run | None:
        """The run that lies in the folder, where there is nothing left to do.

        Raises:
            LayerprobeError: if another run was asked for.
        """
        if not (self.folder.goes_on and self.folder.finished):
            return None
        self.folder.check_asked(self.config)
        _log.info("%s is finished: nothing to do", self.folder.path)
        return read_run(self.folder.path)

    def build_student(self, spec: ModelSettings, like: Preprocessing | None = None) -> Network:
        """The network to train; with ``like`` it takes the same input as another network."""
        data, classes = self.config.data, len(self.train_split.classes)
        spec = spec.replaced(weights=spec.weights or RANDOM, num_classes=spec.num_classes or classes)
        overrides = data
        if like is not None:
            overrides = data.replaced(image_size=like.image_size[0], mean=like.mean, std=like.std)
        network = load_network(spec, overrides, self.train_split, seed=self.config.training.seed)
        _log.info("%s starts from %s weights", spec.name, network.weights)
        if network.outputs != classes:
            raise LayerprobeError(f"{spec.name} has {network.outputs} outputs, {data.name} has {classes} classes")
        return replace(network, preprocessing=like) if like is not None else network

    def run(self, prepared: PreparedRun, on_epoch: OnEpoch, progress: Progress) -> Run:
        """Read the images, train, and write the folder.

        Args:
            prepared: the networks and what is trained.
            on_epoch: told of every epoch.
            progress: told of every step.
        """
        started = time.perf_counter()
        start_measuring(self._accelerator.device)
        config = self._resolved(prepared)
        if self.folder.goes_on:
            self.folder.check_same(config)
        share = self._processes.index, self._processes.count
        preprocessing = prepared.student.preprocessing
        images = load_images(self.train_split, self.test_split, preprocessing, self.config.training, progress, share)
        setup = self._with_stored_teacher(prepared, images)
        try:
            return self._train(replace(prepared, setup=setup), config, images, on_epoch, progress, started)
        finally:
            if setup.stored_teacher:
                setup.stored_teacher.close()

    def _train(
        self,
        prepared: PreparedRun,
        config: dict[str, Any],
        images: Images,
        on_epoch: OnEpoch,
        progress: Progress,
        started: float,
    ) -> Run:
        command = str(config["command"])
        metadata = self._metadata(prepared.student)
        checkpoints = Checkpoints(self.folder.checkpoints, metadata)
        saved = self._begin(checkpoints, config)
        teacher_accuracy = self._teacher_accuracy(prepared.teacher, images) if prepared.teacher else None

        def write(metrics: EpochMetrics) -> None:
            if self._processes.is_main:
                self.folder.add_epoch(metrics)
                if self.events:
                    self.events.add(metrics)
            on_epoch(metrics)

        epochs = train(
            prepared.setup, images, self._training(prepared), self._accelerator, write, progress, checkpoints, saved
        )
        run = Run(
            folder=self.folder.path,
            weights=self.folder.path / WEIGHTS[command],
            files=self.folder.files(WEIGHTS[command]),
            method=prepared.method,
            config=config,
            epochs=epochs,
            labels_reach_backbone=prepared.labels_reach_backbone,
            teacher_accuracy=teacher_accuracy,
            wall_seconds=time.perf_counter() - started,
            peak_memory=peak_memory(self._accelerator.device),
            resumed_after=(*saved.state["resumed_after"], len(read_history(saved))) if saved else (),
            environment=environment(self._accelerator.device, self._processes.count),
        )
        if self._processes.is_main:
            self.folder.finish(run, prepared.setup.student, metadata)
        self._processes.wait()
        return run

    def _begin(self, checkpoints: Checkpoints, config: dict[str, Any]) -> Saved | None:
        """Make the folder ready; the state to go on from, if there is one."""
        saved = checkpoints.load(LATEST) if self.folder.goes_on else None
        self._processes.wait()
        if saved:
            history = read_history(saved)
            _log.info("going on after epoch %d of %d", len(history), self.config.training.epochs)
            if self._processes.is_main:
                self.folder.write_epochs(history)
        elif self._processes.is_main:
            checkpoints.remove()
            self.folder.start(config)
        self._processes.wait()
        return saved

    def _with_stored_teacher(self, prepared: PreparedRun, images: Images) -> TrainingSetup:
        path = self.config.teacher_features if isinstance(self.config, DistillSettings) else None
        if path is None or prepared.teacher is None:
            return prepared.setup
        pixels = images.train.dataset
        if not isinstance(pixels, Pixels):
            raise TypeError("the loader was not made by load_images")
        stored = open_stored(path, prepared.teacher, prepared.setup.pairing.teacher, pixels)
        _log.info("the teacher's features come from %s", path)
        return replace(prepared.setup, teacher=None, stored_teacher=stored)

    def _resolved(self, prepared: PreparedRun) -> dict[str, Any]:
        """Everything that the run does, as ``config.yaml`` holds it."""
        training = self._training(prepared)
        self._say(prepared, training)
        values = self.config.replaced(training=training).configuration()
        together = describe_processes(self._processes, (prepared.setup.student, prepared.setup.objective))
        return {
            **values,
            **prepared.resolved,
            "preprocessing": prepared.student.preprocessing.to_dict(),
            "recipe": describe(training),
            **together,
            "versions": {"layerprobe": __version__, "torch": str(torch.__version__)},
        }

    def _training(self, prepared: PreparedRun) -> TrainingSettings:
        """How to train, with what depends on the student filled in."""
        return self.config.training.resolved(prepared.student.name)

    def _say(self, prepared: PreparedRun, training: TrainingSettings) -> None:
        _log.info("preprocessing: %s", prepared.student.preprocessing.describe())
        epochs = "1 epoch" if training.epochs == 1 else f"{training.epochs} epochs"
        _log.info("peak learning rate %g, %s, batch %d", training.lr, epochs, training.batch_size)
        _log.info("%s, augmentation %s", describe(training), training.augment)
        if training.backbone_lr_factor != 1:
            rate = (training.lr or 0.0) * training.backbone_lr_factor
            new = " with ".join(map(repr, prepared.setup.new_modules))
            _log.info("the backbone's peak learning rate is %g; the classifier %s has the full one", rate, new)
        for key, value in describe_processes(self._processes, (prepared.setup.student,)).items():
            if self._processes.count > 1:
                _log.info("%s: %s", key.replace("_", " "), value)

    def _metadata(self, student: Network) -> dict[str, str]:
        return {
            "layerprobe_version": __version__,
            "model": student.name,
            "classes": json.dumps(self.train_split.classes),
            PREPROCESSING_KEY: json.dumps(student.preprocessing.to_dict()),
        }

    def _teacher_accuracy(self, teacher: Network, images: Images) -> float | None:
        if teacher.outputs != len(self.train_split.classes):
            _log.info(
                "the teacher has %d classes, the data %d: its accuracy is not measured",
                teacher.outputs,
                len(self.train_split.classes),
            )
            return None
        device = self._accelerator.device
        counts = count_correct(teacher.module.to(device), images.test, images.preprocessing, device)
        return percent(self._processes.total(counts))
