"""Training runs: from a configuration to a run folder with metrics and weights."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import torch

from layerprobe.distill.alignments.catalogue import ONE_TO_ONE
from layerprobe.distill.engine.optimizers import find_head
from layerprobe.distill.engine.setup import TrainingSetup
from layerprobe.distill.mappings import check_agreement, mapped, table_pairing
from layerprobe.distill.methods.catalogue import METHODS, PENULTIMATE, Method
from layerprobe.distill.methods.scratch import Scratch
from layerprobe.distill.methods.simkd import ReusedEnding, reuse_classifier
from layerprobe.distill.objective_context import ObjectiveContext
from layerprobe.distill.objectives import Objective
from layerprobe.distill.pairing import (
    Pairing,
    baseline_teacher_layers,
    distinct,
    named_or_even,
    penultimate_pairing,
    student_layers,
    teacher_layers,
)
from layerprobe.distill.session import OnEpoch, PreparedRun, RunSession
from layerprobe.errors import LayerprobeError
from layerprobe.networks import Network, load_network
from layerprobe.records import EpochMetrics, Layer, Progress, Run, silent
from layerprobe.runtime.subnormals import flushing_subnormals
from layerprobe.settings.layer_choice import LayerChoice
from layerprobe.settings.model import ModelSettings
from layerprobe.settings.run import DistillSettings, TrainSettings

_log = logging.getLogger(__name__)

PAIRS = 4
"""Layers that a baseline pairs, unless the user names them (k = 4 in the paper)."""


def _ignore_epoch(metrics: EpochMetrics) -> None:
    """The epoch callback that does nothing."""


@flushing_subnormals()
def train_model(config: TrainSettings, on_epoch: OnEpoch = _ignore_epoch, progress: Progress = silent) -> Run:
    """Train a network with cross entropy; its weights go to ``model.safetensors`` in the run folder.

    Raises:
        LayerprobeError: if the input is wrong, the run folder exists, or the loss is lost.
    """
    session = RunSession(config)
    if finished := session.finished:
        return finished
    network = session.build_student(config.model)
    head = find_head(network.module, network.layers)
    setup = TrainingSetup(network.module, Scratch(), Pairing((), ()), teacher=None, new_modules=(head,))
    prepared = PreparedRun(
        method="scratch",
        labels_reach_backbone=True,
        setup=setup,
        student=network,
        teacher=None,
        resolved={"model": _described(config.model, network)},
    )
    return session.run(prepared, on_epoch, progress)


@flushing_subnormals()
def distill_student(config: DistillSettings, on_epoch: OnEpoch = _ignore_epoch, progress: Progress = silent) -> Run:
    """Train a student with a teacher; its weights go to ``student.safetensors`` in the run folder.

    Both networks see the same input: the teacher's preprocessing.

    Raises:
        LayerprobeError: if the input is wrong, the method can't use such a teacher, the run folder exists, or the loss
            is lost.
    """
    method = METHODS.find(config.method)
    session = RunSession(config)
    if finished := session.finished:
        return finished
    teacher = load_network(config.teacher, config.data, session.train_split)
    if config.needs_classes and teacher.outputs != len(session.train_split.classes):
        raise LayerprobeError(
            f"{method.name} needs a teacher of the same classes, but it has {teacher.outputs} and {config.data.name} "
            f"{len(session.train_split.classes)}; take a teacher trained on these classes"
        )
    student = session.build_student(config.student, like=teacher.preprocessing)
    described = _described(config.student, student)
    ending: ReusedEnding | None = None
    if method.reuses_classifier:
        size, seed = student.preprocessing.image_size, config.training.seed
        ending, pairing = reuse_classifier(student.module, teacher.module, size, seed)
    else:
        pairing = _pair(method, config, teacher, student)
    _say_pairs(method, config, pairing)
    classes = len(session.train_split.classes)
    context = ObjectiveContext(pairing, config.training.batch_size, classes, config.alignment)
    setup = TrainingSetup(
        student.module,
        _seeded(method, context, config.training.seed),
        pairing,
        teacher=teacher.module if method.needs_teacher else None,
        new_modules=(ending.head, ending.projector) if ending else (find_head(student.module, student.layers),),
    )
    settings: dict[str, Any] = {
        "teacher": _described(config.teacher, teacher),
        "student": described,
        "layers": _named(pairing.teacher),
        "student_layers": _named(pairing.student),
    }
    if config.alignment.mapping.table:
        settings["pairs"] = [f"{ours}={theirs}" for ours, theirs in pairing.names]
    if config.layers and config.layers.ranking:
        settings["layers_from"] = str(config.layers)
    if ending:
        settings["ending"] = asdict(ending)
    prepared = PreparedRun(
        method=", ".join(filter(None, (method.label, config.alignment.label))),
        labels_reach_backbone=method.labels_reach_backbone(config.alignment),
        setup=setup,
        student=student,
        teacher=teacher,
        resolved=settings,
    )
    return session.run(prepared, on_epoch, progress)


def _named(layers: Sequence[Layer]) -> str | None:
    """The layers of one side of a pairing, as a configuration names them."""
    return str(LayerChoice.of(layer.name for layer in distinct(layers))) if layers else None


def _pair(method: Method, config: DistillSettings, teacher: Network, student: Network) -> Pairing:
    if not method.uses_features:
        return Pairing((), ())
    if method.pairs == PENULTIMATE:
        return penultimate_pairing(student, teacher)
    if config.alignment.mapping.table:
        return _pair_by_table(config, teacher, student)
    if config.layers:
        chosen = teacher_layers(teacher, config.layers)
    elif method.layers_required:
        raise LayerprobeError(
            f"{method.name} needs the teacher's layers: --layers NAME.ranking.json (`layerprobe rank` writes one), "
            "NAME,NAME,..., quality:4 or even:4; or pairs with --mapping"
        )
    else:
        chosen = baseline_teacher_layers(teacher, PAIRS)
    mapping = config.alignment.mapping.mapping if method.takes_alignment else method.mapping
    if mapping != ONE_TO_ONE and config.student_layers is not None:
        return mapped(mapping, named_or_even(student, config.student_layers), chosen)
    return mapped(mapping, student_layers(student, config.student_layers, len(chosen)), chosen)


def _pair_by_table(config: DistillSettings, teacher: Network, student: Network) -> Pairing:
    pairing = table_pairing(config.alignment.mapping, student, teacher)
    wanted = config.student_layers
    check_agreement(
        pairing,
        None if wanted is None else named_or_even(student, wanted),
        None if config.layers is None else teacher_layers(teacher, config.layers),
    )
    return pairing


def _say_pairs(method: Method, config: DistillSettings, pairing: Pairing) -> None:
    for ours in distinct(pairing.student):
        theirs = [other for one, other in zip(pairing.student, pairing.teacher, strict=True) if one == ours]
        shown = ", ".join(f"{layer.name} {layer.shape}" for layer in theirs)
        _log.info("student %s %s learns from teacher %s", ours.name, ours.shape, shown)
    taken = {_named(side) for side in (pairing.teacher, pairing.student)}
    wishes = {str(choice) for choice in (config.layers, config.student_layers) if choice}
    if wishes - taken and (method.pairs_ends or not method.uses_features):
        reason = "pairs what comes last in both networks" if method.pairs_ends else "uses no features"
        _log.warning("%s %s: --layers and --student-layers are ignored", method.name, reason)


def _seeded(method: Method, context: ObjectiveContext, seed: int) -> Objective[Any]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return method.build(context)


def _described(spec: ModelSettings, network: Network) -> dict[str, Any]:
    return {
        "name": network.name,
        "weights": network.weights,
        "num_classes": spec.num_classes,
        "weights_sha256": network.weights_sha256,
    }
