"""The folder, the device, the processes and the images of a run."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace

from accelerate import Accelerator

from layerprobe.data.datasets import open_split
from layerprobe.data.image_dataset import ImageDataset
from layerprobe.distill.engine.event_file import EventFile
from layerprobe.distill.engine.images import Images, load_images
from layerprobe.distill.folder import RunFolder, read_run, tidy_run
from layerprobe.errors import LayerprobeError
from layerprobe.networks import Network, load_network
from layerprobe.records import Preprocessing, Progress, Run
from layerprobe.runtime.process_group import ProcessGroup, start_accelerator
from layerprobe.settings.base import SettingsError
from layerprobe.settings.model import RANDOM, ModelSettings
from layerprobe.settings.run import DistillSettings, TrainSettings

_log = logging.getLogger(__name__)


class RunSession:
    """What every run needs, whatever it trains.

    Attributes:
        settings: of the run.
        folder: of the run.
        events: TensorBoard's event files; None: none are wanted.
        accelerator: Accelerate's view of the device.
        processes: that train together.
        train_split: the training images.
        test_split: the test images; None: there are none, since the images have no labels.

    Args:
        settings: of the run.

    Raises:
        LayerprobeError: if the device or the images aren't there, or the folder may not be written.
    """

    def __init__(self, settings: DistillSettings | TrainSettings) -> None:
        training = settings.training
        self.settings = settings
        self.folder = RunFolder(settings.output, settings.overwrite, settings.resume)
        self.events = EventFile(settings.output) if training.tensorboard else None
        self.accelerator: Accelerator = start_accelerator(training.device, training.precision)
        self.processes = ProcessGroup(self.accelerator)
        self.processes.wait()  # until every process has found the folder as it is
        self.train_split: ImageDataset = open_split(settings.data, "train")
        self._check_labels()
        labelled = self.train_split.labels is not None
        self.test_split = open_split(settings.data, "test", beside=self.train_split) if labelled else None

    def _check_labels(self) -> None:
        """Refuse to train a network, or by a method, that needs labels which there are not; say what is not measured.

        Raises:
            SettingsError: if so.
        """
        if self.train_split.labels is not None:
            return
        settings, without = self.settings, f"the images of {self.train_split.name} have no labels"
        if isinstance(settings, TrainSettings):
            raise SettingsError(f"training needs labels, and {without}; `layerprobe distill` can do without")
        if settings.needs_labels:
            raise SettingsError(
                f"{settings.form_in_words} needs labels or the logits of their classes, and {without}; <method> "
                "feature-only learns from features alone, without <alignment.by_class>, <alignment.cross_entropy> and "
                "<alignment.kl>"
            )
        if settings.training.test_samples is not None:
            raise SettingsError(f"<training.test_samples> are for the accuracy, and {without}; leave the number out")
        _log.info("%s: the student gets no classifier, and no accuracy is measured", without)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes of the images."""
        return self.train_split.classes

    def read_finished_run(self) -> Run | None:
        """The run that lies in the folder, where there is nothing left to do; None: there is something left.

        Raises:
            LayerprobeError: if it has other settings, or a plug-in of the run has changed since.
        """
        if not self.folder.goes_on:
            return None
        self.folder.check_plugins(self.settings)
        if not self.folder.finished:
            return None
        self.folder.check_settings(self.settings)
        if self.processes.is_main:
            tidy_run(self.folder.path)
        _log.info("%s is finished: nothing to do", self.folder.path)
        return read_run(self.folder.path)

    @contextmanager
    def holding_folder(self) -> Iterator[None]:
        """Keep other runs from writing into the folder for the length of a block.

        Raises:
            HeldError: if another process writes into it.
        """
        with self.folder.held() if self.processes.is_main else nullcontext():
            yield

    def build_student(self, spec: ModelSettings, like: Preprocessing | None = None) -> Network:
        """The network to train.

        Args:
            spec: of the network; it starts from random weights where there are no others.
            like: the preprocessing that it takes over from another network; None: its own.

        Raises:
            LayerprobeError: if it can't be built, or has another number of outputs than there are classes, and was not
                asked for without a classifier.
        """
        data, classes = self.settings.data, len(self.classes)
        wanted = classes if spec.num_classes is None else spec.num_classes
        spec = spec.replaced(weights=spec.weights or RANDOM, num_classes=wanted)
        seen = data if like is None else data.seen_as(like)
        network = load_network(spec, seen, self.train_split, seed=self.settings.training.seed, trained=True)
        _log.info("%s starts from %s weights", spec.name, network.weights)
        if wanted and not network.num_classes:
            raise SettingsError(
                f"{spec.name} has no classifier, and {data.name} has {classes} classes; give <num_classes> 0 to train "
                "it without one, by `layerprobe distill`"
            )
        if network.num_classes not in (0, classes):
            has = f"{classes} classes" if classes else "no labels"
            raise LayerprobeError(f"{spec.name} has {network.num_classes} outputs, {data.name} has {has}")
        return replace(network, preprocessing=like) if like is not None else network

    def load_images(self, preprocessing: Preprocessing, progress: Progress) -> Images:
        """This process's part of the images.

        Raises:
            LayerprobeError: as ``layerprobe.distill.engine.images.load_images``.
        """
        return load_images(
            self.train_split,
            self.test_split,
            preprocessing,
            self.settings.training,
            progress,
            share=(self.processes.index, self.processes.count),
            skip_damaged=self.settings.data.skip_damaged,
            device=self.accelerator.device,
        )
