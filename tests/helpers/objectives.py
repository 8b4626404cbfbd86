"""Objectives of every method, and what they are called with."""

from typing import Any

import torch
from torch import Tensor

from layerprobe.distill.batches import Passes
from layerprobe.distill.methods.catalogue import METHODS
from layerprobe.distill.objective_context import ObjectiveContext
from layerprobe.distill.objectives import Objective
from layerprobe.distill.pairing import Pairing
from layerprobe.layers.capture import Captured
from layerprobe.settings.alignment import AlignmentSettings

NO_PAIRS = Pairing((), ())


def objective_of(
    method: str, pairing: Pairing = NO_PAIRS, batch_size: int = 128, setting: str = "", **constants: Any
) -> Any:
    """A method's objective in a setting, or in its default one; constants replace those of the method."""
    form = METHODS[method].in_setting(setting or METHODS[method].default_setting)
    return form.build(ObjectiveContext(pairing, batch_size), **constants)


def feature_only(form: AlignmentSettings, pairing: Pairing, classes: int = 10, batch_size: int = 128) -> Any:
    """The objective of a form of feature-only."""
    return METHODS["feature-only"].build(ObjectiveContext(pairing, batch_size, classes, form))


def loss_terms(
    objective: Objective[Any],
    pairing: Pairing,
    student: Captured | None,
    teacher: Captured | None,
    labels: Tensor,
    positions: Tensor | None = None,
) -> dict[str, Tensor]:
    """An objective's terms, called with the kind of batch that it declares, as the engine calls it."""
    positions = torch.arange(len(labels)) if positions is None else positions
    terms: dict[str, Tensor] = objective(objective.batch_kind.of(Passes(pairing, student, teacher, labels, positions)))
    return terms


def prepare(objective: Objective[Any], pairing: Pairing, teacher: Captured, labels: Tensor) -> None:
    """Show an objective the training images, as the engine does before the first step: all in one batch."""
    if objective.batch_kind.indexed:
        objective.prepare(labels)
    if objective.needs_fit:
        passes = Passes(pairing, None, teacher, labels, torch.arange(len(labels)))
        objective.fit([objective.fit_kind.of(passes)])
