"""Training runs: from a configuration to a run folder with metrics and weights."""

from __future__ import annotations

import logging
from dataclasses import asdict
from typing import Any

import torch

from layerprobe.distill.alignments.options import Alignment
from layerprobe.distill.config import DistillConfig, TrainConfig
from layerprobe.distill.engine.loop import Pupil
from layerprobe.distill.engine.optimizers import find_head
from layerprobe.distill.mappings import ONE_TO_ONE, check_agreement, is_table, mapped, table_pairing
from layerprobe.distill.methods.catalogue import METHODS, Method
from layerprobe.distill.methods.scratch import Scratch
from layerprobe.distill.methods.setting import Setting
from layerprobe.distill.methods.simkd import ReusedEnding, reuse_classifier
from layerprobe.distill.pairing import (
    Pairing,
    baseline_teacher_layers,
    distinct,
    named_or_even,
    penultimate_pairing,
    student_layers,
    teacher_layers,
)
from layerprobe.distill.session import Cast, OnEpoch, RunSession
from layerprobe.errors import LayerprobeError, closest
from layerprobe.networks import ModelSpec, Network, load_network
from layerprobe.records import EpochMetrics, Progress, Run, silent
from layerprobe.runtime.subnormals import flushing_subnormals

_log = logging.getLogger(__name__)

PAIRS = 4
"""Layers that a baseline pairs, unless the user names them (k = 4 in the paper)."""


def _ignore_epoch(metrics: EpochMetrics) -> None:
    """The epoch callback that does nothing."""


@flushing_subnormals()
def train_model(config: TrainConfig, on_epoch: OnEpoch = _ignore_epoch, progress: Progress = silent) -> Run:
    """Train a network with cross entropy; its weights go to ``model.safetensors`` in the run folder.

    Raises:
        LayerprobeError: if the input is wrong, the run folder exists, or the loss is lost.
    """
    stage = RunSession(config)
    if finished := stage.finished:
        return finished
    network = stage.build_student(config.model)
    head = find_head(network.module, network.layers)
    cast = Cast("scratch", Pupil(network.module, Scratch(), Pairing((), ()), teacher=None, fresh=(head,)), network)
    return stage.run(cast, {"model": _described(config.model, network)}, on_epoch, progress)


@flushing_subnormals()
def distill_student(config: DistillConfig, on_epoch: OnEpoch = _ignore_epoch, progress: Progress = silent) -> Run:
    """Train a student with a teacher; its weights go to ``student.safetensors`` in the run folder.

    Both networks see the same input: the teacher's preprocessing.

    Raises:
        LayerprobeError: if the input is wrong, the method can't use such a teacher, the run folder exists, or the loss
            is lost.
    """
    method = find_method(config.method)
    _check_alignment(method, config)
    _check_features(method, config)
    stage = RunSession(config)
    if finished := stage.finished:
        return finished
    teacher = load_network(config.teacher, config.data, stage.train_split)
    if _needs_classes(method, config) and teacher.outputs != len(stage.train_split.classes):
        raise LayerprobeError(
            f"{method.name} needs a teacher of the same classes, but it has {teacher.outputs} and {config.data.name} "
            f"{len(stage.train_split.classes)}; take a teacher trained on these classes"
        )
    student = stage.build_student(config.student, like=teacher.preprocessing)
    described = _described(config.student, student)
    ending: ReusedEnding | None = None
    if method.reuses_classifier:
        size, seed = student.preprocessing.image_size, config.training.seed
        ending, pairing = reuse_classifier(student.module, teacher.module, size, seed)
    else:
        pairing = _pair(method, config, teacher, student)
    _say_pairs(method, config, pairing)
    setting = Setting(pairing, config.training.batch_size, len(stage.train_split.classes), config.alignment)
    pupil = Pupil(
        student.module,
        _seeded(method, setting, config.training.seed),
        pairing,
        teacher=teacher.module if method.needs_teacher else None,
        fresh=(ending.head, ending.projector) if ending else (find_head(student.module, student.layers),),
    )
    settings: dict[str, Any] = {
        "teacher": _described(config.teacher, teacher),
        "student": described,
        "teacher_layers": [layer.name for layer in distinct(pairing.teacher)],
        "student_layers": [layer.name for layer in distinct(pairing.student)],
    }
    if is_table(config.alignment.mapping):
        settings["pairs"] = [f"{ours}={theirs}" for ours, theirs in pairing.names]
    if config.layers and config.layers.endswith(".json"):
        settings["layers_from"] = config.layers
    if ending:
        settings["ending"] = asdict(ending)
    label = ", ".join(filter(None, (method.name, config.alignment.label)))
    return stage.run(Cast(label, pupil, student, teacher), settings, on_epoch, progress)


def _needs_classes(method: Method, config: DistillConfig) -> bool:
    return method.needs_classes or config.alignment.needs_logits


def _check_alignment(method: Method, config: DistillConfig) -> None:
    """Refuse a form of feature-only for another method."""
    if config.alignment != Alignment() and not method.aligns:
        raise LayerprobeError(
            f"--alignment, --by-class, --projector, --feature-loss, --mapping and the ablations are forms of "
            f"feature-only; {method.name} has its own; leave them out"
        )


def _check_features(method: Method, config: DistillConfig) -> None:
    """Refuse a file of features for a method that asks the teacher for more, or for nothing."""
    if config.teacher_features is None:
        return
    if _needs_classes(method, config):
        raise LayerprobeError(
            f"{method.name} needs more of a teacher than the features that --teacher-features holds; leave it out"
        )
    if not method.uses_features:
        raise LayerprobeError(f"{method.name} uses no features of a teacher; leave --teacher-features out")


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
        return Pairing((), ())
    if method.penultimate:
        return penultimate_pairing(student, teacher)
    if is_table(config.alignment.mapping):
        return _pair_by_table(config, teacher, student)
    if config.layers:
        chosen = teacher_layers(teacher, config.layers)
    elif method.chosen_layers:
        raise LayerprobeError(
            f"{method.name} needs the teacher's layers: --layers NAME.ranking.json (`layerprobe rank` writes one), "
            "NAME,NAME,..., quality:4 or even:4; or pairs with --mapping"
        )
    else:
        chosen = baseline_teacher_layers(teacher, PAIRS)
    mapping = config.alignment.mapping if method.aligns else method.mapping
    if mapping != ONE_TO_ONE and config.student_layers is not None:
        return mapped(mapping, named_or_even(student, config.student_layers), chosen)
    return mapped(mapping, student_layers(student, config.student_layers, len(chosen)), chosen)


def _pair_by_table(config: DistillConfig, teacher: Network, student: Network) -> Pairing:
    pairing = table_pairing(config.alignment.mapping, student, teacher)
    wanted = config.student_layers
    check_agreement(
        pairing,
        None if wanted is None else named_or_even(student, wanted),
        None if config.layers is None else teacher_layers(teacher, config.layers),
    )
    return pairing


def _say_pairs(method: Method, config: DistillConfig, pairing: Pairing) -> None:
    for ours in distinct(pairing.student):
        theirs = [other for one, other in zip(pairing.student, pairing.teacher, strict=True) if one == ours]
        shown = ", ".join(f"{layer.name} {layer.shape}" for layer in theirs)
        _log.info("student %s %s learns from teacher %s", ours.name, ours.shape, shown)
    taken = {",".join(layer.name for layer in distinct(side)) for side in (pairing.teacher, pairing.student)}
    wishes = {config.layers, ",".join(config.student_layers or ())} - {None, ""}
    if wishes - taken and (method.pairs_ends or not method.uses_features):
        reason = "pairs what comes last in both networks" if method.pairs_ends else "uses no features"
        _log.warning("%s %s: --layers and --student-layers are ignored", method.name, reason)


def _seeded(method: Method, setting: Setting, seed: int) -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return method.build(setting)


def _described(spec: ModelSpec, network: Network) -> dict[str, Any]:
    return {
        "name": network.name,
        "weights": network.weights,
        "num_classes": spec.num_classes,
        "weights_sha256": network.weights_sha256,
    }
