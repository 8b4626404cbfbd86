"""The networks and the objective of a run, built from its settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch

from layerprobe.distill.changed_student import ChangedStudent
from layerprobe.distill.engine.optimizers import find_head
from layerprobe.distill.engine.setup import TrainingSetup
from layerprobe.distill.layer_pairs import (
    check_layers_are_chosen,
    choose_tokens,
    describe_choice,
    log_left_out,
    log_pairs,
    pair_layers,
)
from layerprobe.distill.methods.catalogue import METHODS, Method
from layerprobe.distill.objective_context import ObjectiveContext
from layerprobe.distill.objectives import Objective
from layerprobe.distill.pairing import NO_PAIRS, Pairing
from layerprobe.distill.session import RunSession
from layerprobe.errors import LayerprobeError
from layerprobe.networks import Network, load_network
from layerprobe.records import Preprocessing
from layerprobe.records.adaptation import ADAPTED, TEACHER_ADAPTED, Adaptation
from layerprobe.records.run_files import CONSTANTS
from layerprobe.settings.alignment import AlignmentSettings
from layerprobe.settings.base import errors_of_part
from layerprobe.settings.model import ModelSettings
from layerprobe.settings.run import DistillSettings, TrainSettings


@dataclass(frozen=True)
class PreparedRun:
    """A run whose networks are built, ready to train.

    Attributes:
        method: the method with its form, as tables name it.
        setting: of the method, as tables name it; empty: it is the same in all.
        labels_reach_backbone: whether labels have any influence on the student's backbone.
        setup: the student, its objective and its teacher.
        student: the network to train.
        teacher: None in a run without one.
        resolved: what was found out of the settings: values by key, laid over those of the configuration.
    """

    method: str
    setting: str
    labels_reach_backbone: bool
    setup: TrainingSetup
    student: Network
    teacher: Network | None
    resolved: Mapping[str, Any]


def prepare_training(session: RunSession, settings: TrainSettings) -> PreparedRun:
    """The network of supervised training.

    Raises:
        LayerprobeError: if it can't be built.
    """
    scratch = METHODS["scratch"]
    with errors_of_part("model"):
        network = session.build_student(settings.model)
    setup = TrainingSetup(
        network.module,
        _seeded_objective(scratch, ObjectiveContext(NO_PAIRS), settings.training.seed),
        NO_PAIRS,
        teacher=None,
        new_modules=find_head(network.module, network.layers),
    )
    return PreparedRun(
        method=scratch.label,
        setting="",
        labels_reach_backbone=scratch.labels_reach_backbone(),
        setup=setup,
        student=network,
        teacher=None,
        resolved={"model": _describe(settings.model, network), **_describe_adapted(ADAPTED, network.adapted)},
    )


def prepare_distillation(session: RunSession, settings: DistillSettings) -> PreparedRun:
    """Student, teacher and objective of a distillation. Both networks see the same input: the teacher's.

    Raises:
        LayerprobeError: if a network can't be built, the method can't use such a teacher, or layers can't be paired.
    """
    check_layers_are_chosen(settings)
    method, seed = settings.chosen_method, settings.training.seed
    teacher = _load_teacher(session, settings, method)
    student = _build_student(session, settings, method, teacher.preprocessing)
    # Before the method changes it.
    resolved = {"teacher": _describe(settings.teacher, teacher), "student": _describe(settings.student, student)}
    chosen = pair_layers(method, settings, teacher, student)
    if method.changes_student:
        changed = method.load_change()(student, teacher, chosen, seed)
    else:
        head = find_head(student.module, student.layers) if student.num_classes else ()
        changed = ChangedStudent(student.module, chosen, chosen, {}, head)
    pairing = choose_tokens(settings, changed.pairing)
    log_pairs(method, settings, changed.chosen)
    log_left_out(method, settings, pairing)
    context = ObjectiveContext(pairing, settings.training.batch_size, len(session.classes), settings.alignment)
    setup = TrainingSetup(
        changed.module,
        _seeded_objective(method, context, seed),
        pairing,
        teacher=teacher.module if method.needs_teacher else None,
        new_modules=changed.new_modules,
        has_classifier=student.num_classes > 0,
    )
    return PreparedRun(
        method=settings.label,
        setting=method.shown_setting(settings.chosen_setting),
        labels_reach_backbone=method.labels_reach_backbone(settings.alignment),
        setup=setup,
        student=student,
        teacher=teacher,
        resolved={
            **resolved,
            **_describe_adapted(ADAPTED, student.adapted),
            **_describe_adapted(TEACHER_ADAPTED, teacher.adapted_before),
            **_describe_pairs(method, settings, changed.chosen),
            **changed.description,
            CONSTANTS: dict(method.constants),
        },
    )


def _load_teacher(session: RunSession, settings: DistillSettings, method: Method) -> Network:
    with errors_of_part("teacher"):
        teacher = load_network(settings.teacher, settings.data, session.train_split)
    classes = len(session.classes)
    if settings.needs_classes and not teacher.num_classes:
        raise LayerprobeError(
            f"{method.name} needs the logits of a teacher, and {teacher.name} has no classifier; {_without_logits()} "
            "learn from its features alone"
        )
    if settings.needs_classes and teacher.num_classes != classes:
        raise LayerprobeError(
            f"{method.name} needs a teacher of the same classes, but it has {teacher.num_classes} and "
            f"{settings.data.name} {classes}; take a teacher trained on these classes"
        )
    return teacher


def _without_logits() -> str:
    """The methods that use a teacher's features, and neither its logits nor its classifier."""
    default = AlignmentSettings()
    names = [name for name, one in METHODS.items() if one.needs_teacher and not one.needs_same_classes(default)]
    return f"{', '.join(names[:-1])} and {names[-1]}"


def _build_student(session: RunSession, settings: DistillSettings, method: Method, like: Preprocessing) -> Network:
    with errors_of_part("student"):
        student = session.build_student(settings.student, like=like)
    if student.num_classes:
        return student
    if method.needs_classifier(settings.alignment):
        raise LayerprobeError(
            f"{method.name} trains the student's classifier, and {student.name} has none; feature-only without "
            "ablations trains a backbone alone"
        )
    return student


def _describe_pairs(method: Method, settings: DistillSettings, pairing: Pairing) -> dict[str, Any]:
    """The layers of a run, as its configuration names them."""
    described: dict[str, Any] = {
        "layers": describe_choice(pairing.teacher),
        "student_layers": describe_choice(pairing.student),
    }
    if settings.alignment.mapping.table:
        described["pairs"] = [f"{ours}={theirs}" for ours, theirs in pairing.names]
    choice = settings.layers
    if method.uses_features and not method.pairs_ends and choice and (choice.ranking or choice.chosen_by):
        described["layers_from"] = str(choice.ranking or choice.chosen_by)
    return described


def _seeded_objective(method: Method, context: ObjectiveContext, seed: int) -> Objective[Any]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return method.build(context)


def _describe(spec: ModelSettings, network: Network) -> dict[str, Any]:
    return {
        "name": network.name,
        "weights": network.weights,
        "weights_key": spec.weights_key,
        "adapt": spec.adapt,
        "num_classes": spec.num_classes if network.num_classes else 0,
        "prefix_tokens": spec.prefix_tokens,
        "weights_sha256": network.weights_sha256,
    }


def _describe_adapted(key: str, adapted: tuple[Adaptation, ...]) -> dict[str, Any]:
    """What of a network's first weights wasn't in their file, or not so, as the configuration of a run says it."""
    return {key: [asdict(one) for one in adapted]} if adapted else {}
