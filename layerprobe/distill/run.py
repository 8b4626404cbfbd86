"""Training runs: from a configuration to a run folder with metrics and weights."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from accelerate import Accelerator

import layerprobe
from layerprobe.data.image_dataset import ImageDataset
from layerprobe.devices import resolve_device
from layerprobe.distill.baselines.scratch import Scratch
from layerprobe.distill.config import DistillConfig, TrainConfig, Training, default_learning_rate
from layerprobe.distill.images import Images, load_images
from layerprobe.distill.methods import METHODS, Method
from layerprobe.distill.pairing import (
    Pairing,
    baseline_teacher_layers,
    penultimate_pairing,
    student_layers,
    teacher_layers,
)
from layerprobe.distill.run_folder import RunFolder
from layerprobe.distill.setting import Setting
from layerprobe.distill.trainer import Pupil, Recipe, accuracy, make_accelerator, train
from layerprobe.errors import LayerprobeError, closest
from layerprobe.resolve import PREPROCESSING_KEY, RANDOM, DataSpec, ModelSpec, Network, load_network
from layerprobe.types import EpochMetrics, Preprocessing, Progress, Run, silent

_log = logging.getLogger(__name__)

PAIRS = 4
"""Layers that a baseline pairs, unless the user names them (k = 4 in the paper)."""

OnEpoch = Callable[[EpochMetrics], None]


def _unheard(metrics: EpochMetrics) -> None:
    """The epoch callback that does nothing."""


def train_model(config: TrainConfig, on_epoch: OnEpoch = _unheard, progress: Progress = silent) -> Run:
    """Train a network with cross entropy; its weights go to ``model.safetensors`` in the run folder.

    Raises:
        LayerprobeError: if the input is wrong, or the run folder exists.
    """
    stage = _Stage.set(config.data, config.training, config.output, config.overwrite)
    network = stage.beginner(config.model)
    pupil = Pupil(network.module, Scratch(), Pairing((), ()), teacher=None)
    settings = {"command": "train", "model": _described(network)}
    return stage.run("scratch", pupil, network, None, settings, "model.safetensors", on_epoch, progress)


def distill_student(config: DistillConfig, on_epoch: OnEpoch = _unheard, progress: Progress = silent) -> Run:
    """Train a student with a teacher; its weights go to ``student.safetensors`` in the run folder.

    Both networks see the same input: the teacher's preprocessing.

    Raises:
        LayerprobeError: if the input is wrong, the method can't use such a teacher, or the run folder exists.
    """
    method = find_method(config.method)
    stage = _Stage.set(config.data, config.training, config.output, config.overwrite)
    teacher = load_network(config.teacher, config.data, stage.train_split)
    if method.uses_logits and teacher.outputs != len(stage.train_split.classes):
        raise LayerprobeError(
            f"{method.name} compares logits, but the teacher has {teacher.outputs} classes and "
            f"{config.data.name} {len(stage.train_split.classes)}; take a teacher trained on these classes"
        )
    student = stage.beginner(config.student, like=teacher.preprocessing)
    pairing = _pair(method, config, teacher, student)
    pupil = Pupil(
        student.module,
        _seeded(method, Setting(pairing, config.training.batch_size), config.training.seed),
        pairing,
        teacher=teacher.module if method.needs_teacher else None,
    )
    settings = {
        "command": "distill",
        "method": method.name,
        "teacher": _described(teacher),
        "student": _described(student),
        "teacher_layers": [layer.name for layer in pairing.teacher],
        "student_layers": [layer.name for layer in pairing.student],
    }
    return stage.run(method.name, pupil, student, teacher, settings, "student.safetensors", on_epoch, progress)


def find_method(name: str) -> Method:
    """Look a method up by its name.

    Raises:
        LayerprobeError: if there is none.
    """
    if name not in METHODS:
        raise LayerprobeError(f"no method {name!r}; {closest(name, METHODS)}")
    return METHODS[name]


def _pair(method: Method, config: DistillConfig, teacher: Network, student: Network) -> Pairing:
    if not method.uses_features:
        if config.layers or config.student_layers:
            _log.warning("%s uses no features: --layers and --student-layers don't matter", method.name)
        return Pairing((), ())
    if method.penultimate:
        if config.layers or config.student_layers:
            _log.warning(
                "%s compares what enters the classifiers: --layers and --student-layers don't matter", method.name
            )
        return penultimate_pairing(student, teacher)
    if config.layers:
        chosen = teacher_layers(teacher, config.layers)
    elif method.chosen_layers:
        raise LayerprobeError(
            f"{method.name} needs the teacher's layers: --layers NAME.ranking.json (`layerprobe rank` writes one) "
            "or --layers NAME,NAME,..."
        )
    else:
        chosen = baseline_teacher_layers(teacher, PAIRS)
    pairing = Pairing(student_layers(student, config.student_layers, len(chosen)), chosen)
    for ours, theirs in zip(pairing.student, pairing.teacher, strict=True):
        _log.info("student %s %s learns from teacher %s %s", ours.name, ours.shape, theirs.name, theirs.shape)
    return pairing


def _seeded(method: Method, setting: Setting, seed: int) -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return method.build(setting)


def _described(network: Network) -> dict[str, Any]:
    return {"name": network.name, "weights": network.weights, "weights_sha256": network.weights_sha256}


@dataclass(frozen=True)
class _Stage:
    """What every run needs, whatever it trains: data, device, folder."""

    data: DataSpec
    train_split: ImageDataset
    test_split: ImageDataset
    training: Training
    accelerator: Accelerator
    folder: RunFolder

    @classmethod
    def set(cls, data: DataSpec, training: Training, output: Any, overwrite: bool) -> _Stage:
        folder = RunFolder(output, overwrite)
        if training.epochs < 1 or training.batch_size < 2:
            raise LayerprobeError("--epochs is at least 1 and --batch-size at least 2")
        accelerator = make_accelerator(resolve_device(training.device), training.precision)
        return cls(data, data.open("train"), data.open("test"), training, accelerator, folder)

    def beginner(self, spec: ModelSpec, like: Preprocessing | None = None) -> Network:
        """The network to train; with ``like`` it takes the same input as another network."""
        spec = replace(
            spec, weights=spec.weights or RANDOM, num_classes=spec.num_classes or len(self.train_split.classes)
        )
        data = self.data
        if like is not None:
            data = replace(data, image_size=like.image_size[0], mean=like.mean, std=like.std)
        network = load_network(spec, data, self.train_split, seed=self.training.seed)
        if network.outputs != len(self.train_split.classes):
            raise LayerprobeError(
                f"{spec.name} has {network.outputs} outputs, {data.name} has {len(self.train_split.classes)} classes"
            )
        return replace(network, preprocessing=like) if like is not None else network

    def run(
        self,
        method: str,
        pupil: Pupil,
        student: Network,
        teacher: Network | None,
        settings: dict[str, Any],
        weights_file: str,
        on_epoch: OnEpoch,
        progress: Progress,
    ) -> Run:
        """Read the images, train, and write the folder."""
        _log.info("preprocessing: %s", student.preprocessing.describe())
        images = load_images(self.train_split, self.test_split, student.preprocessing, self.training, progress)
        rate = self.training.learning_rate or default_learning_rate(student.name)
        _log.info("peak learning rate %g, %d epochs, batch %d", rate, self.training.epochs, self.training.batch_size)
        training = replace(self.training, learning_rate=rate)
        config = {**settings, **self._settings(student, training)}
        self.folder.start(config)
        teacher_accuracy = self._teacher_accuracy(teacher, images) if teacher else None

        def heard(metrics: EpochMetrics) -> None:
            self.folder.add_epoch(metrics)
            on_epoch(metrics)

        recipe = Recipe(training.epochs, rate, training.weight_decay, training.seed)
        epochs = train(pupil, images, recipe, self.accelerator, heard, progress)
        run = Run(
            folder=self.folder.path,
            weights=self.folder.path / weights_file,
            files=self.folder.files(weights_file),
            method=method,
            config=config,
            epochs=epochs,
            teacher_accuracy=teacher_accuracy,
        )
        metadata = {
            "layerprobe_version": layerprobe.__version__,
            "model": student.name,
            "classes": json.dumps(self.train_split.classes),
            PREPROCESSING_KEY: json.dumps(student.preprocessing.to_dict()),
        }
        self.folder.finish(run, pupil.student, metadata)
        return run

    def _teacher_accuracy(self, teacher: Network, images: Images) -> float | None:
        if teacher.outputs != len(self.train_split.classes):
            return None
        module = teacher.module.to(self.accelerator.device)
        return accuracy(module, images.test, images.preprocessing, self.accelerator.device)

    def _settings(self, student: Network, training: Training) -> dict[str, Any]:
        data = {**asdict(self.data), "root": str(self.data.root) if self.data.root else None}
        return {
            "data": {key: list(value) if isinstance(value, tuple) else value for key, value in data.items()},
            "preprocessing": student.preprocessing.to_dict(),
            "training": asdict(training),
            "optimizer": "AdamW, OneCycle with 30 % warm-up, no augmentation",
            "versions": {"layerprobe": layerprobe.__version__, "torch": str(torch.__version__)},
        }
