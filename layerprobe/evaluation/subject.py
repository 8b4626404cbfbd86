"""The network that is evaluated: that of a run, or one that the user names."""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypedDict

from torch import nn

from layerprobe.data.datasets import open_split
from layerprobe.data.image_dataset import ImageDataset
from layerprobe.distill.alignments.catalogue import POOLED
from layerprobe.distill.headed import read_head
from layerprobe.distill.students import load_student, read_description, weights_path
from layerprobe.errors import LayerprobeError
from layerprobe.layers.discovery import Discovery, discover
from layerprobe.models.weights import hash_weights
from layerprobe.models.weights_file import read_weights
from layerprobe.networks import load_network
from layerprobe.records import Layer, Preprocessing
from layerprobe.records.layers import output_layer
from layerprobe.records.weights_header import parse_weights_header
from layerprobe.settings.base import errors_of_part
from layerprobe.settings.data import DataSettings
from layerprobe.settings.evaluate import EvaluateSettings
from layerprobe.settings.run import DistillSettings, TrainSettings


@dataclass(frozen=True)
class Subject:
    """A network that is evaluated, and the images that it is meant for.

    Attributes:
        name: for titles.
        module: the network, in evaluation mode.
        preprocessing: how images become its input.
        data: the images; how they are prepared is no part of it.
        classes: that its classifier was trained on; empty: it has no classifier; None: that isn't known.
        prefix_tokens: extra tokens, as the user says it.
        told: how messages call it.
        last_trained: of a run whose student has no classifier the layer behind which nothing was trained; else None.
        only_patches: whether the class token of such a student may have learned nothing.
    """

    name: str
    module: nn.Module
    preprocessing: Preprocessing
    data: DataSettings
    classes: tuple[str, ...] | None
    prefix_tokens: int | None
    told: str
    last_trained: str | None = None
    only_patches: bool = False

    @functools.cached_property
    def discovery(self) -> Discovery:
        """Its layers, and the shape of what it returns."""
        return discover(self.module, self.preprocessing.image_size, prefix_tokens=self.prefix_tokens)

    @property
    def layers(self) -> tuple[Layer, ...]:
        """Its layers, in order of depth."""
        return self.discovery.layers

    @property
    def output(self) -> Layer:
        """What it returns."""
        return output_layer(self.discovery.returned[1:], self.layers)

    @functools.cached_property
    def sha256(self) -> str:
        """Hash of its weights."""
        return hash_weights(self.module)

    def open(self, split: str) -> ImageDataset:
        """One split of the images."""
        return open_split(self.data, split)


def load_subject(config: EvaluateSettings) -> Subject:
    """The network that settings name.

    Raises:
        LayerprobeError: if there is none, or its weights aren't there.
    """
    return _of_run(config, config.run) if config.run is not None else _of_model(config)


def has_classifier(config: EvaluateSettings) -> bool:
    """Whether a network has a trained classifier of its own, or is given one; of ``--model`` none is taken for granted.

    Raises:
        LayerprobeError: if the folder holds no run or no such weights.
    """
    if config.head is not None or config.run is None:
        return config.head is not None
    settings, _ = read_description(config.run)
    return (
        settings.network.num_classes != 0 and _classes(weights_path(config.run, config.which, settings.command)) != ()
    )


def _of_run(config: EvaluateSettings, run: Path) -> Subject:
    settings, about = read_description(run)
    module = load_student(run, config.which, config.allow_code)
    classes = _classes(weights_path(run, config.which, settings.command))
    return Subject(
        name=f"{run} ({config.which} weights)",
        module=module,
        preprocessing=about.preprocessing,
        data=_images(config, settings.data),
        classes=() if settings.network.num_classes == 0 else classes,
        prefix_tokens=settings.network.prefix_tokens,
        told=str(run),
        **_what_learned(settings),
    )


class _WhatLearned(TypedDict, total=False):
    """Of a student without a classifier; see ``Subject``."""

    last_trained: str
    only_patches: bool


def _what_learned(settings: DistillSettings | TrainSettings) -> _WhatLearned:
    if settings.network.num_classes != 0 or not isinstance(settings, DistillSettings):
        return {}
    names = settings.student_layers.names if settings.student_layers else ()
    patches = settings.tokens in (None, "patches") and settings.alignment.projector != POOLED
    return {"last_trained": names[-1], "only_patches": patches} if names else {}


def _of_model(config: EvaluateSettings) -> Subject:
    if config.model is None or config.data is None:
        raise TypeError("settings without a run name a model and its images")
    data = config.data.replaced(skip_damaged=config.skip_damaged)
    with errors_of_part("model"):
        network = load_network(config.model, data, open_split(data, config.split))
    return Subject(
        name=f"{network.name} ({network.weights})",
        module=network.module,
        preprocessing=network.preprocessing,
        data=data.without_preprocessing(),
        classes=None if network.num_classes else (),
        prefix_tokens=config.model.prefix_tokens,
        told=network.name,
    )


def _classes(weights: Path) -> tuple[str, ...] | None:
    return parse_weights_header(read_weights(weights).metadata, weights).classes


def _images(config: EvaluateSettings, of_run: DataSettings) -> DataSettings:
    """Which images; how they become the network's input comes with the run."""
    if config.data is not None:
        return config.data.replaced(skip_damaged=config.skip_damaged)
    skip = config.skip_damaged or of_run.skip_damaged
    return DataSettings(name=of_run.name, data_root=of_run.data_root, skip_damaged=skip)


def with_head(subject: Subject, path: Path) -> Subject:
    """The same network with a linear head in the place of its classifier.

    Raises:
        LayerprobeError: if the file holds no head, or one that was trained on other weights.
    """
    module, classes = read_head(subject.module, (*subject.layers, subject.output), path, subject.told)
    return replace(subject, name=f"{subject.name} with {path.name}", module=module, classes=classes, told=str(path))


def check_classes(subject: Subject, classes: tuple[str, ...]) -> None:
    """Refuse images whose classes are not the ones that the classifier was trained on.

    Raises:
        LayerprobeError: if so, or there is no classifier.
    """
    if not classes:
        raise LayerprobeError(
            "a classifier is evaluated on labelled images, and these have no labels; name others with --data"
        )
    remedy = "--by knn,probe needs no classifier"
    if subject.classes == ():
        raise LayerprobeError(f"{subject.told} has no classifier; {remedy}")
    if subject.classes is None:
        outputs = subject.discovery.returned[-1]
        if outputs != len(classes):
            raise LayerprobeError(
                f"the classifier of {subject.told} has {outputs} outputs, the images have {len(classes)} classes; "
                f"{remedy}"
            )
    elif subject.classes != classes:
        raise LayerprobeError(
            f"{subject.told} was trained on {len(subject.classes)} classes ({_first(subject.classes)}), the images "
            f"have {len(classes)} ({_first(classes)}); --data names images of the same classes, and {remedy}"
        )


def _first(names: tuple[str, ...]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
