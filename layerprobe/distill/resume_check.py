"""Whether a run that lies in a folder is the one that is asked for."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from layerprobe.distill.config import DistillConfig, TrainConfig, Training, default_learning_rate
from layerprobe.distill.config_file import Values, differences, flat, to_values
from layerprobe.distill.engine.catalogue import SCHEDULES, default_milestones
from layerprobe.networks import AS_BUILT, PRETRAINED, RANDOM

MAY_DIFFER = (
    "versions", "recipe", "layers_from", "preprocessing.source", "data.download", "training.device",
    "training.workers", "training.tensorboard", "training.check", "training.cache_teacher",
)  # fmt: skip
"""What a run that goes on may do otherwise."""

_LAYERS = ("teacher_layers", "student_layers")
_NAME = re.compile(r"(?!.*\.json$)[A-Za-z_][^:*]*")
"""A layer's name; an index, a pattern, a rule and a ranking file name layers too, but only a network tells which."""


def filled_in(training: Training, model: str) -> Training:
    """How to train a network, with what depends on it and on the number of epochs."""
    rate, milestones = training.learning_rate, training.milestones
    if rate is None:
        rate = default_learning_rate(model)
    if milestones is None and SCHEDULES.find(training.schedule).takes_milestones:
        milestones = default_milestones(training.epochs)
    return replace(training, learning_rate=rate, milestones=milestones)


def told_otherwise(asked: DistillConfig | TrainConfig, run: DistillConfig | TrainConfig) -> list[str]:
    """What a run was told otherwise than is asked for, e.g. ``training.epochs 3, not 4``.

    Args:
        asked: as it was given. What a run finds out, like the hash of weights, is compared where it is given; layers
            where they are given by name.
        run: as ``config.yaml`` holds it.
    """
    student = asked.student if isinstance(asked, DistillConfig) else asked.model
    ours, theirs = to_values(replace(asked, training=filled_in(asked.training, student.name))), to_values(run)
    return differences(ours, theirs, (*MAY_DIFFER, *_left_open(flat(ours), flat(theirs))))


def _left_open(asked: Values, run: Values) -> Iterator[str]:
    """Keys that say nothing in what is asked for, and in a run what it found."""
    for network in ("teacher", "student", "model"):
        weights, sha256 = f"{network}.weights", f"{network}.weights_sha256"
        if asked.get(weights) is None and run.get(weights) in (AS_BUILT, PRETRAINED, RANDOM):
            yield weights
        if asked.get(sha256) is None:
            yield sha256
    for key in _LAYERS:
        layers = asked.get(key) or ()
        layers = layers.split(",") if isinstance(layers, str) else layers
        if not layers or not all(_NAME.fullmatch(layer) for layer in layers):
            yield key
